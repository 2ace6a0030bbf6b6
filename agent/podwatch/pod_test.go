package podwatch

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"

	"github.com/kube-devops/kube-devops/agent/dump/dumptest"
)

func TestCompact(t *testing.T) {
	with := func(change func(object)) object {
		return withMetadata(withVersion(pod("a", "one", "1", "nginx:1"), 7), change)
	}
	named := Pod{Namespace: "a", Name: "one", UID: "1", ResourceVersion: "7"}
	tests := []struct {
		name string
		obj  object
		want Pod
		json object // nil: there is none
	}{
		{
			name: "managedFields are dropped, all else is kept",
			obj:  with(func(object) {}), want: named, json: with(func(m object) { delete(m, "managedFields") }),
		},
		{
			name: "a field of that name elsewhere is kept",
			obj:  object{"metadata": object{"name": "one"}, "managedFields": "mine", "spec": object{"managedFields": true}},
			want: Pod{Name: "one"},
			json: object{"metadata": object{"name": "one"}, "managedFields": "mine", "spec": object{"managedFields": true}},
		},
		{
			name: "numbers of all kinds",
			obj:  object{"metadata": object{"name": "one"}, "spec": object{"a": int64(math.MaxInt64), "b": 0.1, "c": 1e300, "d": -1.0}},
			want: Pod{Name: "one"},
			json: object{"metadata": object{"name": "one"}, "spec": object{"a": float64(math.MaxInt64), "b": 0.1, "c": 1e300, "d": -1.0}},
		},
		{
			name: "text of all kinds",
			obj:  object{"metadata": object{"name": "one"}, "status": object{"message": "<&>\"\\\n\x00\u2028 \U0001F600"}},
			want: Pod{Name: "one"},
			json: object{"metadata": object{"name": "one"}, "status": object{"message": "<&>\"\\\n\x00\u2028 \U0001F600"}},
		},
		{
			name: "metadata of a wrong type",
			obj:  object{"metadata": "none", "spec": object{}}, json: object{"metadata": "none", "spec": object{}},
		},
		{
			name: "names of a wrong type",
			obj:  object{"metadata": object{"name": int64(1), "namespace": nil, "uid": []any{}}},
			json: object{"metadata": object{"name": 1.0, "namespace": nil, "uid": []any{}}},
		},
		{name: "nothing", obj: object{}, json: object{}},
		{name: "a number that JSON has not", obj: with(func(m object) { m["x"] = math.NaN() }), want: named},
		{name: "an infinite number", obj: with(func(m object) { m["x"] = math.Inf(1) }), want: named},
		{name: "a channel", obj: with(func(m object) { m["x"] = make(chan int) }), want: named},
		{name: "a function", obj: with(func(m object) { m["x"] = func() {} }), want: named},
		{name: "a value that panics", obj: with(func(m object) { m["x"] = panicking{} }), want: named},
		{
			name: "an object that holds itself",
			obj:  with(func(m object) { m["x"] = m }), want: named,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := compacted(t, &unstructured.Unstructured{Object: test.obj})
			if (got.JSON == nil) != (test.json == nil) {
				t.Errorf("JSON is %q, want that of %v", got.JSON, test.json)
			}
			if test.json != nil {
				if diff := cmp.Diff(test.json, decoded(got)); diff != "" {
					t.Errorf("JSON (-want +got):\n%s", diff)
				}
			}
			names := *got
			names.JSON = nil
			if diff := cmp.Diff(test.want, names); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			checkIdentity(t, got)
		})
	}
}

// panicking cannot be written, and says so in the worst way.
type panicking struct{}

func (panicking) MarshalJSON() ([]byte, error) { panic("no JSON") }

// compacted calls compact, and again on its own result, as client-go does.
func compacted(t *testing.T, obj any) *Pod {
	t.Helper()
	first, err := compact(obj)
	if err != nil {
		t.Fatalf("compact: %v", err)
	}
	second, err := compact(first)
	if err != nil || second != first {
		t.Fatalf("compact of its own result: %v, %v, want the same %v", second, err, first)
	}
	return first.(*Pod)
}

// checkIdentity compares what client-go reads of the pod with what we do.
func checkIdentity(t *testing.T, pod *Pod) {
	t.Helper()
	m, err := meta.Accessor(pod)
	if err != nil {
		t.Fatal(err)
	}
	got := Pod{Namespace: m.GetNamespace(), Name: m.GetName(), UID: string(m.GetUID()), ResourceVersion: m.GetResourceVersion()}
	want := *pod
	want.JSON = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what client-go reads (-want +got):\n%s", diff)
	}
	key, err := cache.MetaNamespaceKeyFunc(pod)
	if want := cache.NewObjectName(pod.Namespace, pod.Name).String(); err != nil || key != want {
		t.Errorf("key %q, %v, want %q", key, err, want)
	}
}

func TestCompactOfSomethingElse(t *testing.T) {
	for _, obj := range []any{nil, "text", cache.DeletedFinalStateUnknown{Key: "a/b"}, &Pod{Name: "one"}} {
		got, err := compact(obj)
		if err != nil || !cmp.Equal(got, obj) {
			t.Errorf("compact(%v) = %v, %v, want what was given", obj, got, err)
		}
	}
}

// A real pod loses its managedFields and nothing else.
func TestCompactKeepsRealPods(t *testing.T) {
	for i := range 40 {
		text := dumptest.Pod(1, i)
		var want object
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(text); err != nil {
			t.Fatal(err)
		}
		obj.Object["metadata"].(object)["managedFields"] = []any{object{"manager": "kubelet"}}
		if diff := cmp.Diff(want, decoded(compacted(t, obj))); diff != "" {
			t.Errorf("pod %d: JSON (-want +got):\n%s", i, diff)
		}
	}
}

func TestDeepCopyObject(t *testing.T) {
	original := &Pod{Namespace: "a", Name: "one", UID: "1", ResourceVersion: "7", JSON: []byte(`{"a":1}`)}
	copied := original.DeepCopyObject().(*Pod)
	if diff := cmp.Diff(original, copied); diff != "" {
		t.Errorf("copy (-original +copy):\n%s", diff)
	}
	copied.JSON[1] = 'X'
	if string(original.JSON) != `{"a":1}` {
		t.Error("the copy shares its JSON with the original")
	}
	if none := (&Pod{}).DeepCopyObject().(*Pod); none.JSON != nil {
		t.Error("the copy of a pod without JSON has some")
	}
}
