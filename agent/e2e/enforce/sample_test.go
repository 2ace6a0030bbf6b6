package enforce_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// seed is the seed of the random objects. It is new in each run.
func seed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	t.Logf("seed %d", seed)
	return seed
}

// A sample has random objects that the API server accepts, and the objects that it would store for them.
type sample struct {
	pods, workloads []object          // as a client sends them
	stored          map[string]object // by name
	rejected        int               // objects that were invalid
}

func nameOf(o object) string { return o["metadata"].(object)["name"].(string) }

// in returns copies of objects with another namespace.
func in(namespace string, objects []object) []object {
	moved := make([]object, len(objects))
	for i, o := range objects {
		o = merged(object{}, o)
		o["metadata"] = merged(merged(object{}, o["metadata"].(object)), object{"namespace": namespace})
		moved[i] = o
	}
	return moved
}

// newSample creates valid pods and workloads, in a namespace that no policy applies to.
func newSample(t *testing.T, seed uint64, pods, workloads int) *sample {
	t.Helper()
	r, err := newRandomPods(seed)
	if err != nil {
		t.Fatal(err)
	}
	class := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: priorityClass}, Value: 1}
	if _, err := env.Admin.SchedulingV1().PriorityClasses().Create(t.Context(), class, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	s := &sample{stored: make(map[string]object)}
	space := namespace(t, "e2e-sample", nil)
	s.pods = s.valid(t, pods, func(i int) object {
		switch name := fmt.Sprintf("p%d", i); {
		case i < len(oddImages): // each border of the grammar of images, whatever the seed
			return newPod(space, name, container{name: "web", image: oddImages[i]})
		case i == len(oddImages): // few random sidecars are valid
			pod := newPod(space, name, container{name: "web", image: "nginx:1"})
			pod["spec"].(object)["initContainers"] = []any{object{"name": "sidecar", "image": "nginx:1", "restartPolicy": "Always"}}
			return pod
		}
		return r.pod(space, fmt.Sprintf("p%d", i))
	})
	s.workloads = s.valid(t, workloads, func(i int) object { return r.workload(space, fmt.Sprintf("w%d", i)) })
	t.Logf("%d pods and %d workloads, and %d others that are invalid", len(s.pods), len(s.workloads), s.rejected)
	return s
}

// valid creates objects until the API server has accepted the wanted number.
func (s *sample) valid(t *testing.T, want int, next func(i int) object) (valid []object) {
	t.Helper()
	var mu sync.Mutex
	for made := 0; len(valid) < want; {
		var batch []object
		for range (want - len(valid)) * 5 / 4 {
			batch = append(batch, next(made))
			made++
		}
		batch = append(batch, next(made))
		made++
		err := dryRunAll(t.Context(), batch, func(i int, stored []byte, err error) error {
			mu.Lock()
			defer mu.Unlock()
			var o object
			switch {
			case apierrors.IsInvalid(err), apierrors.IsForbidden(err), apierrors.IsBadRequest(err):
				s.rejected++
				return nil
			case err != nil:
				return fmt.Errorf("%s: %w", nameOf(batch[i]), err)
			}
			if err := json.Unmarshal(stored, &o); err != nil {
				return err
			}
			s.stored[nameOf(batch[i])] = o
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range batch {
			if s.stored[nameOf(o)] != nil && len(valid) < want {
				valid = append(valid, o)
			}
		}
	}
	return valid
}

// storedIn returns the objects as the API server would store them in a namespace.
func (s *sample) storedIn(namespace string, objects []object) []object {
	stored := make([]object, len(objects))
	for i, o := range objects {
		stored[i] = s.stored[nameOf(o)]
	}
	return in(namespace, stored)
}

// refusals creates the objects in dry runs, and returns for each object the violations for which a policy refused it.
func refusals(ctx context.Context, t *testing.T, objects []object) map[string]refusal {
	t.Helper()
	var mu sync.Mutex
	all := make(map[string]refusal, len(objects))
	err := dryRunAll(ctx, objects, func(i int, _ []byte, err error) error {
		message, refused := isRefused(err)
		if err != nil && !refused {
			return fmt.Errorf("%s: %w", nameOf(objects[i]), err)
		}
		var r refusal
		if refused {
			var ok bool
			if r, ok = parseRefusal(message); !ok {
				return fmt.Errorf("%s: cannot read the message: %s", nameOf(objects[i]), message)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		all[nameOf(objects[i])] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// verdicts scans stored objects with a table, and returns the verdict of each that has a violation.
func verdicts(t *testing.T, table string, stored []object, args ...string) map[string]verdict {
	t.Helper()
	pods, workloads := object{"kind": "PodList", "apiVersion": "v1"}, ""
	var items []any
	for _, o := range stored {
		if o["kind"] == "Pod" {
			items = append(items, o)
			continue
		}
		workloads += text(t, o) + "\n"
	}
	pods["items"] = items
	var files []string
	if len(items) > 0 {
		files = append(files, writeFile(t, "pods.json", text(t, pods))) // a recording: the pods are in the cluster
	}
	if workloads != "" {
		files = append(files, writeFile(t, "workloads.json", workloads)) // manifests: what is asked for
	}
	res := kubeDevops(t, slices.Concat([]string{"scan", "--config=none", "--policy", table, "-o", "json"}, args, files)...)
	if res.code != 0 {
		t.Fatalf("scan with %s: exit code %d\n%s", table, res.code, res.stderr)
	}
	var report struct {
		Inputs     struct{ Pods, Templates int }
		Violations []struct{ Pod, Check, Container, Subject string }
	}
	if err := json.Unmarshal([]byte(res.stdout), &report); err != nil {
		t.Fatal(err)
	}
	if read := report.Inputs.Pods + report.Inputs.Templates; read != len(stored) {
		t.Fatalf("scan has read %d objects of %d\n%s", read, len(stored), res.stderr)
	}
	all := make(map[string]verdict)
	for _, v := range report.Violations {
		name := v.Pod[strings.LastIndexByte(v.Pod, '/')+1:] // Deployment/NAME for a template
		if all[name] == nil {
			all[name] = make(verdict)
		}
		subject := v.Container
		if v.Subject != "" {
			subject += "/" + v.Subject
		}
		all[name][v.Check] = append(all[name][v.Check], normal(strings.ReplaceAll(subject, "\n", " ")))
	}
	return all
}
