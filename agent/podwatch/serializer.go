package podwatch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
	"unsafe"

	"github.com/tidwall/gjson"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	serializerjson "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// newClient makes a dynamic client that can list and watch pods, and reduces them while it decodes them: the maps of an
// unstructured object, which are the cost of a dynamic client, are never made.
func newClient(config *rest.Config, projection Projection) (dynamic.Interface, error) {
	config = rest.CopyConfig(config)
	// A timeout would cut every watch, and a limit would only delay the few requests that there are.
	config.Timeout, config.QPS = 0, -1
	// A path is given with each request; this one would be seen in none.
	config.GroupVersion, config.APIPath = nil, "/none"
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	// Over HTTP/2 each event is answered by two frames that open the window again, which are a quarter of all the work.
	// There, a ping finds a dead connection after 45 s; here TCP does, after 8.
	config.NextProtos = []string{"http/1.1"}
	if config.Dial == nil {
		config.Dial = (&net.Dialer{
			Timeout:         30 * time.Second,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 3},
		}).DialContext
	}
	// To inflate a pod costs as much as to decode it here, and to deflate it costs the API server several times that. The
	// way between the two is short.
	config.DisableCompression = true
	config.Wrap(boundAnswers)
	config.NegotiatedSerializer = runtime.NewSimpleNegotiatedSerializer(runtime.SerializerInfo{
		MediaType: runtime.ContentTypeJSON, MediaTypeType: "application", MediaTypeSubType: "json", EncodesAsText: true,
		Serializer: &podDecoder{projection: projection},
		StreamSerializer: &runtime.StreamSerializerInfo{
			EncodesAsText: true, Serializer: eventDecoder{}, Framer: lineFramer{serializerjson.Framer},
		},
	})
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	client, err := rest.UnversionedRESTClientForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	return dynamic.New(client), nil
}

// readsOnly is the half of a serializer that a client which only reads has no use for.
type readsOnly struct{}

var errReadsOnly = errors.New("this client reads and does not write")

func (readsOnly) Encode(runtime.Object, io.Writer) error { return errReadsOnly }

// Identifier is the same for equal encoders.
func (readsOnly) Identifier() runtime.Identifier { return "podwatch reads only" }

// An eventDecoder takes the type and the object from a line of a watch. The object stays text, in the line.
type eventDecoder struct{ readsOnly }

// Decode fills a WatchEvent. Its object lives as long as the line does.
func (eventDecoder) Decode(line []byte, _ *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	event, ok := into.(*metav1.WatchEvent)
	if !ok {
		return nil, nil, fmt.Errorf("decode a line of a watch: into %T", into)
	}
	if event.Type, event.Object.Raw, ok = cutEvent(line); ok {
		return event, nil, nil
	}
	err := json.Unmarshal(line, event)
	if wrong := new(json.SyntaxError); errors.As(err, &wrong) && wrong.Offset == int64(len(line)) && !endsInBreak(line) {
		return nil, nil, io.ErrUnexpectedEOF // the connection was cut in the middle of a line, as happens
	}
	if err != nil {
		return nil, nil, err
	}
	return event, nil, nil
}

func endsInBreak(line []byte) bool { return bytes.HasSuffix(line, []byte("\n")) }

// cutEvent takes a line apart that is written as Kubernetes writes it: the type, the object, and nothing behind it. What
// it takes for the object is checked when that is decoded.
func cutEvent(line []byte) (kind string, object []byte, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"type":"`))
	if !ok {
		return "", nil, false
	}
	name, rest, ok := bytes.Cut(rest, []byte(`","object":{`))
	if !ok {
		return "", nil, false
	}
	switch string(name) {
	case "ADDED":
		kind = "ADDED"
	case "MODIFIED":
		kind = "MODIFIED"
	case "DELETED":
		kind = "DELETED"
	case "BOOKMARK":
		kind = "BOOKMARK"
	default:
		return "", nil, false
	}
	// Without its break a line may have lost more.
	if rest, ok = bytes.CutSuffix(rest, []byte("}\n")); !ok {
		return "", nil, false
	}
	start := len(`{"type":"`) + len(name) + len(`","object":`)
	return kind, line[start : start+1+len(rest)], true
}

// A podDecoder decodes pods, lists of pods, bookmarks and the Status of an error.
type podDecoder struct {
	readsOnly
	projection Projection
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Decode makes a *Pod, or a *Status, of a text. Into an UnstructuredList it puts the pods of a list: see podsOf.
func (d *podDecoder) Decode(text []byte, _ *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	if list, ok := into.(*unstructured.UnstructuredList); ok {
		return d.decodeList(text, list)
	}
	if into != nil {
		return nil, nil, fmt.Errorf("decode a pod: into %T", into)
	}
	// The event of an error has a Status; every other object of a watch names its kind.
	if kind := kindOf(text); kind != (typeOf{"v1", "Pod"}) && kind != (typeOf{"v1", "Status"}) {
		return nil, nil, kind.notAPod()
	}
	return d.decodeObject(text)
}

// decodeItem decodes an item of a list, which may leave out its kind.
func (d *podDecoder) decodeItem(text []byte) (runtime.Object, error) {
	if kind := kindOf(text); kind != (typeOf{}) && kind != (typeOf{"v1", "Pod"}) {
		return nil, kind.notAPod()
	}
	object, _, err := d.decodeObject(text)
	return object, err
}

// A typeOf is the apiVersion and the kind of an object.
type typeOf struct{ apiVersion, kind string }

func kindOf(text []byte) typeOf {
	object := gjson.ParseBytes(text)
	if !object.IsObject() {
		return typeOf{"v1", "Pod"} // the decoder says what is wrong with it
	}
	return typeOf{object.Get("apiVersion").String(), object.Get("kind").String()}
}

// notAPod is the error of an answer that holds another object: a server, or a proxy before it, that mixes up its answers
// must not make the agent score something else.
func (t typeOf) notAPod() error {
	return fmt.Errorf("decode a pod: the API server sent an object of kind %.64q, apiVersion %.64q", t.kind, t.apiVersion)
}

func (d *podDecoder) decodeObject(text []byte) (runtime.Object, *schema.GroupVersionKind, error) {
	if pod := d.reduce(text); pod != nil {
		return pod, nil, nil
	}
	return d.decodeWhole(text)
}

// reduce makes a pod of a text; nil where it is not an ordinary pod. One that makes the projection panic is none either:
// it must not end the process, as it would be there again after the restart, on every replica.
func (d *podDecoder) reduce(text []byte) (pod *Pod) {
	defer func() {
		if recover() != nil {
			pod = nil
		}
	}()
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	reduced, err := d.projection.AppendTo((*buffer)[:0], text)
	if err != nil {
		return nil
	}
	*buffer = reduced
	if pod = newPod(bytes.Clone(reduced)); pod.Name == "" {
		return nil
	}
	return pod
}

// decodeWhole decodes what is not an ordinary pod: a bookmark, a Status, or a pod that cannot be reduced.
func (d *podDecoder) decodeWhole(text []byte) (runtime.Object, *schema.GroupVersionKind, error) {
	var object metav1.PartialObjectMetadata
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, nil, err
	}
	if object.Kind == "Status" {
		status := new(metav1.Status)
		if err := json.Unmarshal(text, status); err != nil {
			return nil, nil, err
		}
		return status, nil, nil
	}
	return &Pod{
		Namespace: object.Namespace, Name: object.Name, UID: string(object.UID), ResourceVersion: object.ResourceVersion,
		JSON: bytes.Clone(text),
	}, nil, nil
}

// podsKey is where a decoded UnstructuredList has its pods, as a *podList. It has no items of its own, each of which
// would be a map.
const podsKey = "pods"

// podsOf takes the pods from a list that a client of newClient has decoded.
func podsOf(list *unstructured.UnstructuredList) (*podList, error) {
	pods, ok := list.Object[podsKey].(*podList)
	if !ok {
		return nil, fmt.Errorf("a list of pods of kind %q was not decoded", list.GetKind())
	}
	return pods, nil
}

func (d *podDecoder) decodeList(text []byte, into *unstructured.UnstructuredList) (runtime.Object, *schema.GroupVersionKind, error) {
	list := struct {
		metav1.TypeMeta
		Metadata metav1.ListMeta `json:"metadata"`
		Items    items           `json:"items"`
	}{Items: items{decoder: d}}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, nil, fmt.Errorf("decode a list of pods: %w", err)
	}
	if list.Kind == "Status" {
		return d.decodeWhole(text)
	}
	if list.Kind != "PodList" {
		return nil, nil, fmt.Errorf("decode a list of pods: its kind is %q", list.Kind)
	}
	pods := &podList{ListMeta: list.Metadata, Items: list.Items.pods}
	into.Object = map[string]any{"kind": list.Kind, "apiVersion": list.APIVersion, podsKey: pods}
	return into, nil, nil
}

// items decodes the items of a list without a copy of them.
type items struct {
	decoder *podDecoder
	pods    []*Pod
}

// UnmarshalJSON decodes an array of pods. The text was checked before, and lives no longer than the call.
func (i *items) UnmarshalJSON(text []byte) (err error) {
	array := gjson.Parse(unsafe.String(unsafe.SliceData(text), len(text)))
	if !array.IsArray() {
		return nil
	}
	array.ForEach(func(_, item gjson.Result) bool {
		var object runtime.Object
		object, err = i.decoder.decodeItem(unsafe.Slice(unsafe.StringData(item.Raw), len(item.Raw)))
		if pod, ok := object.(*Pod); ok {
			i.pods = append(i.pods, pod)
		}
		return err == nil
	})
	return err
}
