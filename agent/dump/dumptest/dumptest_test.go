package dumptest

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reprint is what encoding/json makes of the same value: sorted keys, an indent of four spaces.
func reprint(t *testing.T, b []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("decode what was generated: %v", err)
	}
	out, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestPrintsAsKubectl(t *testing.T) {
	for i := range 200 {
		p := Pod(7, i)
		if diff := cmp.Diff(reprint(t, p), string(p)); diff != "" {
			t.Fatalf("pod %d is not printed as encoding/json prints it (-want +got):\n%s", i, diff)
		}
	}
	for _, n := range []int{0, 1, 50} {
		var buf bytes.Buffer
		if err := WriteList(&buf, 7, n); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(reprint(t, buf.Bytes())+"\n", buf.String()); diff != "" {
			t.Fatalf("list of %d pods (-want +got):\n%s", n, diff)
		}
	}
}

// summary is what the benchmarks rely on.
type summary struct {
	Namespaces, Images, Latest, NoLiveness, NoReadiness, Jobs, Sidecars, Restarted int
}

func TestListIsRealistic(t *testing.T) {
	const pods = 2000
	var buf, again bytes.Buffer
	if err := WriteList(&buf, 1, pods); err != nil {
		t.Fatal(err)
	}
	if err := WriteList(&again, 1, pods); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(buf.Bytes(), again.Bytes()) {
		t.Error("the same seed gives other bytes")
	}
	if size := buf.Len() / pods; size < 13_500 || size > 14_500 {
		t.Errorf("a pod is %d bytes, want about 14,000", size)
	}
	type probe map[string]any
	var list struct {
		Items []struct {
			Metadata struct {
				Name, Namespace, UID string
				OwnerReferences      []struct{ Kind string }
			}
			Spec struct {
				InitContainers []struct{ RestartPolicy string }
				Containers     []struct {
					Image          string
					LivenessProbe  probe
					ReadinessProbe probe
				}
			}
			Status struct {
				Phase             string
				ContainerStatuses []struct{ RestartCount int }
			}
		}
	}
	if err := json.Unmarshal(buf.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	names, uids, namespaces := map[string]bool{}, map[string]bool{}, map[string]bool{}
	var got summary
	for _, p := range list.Items {
		names[p.Metadata.Namespace+"/"+p.Metadata.Name] = true
		uids[p.Metadata.UID] = true
		namespaces[p.Metadata.Namespace] = true
		if p.Metadata.OwnerReferences[0].Kind == "Job" && p.Status.Phase == "Succeeded" {
			got.Jobs++
		}
		for _, c := range p.Spec.InitContainers {
			if c.RestartPolicy == "Always" {
				got.Sidecars++
			}
		}
		for _, c := range p.Spec.Containers {
			got.Images++
			if len(c.Image) > 7 && c.Image[len(c.Image)-7:] == ":latest" {
				got.Latest++
			}
			if c.LivenessProbe == nil {
				got.NoLiveness++
			}
			if c.ReadinessProbe == nil {
				got.NoReadiness++
			}
		}
		for _, c := range p.Status.ContainerStatuses {
			if c.RestartCount > 0 {
				got.Restarted++
			}
		}
	}
	if len(names) != pods || len(uids) != pods {
		t.Errorf("%d names and %d uids of %d pods", len(names), len(uids), pods)
	}
	got.Namespaces = len(namespaces)
	want := summary{
		Namespaces: 10, Images: 2338, Latest: 693, NoLiveness: 870, NoReadiness: 1216,
		Jobs: 283, Sidecars: 444, Restarted: 87,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the pods are (-want +got):\n%s", diff)
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]int{}
	for i := range 200_000 {
		s := unique(uint64(i) + space - 100_000)
		if j, ok := seen[s]; ok {
			t.Fatalf("pods %d and %d both end with %s", j, i, s)
		}
		seen[s] = i
	}
}

type brokenWriter struct{ left int }

var errBroken = errors.New("broken pipe")

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestWriteListReportsTheWriter(t *testing.T) {
	for _, left := range []int{0, 1 << 19} {
		if err := WriteList(&brokenWriter{left}, 1, 100); !errors.Is(err, errBroken) {
			t.Errorf("WriteList to a writer that takes %d bytes: %v, want %v", left, err, errBroken)
		}
	}
	if err := WriteList(&brokenWriter{0}, 1, 0); !errors.Is(err, errBroken) {
		t.Errorf("WriteList of no pods: %v, want %v", err, errBroken)
	}
}

func BenchmarkPod(b *testing.B) {
	b.SetBytes(int64(len(Pod(1, 0))))
	for i := range b.N {
		_ = Pod(1, i)
	}
}
