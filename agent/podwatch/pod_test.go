package podwatch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"github.com/kube-devops/kube-devops/agent/dump/dumptest"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

func newTestClient(t *testing.T, b *harness) dynamic.Interface {
	t.Helper()
	client, err := newClient(b.config, all{})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// defaultTable is the default policy of the agent.
func defaultTable(t testing.TB) *rules.Table {
	t.Helper()
	text, _ := policies.Shipped(policies.Default)
	table, err := rules.Load("default.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

var ignoreOffset = cmpopts.IgnoreUnexported(Pod{})

func TestDecodePod(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{name: "a pod", text: `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"one","namespace":"a","uid":"1","resourceVersion":"7","labels":{"x":"y"}},"spec":{"containers":[{"name":"c","image":"nginx","args":["x"]}]}}`,
			want: `{"metadata":{"name":"one","namespace":"a","uid":"1","resourceVersion":"7"},"spec":{"containers":[{"name":"c","image":"nginx"}]}}`},
		{name: "names with escapes", text: `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"\u006fne","namespace":"\u0061","uid":"\u0031","resourceVersion":"\u0037"}}`,
			want: `{"metadata":{"name":"\u006fne","namespace":"\u0061","uid":"\u0031","resourceVersion":"\u0037"}}`},
		// A pod that cannot be evaluated is kept whole, so that the evaluation returns the reason.
		{name: "a duplicate key", text: `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"one","namespace":"a","uid":"1","resourceVersion":"7"},"spec":{"x":1,"x":2}}`,
			want: `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"one","namespace":"a","uid":"1","resourceVersion":"7"},"spec":{"x":1,"x":2}}`},
		{name: "invalid UTF-8", text: `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"one","namespace":"a","uid":"1","resourceVersion":"7"},"spec":"` + "\xff" + `"}`,
			want: `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"one","namespace":"a","uid":"1","resourceVersion":"7"},"spec":"` + "\xff" + `"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			decoder := &podDecoder{projection: defaultTable(t).Projection()}
			text := []byte(test.text)
			object, _, err := decoder.Decode(text, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range text {
				text[i] = 'x' // the buffer is used again for the next pod
			}
			want := &Pod{Namespace: "a", Name: "one", UID: "1", ResourceVersion: "7", JSON: []byte(test.want)}
			if diff := cmp.Diff(want, object, ignoreOffset); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			checkIdentity(t, object.(*Pod))
		})
	}
}

// checkIdentity compares the metadata that client-go reads with that of the Pod.
func checkIdentity(t *testing.T, pod *Pod) {
	t.Helper()
	m, err := meta.Accessor(pod)
	if err != nil {
		t.Fatal(err)
	}
	got := Pod{Namespace: m.GetNamespace(), Name: m.GetName(), UID: string(m.GetUID()), ResourceVersion: m.GetResourceVersion(), JSON: pod.JSON}
	if diff := cmp.Diff(*pod, got, ignoreOffset); diff != "" {
		t.Errorf("what client-go reads (-want +got):\n%s", diff)
	}
	key, err := cache.MetaNamespaceKeyFunc(pod)
	if want := cache.NewObjectName(pod.Namespace, pod.Name).String(); err != nil || key != want {
		t.Errorf("key %q, %v, want %q", key, err, want)
	}
}

// Invalid input is an error.
func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		name, text, want string
		into             runtime.Object
	}{
		{name: "a truncated pod", text: `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"one"`, want: "unexpected end of JSON input"},
		{name: "not JSON", text: `<html>`, want: "invalid character '<' looking for beginning of value"},
		{name: "text after a pod", text: `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"one"}},"x":{}`, want: "invalid character ',' after top-level value"},
		{name: "a name that is a number", text: `{"kind":"Pod","apiVersion":"v1","metadata":{"name":5}}`, want: "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string"},
		{name: "a truncated list", text: `{"kind":"PodList","items":[`, into: &unstructured.UnstructuredList{}, want: "decode a list of pods: unexpected end of JSON input"},
		{name: "a list of another kind", text: `{"kind":"Table","items":[]}`, into: &unstructured.UnstructuredList{}, want: `decode a list of pods: its kind is "Table"`},
		{name: "an item that is a number", text: `{"kind":"PodList","items":[5]}`, into: &unstructured.UnstructuredList{},
			want: "decode a list of pods: json: cannot unmarshal number into Go struct field .items of type v1.PartialObjectMetadata"},
		{name: "an object of another kind", text: `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"one","namespace":"a"},"data":{}}`,
			want: `decode a pod: the API server sent an object of kind "Secret", apiVersion "v1"`},
		{name: "a Pod of another API group", text: `{"kind":"Pod","apiVersion":"example.com/v1","metadata":{"name":"one","namespace":"a"}}`,
			want: `decode a pod: the API server sent an object of kind "Pod", apiVersion "example.com/v1"`},
		{name: "an object without a kind", text: `{"metadata":{"name":"one","namespace":"a"}}`,
			want: `decode a pod: the API server sent an object of kind "", apiVersion ""`},
		{name: "an item of another kind", text: `{"kind":"PodList","items":[{"kind":"Secret","apiVersion":"v1","metadata":{"name":"one"}}]}`, into: &unstructured.UnstructuredList{},
			want: `decode a list of pods: decode a pod: the API server sent an object of kind "Secret", apiVersion "v1"`},
		{name: "into something else", text: `{}`, into: &metav1.Status{}, want: "decode a pod: into *v1.Status"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			object, _, err := (&podDecoder{projection: defaultTable(t).Projection()}).Decode([]byte(test.text), nil, test.into)
			if err == nil || err.Error() != test.want {
				t.Errorf("decoded %v, error %v, want %s", object, err, test.want)
			}
		})
	}
}

func TestDecodeList(t *testing.T) {
	text := `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"9","continue":"more"},"items":[
		{"metadata":{"name":"one","namespace":"a"},"spec":{"x":1}}, {"metadata":{"name":"two","namespace":"a"},"spec":{"x":1,"x":1}}]}`
	var list unstructured.UnstructuredList
	if _, _, err := (&podDecoder{projection: defaultTable(t).Projection()}).Decode([]byte(text), nil, &list); err != nil {
		t.Fatal(err)
	}
	got, err := podsOf(&list)
	if err != nil {
		t.Fatal(err)
	}
	want := &metav1.List{ListMeta: metav1.ListMeta{ResourceVersion: "9", Continue: "more"}, Items: []runtime.RawExtension{
		{Object: &Pod{Namespace: "a", Name: "one", JSON: []byte(`{"metadata":{"name":"one","namespace":"a"},"spec":{}}`)}},
		{Object: &Pod{Namespace: "a", Name: "two", JSON: []byte(`{"metadata":{"name":"two","namespace":"a"},"spec":{"x":1,"x":1}}`)}},
	}}
	if diff := cmp.Diff(want, got, ignoreOffset); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := podsOf(&unstructured.UnstructuredList{}); err == nil {
		t.Error("pods were found in a list that has none")
	}
}

func TestDecodeBookmarkAndStatus(t *testing.T) {
	decoder := &podDecoder{projection: defaultTable(t).Projection()}
	object, _, err := decoder.Decode([]byte(`{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"9","creationTimestamp":null,"annotations":{"k8s.io/initial-events-end":"true"}},"spec":{"containers":null}}`), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := meta.Accessor(object)
	if err != nil || m.GetResourceVersion() != "9" || m.GetAnnotations()[metav1.InitialEventsAnnotationKey] != "true" {
		t.Errorf("bookmark %v, %v: want version 9 and the end of the initial stream", m, err)
	}
	object, _, err = decoder.Decode([]byte(`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old","reason":"Expired","code":410}`), nil, nil)
	status, ok := object.(*metav1.Status)
	if err != nil || !ok || status.Reason != metav1.StatusReasonExpired || status.Code != 410 {
		t.Errorf("status %v, %v: want Expired, 410", object, err)
	}
}

func TestDecodeEvent(t *testing.T) {
	tests := []struct {
		name, line, kind, object string
		err                      string
	}{
		{name: "as Kubernetes formats it", line: `{"type":"ADDED","object":{"a":{}}}` + "\n", kind: "ADDED", object: `{"a":{}}`},
		{name: "another order", line: `{"object":{"a":{}},"type":"MODIFIED"}` + "\n", kind: "MODIFIED", object: `{"a":{}}`},
		{name: "spaces", line: `{ "type": "DELETED", "object": {"a":{}} }` + "\r\n", kind: "DELETED", object: `{"a":{}}`},
		{name: "an error", line: `{"type":"ERROR","object":{"kind":"Status"}}` + "\n", kind: "ERROR", object: `{"kind":"Status"}`},
		{name: "the last line", line: `{"type":"ADDED","object":{"a":{}}}`, kind: "ADDED", object: `{"a":{}}`},
		{name: "cut off", line: `{"type":"ADDED","object":{"a":{}}`, err: io.ErrUnexpectedEOF.Error()},
		{name: "cut off early", line: `{"ty`, err: io.ErrUnexpectedEOF.Error()},
		{name: "broken", line: `{"type":"ADDED","object":{"a":{` + "\n", err: "unexpected end of JSON input"},
		{name: "not JSON", line: "<html>", err: "invalid character '<' looking for beginning of value"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var event metav1.WatchEvent
			_, _, err := eventDecoder{}.Decode([]byte(test.line), nil, &event)
			if err != nil {
				if err.Error() != test.err {
					t.Errorf("error %v, want %q", err, test.err)
				}
				return
			}
			if event.Type != test.kind || string(event.Object.Raw) != test.object || test.err != "" {
				t.Errorf("%s of %s, want %s of %s, error %q", event.Type, event.Object.Raw, test.kind, test.object, test.err)
			}
		})
	}
}

// Lines are returned unchanged, whatever the reads and the size of the buffer.
func TestLines(t *testing.T) {
	var want []string
	for i := range 40 {
		want = append(want, strings.Repeat("x", i*i*3)+fmt.Sprint(i)+"\n")
	}
	text := "\n" + strings.Join(want, "\n\n")
	readers := map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return r }, "a byte at a time": iotest.OneByteReader, "by halves": iotest.HalfReader,
		"the end with the last bytes": iotest.DataErrReader,
	}
	for name, reader := range readers {
		for _, size := range []int{1, 2, 100, 1 << 20} {
			for _, last := range []string{"", "last"} {
				l := lineFramer{}.NewFrameReader(io.NopCloser(reader(strings.NewReader(text + last))))
				var got []string
				line, buffer := "", make([]byte, size)
				for {
					n, err := l.Read(buffer)
					line += string(buffer[:n])
					if errors.Is(err, io.ErrShortBuffer) && n > 0 {
						continue
					}
					if err != nil {
						if !errors.Is(err, io.EOF) || line != "" {
							t.Errorf("%s: error %v after %q", name, err, line)
						}
						break
					}
					got, line = append(got, line), ""
				}
				expected := slices.Clone(want)
				if last != "" {
					expected = append(expected, last)
				}
				if diff := cmp.Diff(expected, got); diff != "" {
					t.Errorf("%s, buffer of %d (-want +got):\n%s", name, size, diff)
				}
			}
		}
	}
}

// The reduced pod has the verdict of the whole pod.
func TestDecodeKeepsVerdicts(t *testing.T) {
	table := defaultTable(t)
	decoder := &podDecoder{projection: table.Projection()}
	for i := range 40 {
		text := dumptest.Pod(1, i)
		want, err := table.Evaluate(text)
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := table.Evaluate(object.(*Pod).JSON)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pod %d: verdict (-pod +kept):\n%s", i, diff)
		}
	}
}

func TestDeepCopyObject(t *testing.T) {
	original := &Pod{Namespace: "a", Name: "one", UID: "1", ResourceVersion: "7", JSON: []byte(`{"a":1}`)}
	copied := original.DeepCopyObject().(*Pod)
	if diff := cmp.Diff(original, copied, ignoreOffset); diff != "" {
		t.Errorf("copy (-original +copy):\n%s", diff)
	}
	copied.JSON[1] = 'X'
	if string(original.JSON) != `{"a":1}` {
		t.Error("the copy shares its JSON with the original")
	}
}

// BenchmarkDecode decodes one event from its line to the cached form.
func BenchmarkDecode(b *testing.B) {
	pod := dumptest.Pod(1, 1)
	line, err := json.Marshal(metav1.WatchEvent{Type: "MODIFIED", Object: runtime.RawExtension{Raw: pod}})
	if err != nil {
		b.Fatal(err)
	}
	line = append(line, '\n')
	decoder := &podDecoder{projection: defaultTable(b).Projection()}
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		var event metav1.WatchEvent
		if _, _, err := (eventDecoder{}).Decode(line, nil, &event); err != nil {
			b.Fatal(err)
		}
		if _, _, err := decoder.Decode(event.Object.Raw, nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}
