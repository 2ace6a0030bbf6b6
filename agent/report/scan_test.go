package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// root is the top of the repository.
const root = "../.."

// moment is the one for which the waivers of these tests are judged.
var moment = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// A scanBuilder makes a scan of pods and manifests, as the reader of recordings does, in a plain way.
type scanBuilder struct {
	state *state.ClusterState
	scan  *Scan
	seen  map[state.Pod]bool
}

func newScan(table *rules.Table) *scanBuilder {
	b := &scanBuilder{state.New(table), new(Scan), make(map[state.Pod]bool)}
	b.scan.Inputs.OtherKinds = make(map[string]int)
	b.state.ExpireWaivers(moment)
	return b
}

func (b *scanBuilder) done() *Scan {
	b.scan.Snapshot = b.state.SnapshotWithViolations()
	return b.scan
}

// An item is what the builder reads of an object.
type item struct {
	Kind     string
	Metadata struct {
		Namespace, Name string
		OwnerReferences []struct{ Kind, Name string }
		Labels          map[string]string
	}
	Spec any // an object, unless the recording is odd
}

// template is the pod template of a workload's manifest; nil where there is none.
func (i *item) template() map[string]any {
	spec, _ := i.Spec.(map[string]any)
	if job, ok := spec["jobTemplate"].(map[string]any); ok {
		spec, _ = job["spec"].(map[string]any)
	}
	template, _ := spec["template"].(map[string]any)
	return template
}

func (b *scanBuilder) add(object []byte, file string, line int) error {
	var it item
	if err := json.Unmarshal(object, &it); err != nil {
		return err
	}
	if it.Metadata.Namespace == "" {
		it.Metadata.Namespace = "default"
	}
	template := it.template()
	key := state.Pod{Namespace: it.Metadata.Namespace, Name: it.Metadata.Name}
	origin := Origin{Workload: Workload{"Pod", it.Metadata.Name}, File: file, Line: line}
	switch {
	case it.Kind == "Pod" || it.Kind == "":
		b.scan.Inputs.Pods++
		if owners := it.Metadata.OwnerReferences; len(owners) > 0 {
			origin.Workload = Workload{owners[0].Kind, owners[0].Name}
			if hash := it.Metadata.Labels["pod-template-hash"]; hash != "" {
				origin.Workload = Workload{"Deployment", strings.TrimSuffix(owners[0].Name, "-"+hash)}
			}
		}
	case template != nil:
		b.scan.Inputs.Templates++
		origin.Workload = Workload{it.Kind, it.Metadata.Name}
		key.Name = origin.Workload.String()
		metadata, _ := template["metadata"].(map[string]any)
		metadata["namespace"], metadata["name"] = key.Namespace, it.Metadata.Name
		var err error
		if object, err = json.Marshal(template); err != nil {
			return err
		}
	default:
		b.scan.Inputs.OtherKinds[it.Kind]++
		return nil
	}
	if b.seen[key] {
		b.scan.Inputs.Duplicates++
		b.scan.Inputs.Pods--
	}
	b.seen[key] = true
	return b.put(key.Namespace, key.Name, object, &origin)
}

// put evaluates a pod, which does not count where that fails.
func (b *scanBuilder) put(namespace, name string, object []byte, origin *Origin) error {
	pod := state.Pod{Namespace: namespace, Name: name}
	table := b.state.Table()
	if !table.Includes(namespace) {
		return nil
	}
	verdict, err := table.Evaluate(object)
	if err != nil {
		b.state.PutFailed(pod)
		return err
	}
	b.state.Put(pod, verdict, origin)
	return nil
}

// recording reads a dump.
func recording(t testing.TB, table *rules.Table, file string) *Scan {
	t.Helper()
	b := newScan(table)
	b.scan.Inputs.Files = 1
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(contentOf(t, file), &list); err != nil {
		t.Fatal(err)
	}
	for i, object := range list.Items {
		if err := b.add(object, "", 0); err != nil {
			b.scan.Inputs.Unreadable = append(b.scan.Inputs.Unreadable, fmt.Sprintf("%s: item %d: %v", file, i+1, err))
		}
	}
	return b.done()
}

// manifests reads the objects of a YAML file.
func manifests(t testing.TB, table *rules.Table, file string) *Scan {
	t.Helper()
	b := newScan(table)
	b.scan.Inputs.Files = 1
	decoder := yaml.NewDecoder(bytes.NewReader(contentOf(t, file)))
	for {
		var node yaml.Node
		if err := decoder.Decode(&node); errors.Is(err, io.EOF) {
			return b.done()
		} else if err != nil {
			t.Fatal(err)
		}
		var value map[string]any
		if err := node.Decode(&value); err != nil {
			t.Fatal(err)
		}
		object, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.add(object, file, node.Content[0].Line); err != nil {
			t.Fatal(err)
		}
	}
}

func contentOf(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func shipped(t testing.TB, name string) *rules.Table {
	t.Helper()
	table, err := policies.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// bookshop is the scan of the manifests, with waivers, and what changed from its baseline.
func bookshop(t testing.TB) (*Scan, *BaselineDiff) {
	t.Helper()
	const waivers, baseline = "testdata/manifests/waivers.yaml", "testdata/reports/bookshop/baseline.json"
	table, err := shipped(t, "recommended").WithWaivers(waivers, contentOf(t, waivers))
	if err != nil {
		t.Fatal(err)
	}
	scan := manifests(t, table, "testdata/manifests/bookshop.yaml")
	old, err := LoadBaseline(baseline, bytes.NewReader(contentOf(t, baseline)))
	if err != nil {
		t.Fatal(err)
	}
	return scan, old.Compare(scan)
}

// recorded are the scans of the golden files, by their folder.
func recorded(t testing.TB) map[string]func() (*Scan, Options) {
	t.Helper()
	return map[string]func() (*Scan, Options){
		"shop": func() (*Scan, Options) {
			return recording(t, shipped(t, "default"), "testdata/dumps/shop.json"), Options{Top: 20}
		},
		"edge": func() (*Scan, Options) {
			scan := recording(t, shipped(t, "default"), "testdata/dumps/edge.json")
			scan.Inputs.Unreadable = append(scan.Inputs.Unreadable, "testdata/dumps/cut.json: item 7 (byte 1234): the file ends in the middle of an object")
			return scan, Options{Top: 3}
		},
		"bookshop": func() (*Scan, Options) {
			scan, changes := bookshop(t)
			return scan, Options{Top: 20, Baseline: changes, Waived: true, Now: moment, Target: "manifests/"}
		},
	}
}
