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

// newClient makes a dynamic client that lists and watches pods, and reduces them while it decodes them. It does not make the
// maps of unstructured objects, which are the cost of a dynamic client.
func newClient(config *rest.Config, projection Projection) (dynamic.Interface, error) {
	config = rest.CopyConfig(config)
	// A timeout would cut every watch, and a rate limit would only delay the few requests.
	config.Timeout, config.QPS = 0, -1
	// Each request has a path of its own; this one is not used.
	config.GroupVersion, config.APIPath = nil, "/none"
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	// Over HTTP/2 each event costs two window updates, a quarter of all the work. Its ping detects a dead connection after
	// 45 s; TCP keep-alive detects it after 8 s.
	config.NextProtos = []string{"http/1.1"}
	if config.Dial == nil {
		config.Dial = (&net.Dialer{
			Timeout:         30 * time.Second,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 3},
		}).DialContext
	}
	// To decompress a pod costs as much as to decode it, and to compress it costs the API server several times as much.
	config.DisableCompression = true
	config.Wrap(limitResponses)
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

// decodeOnly is the encoder of a client that does not write.
type decodeOnly struct{}

func (decodeOnly) Encode(runtime.Object, io.Writer) error {
	return errors.New("this client does not encode objects")
}

func (decodeOnly) Identifier() runtime.Identifier { return "podwatch.decodeOnly" }

// An eventDecoder splits a line of a watch into the type and the JSON of the object.
type eventDecoder struct{ decodeOnly }

// Decode fills a WatchEvent, whose object is a part of the line.
func (eventDecoder) Decode(line []byte, _ *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	event, ok := into.(*metav1.WatchEvent)
	if !ok {
		return nil, nil, fmt.Errorf("decode a line of a watch: into %T", into)
	}
	if event.Type, event.Object.Raw, ok = cutEvent(line); ok {
		return event, nil, nil
	}
	err := json.Unmarshal(line, event)
	if syntax := new(json.SyntaxError); errors.As(err, &syntax) && syntax.Offset == int64(len(line)) && !bytes.HasSuffix(line, []byte("\n")) {
		return nil, nil, io.ErrUnexpectedEOF // the connection was cut in the middle of a line
	}
	if err != nil {
		return nil, nil, err
	}
	return event, nil, nil
}

// cutEvent splits a line that is formatted as Kubernetes formats it: a type and an object, in this order, and a line break. The
// object is validated when it is decoded.
func cutEvent(line []byte) (kind string, object []byte, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"type":"`))
	if !ok {
		return "", nil, false
	}
	name, rest, ok := bytes.Cut(rest, []byte(`","object":`))
	if !ok || bytes.ContainsAny(name, "\"\\") {
		return "", nil, false
	}
	object, ok = bytes.CutSuffix(rest, []byte("}\n"))
	return string(name), object, ok && bytes.HasPrefix(object, []byte("{"))
}

// A podDecoder decodes pods, lists of pods, bookmarks and the Status of an error.
type podDecoder struct {
	decodeOnly
	projection Projection
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Decode returns a *Pod or a *Status. Into an UnstructuredList it puts the pods of a list; see podsOf.
func (d *podDecoder) Decode(text []byte, _ *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	if list, ok := into.(*unstructured.UnstructuredList); ok {
		return d.decodeList(text, list)
	}
	if into != nil {
		return nil, nil, fmt.Errorf("decode a pod: into %T", into)
	}
	if kind := kindOf(text); kind != podKind && kind != statusKind { // the object of an error event is a Status
		return nil, nil, wrongKind(kind)
	}
	return d.decodeObject(text)
}

// decodeItem decodes an item of a list, which may have no kind.
func (d *podDecoder) decodeItem(text []byte) (runtime.Object, error) {
	if kind := kindOf(text); kind != podKind && kind != (metav1.TypeMeta{}) {
		return nil, wrongKind(kind)
	}
	object, _, err := d.decodeObject(text)
	return object, err
}

var (
	podKind    = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	statusKind = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
)

func kindOf(text []byte) metav1.TypeMeta {
	if !bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		return podKind // the decoder returns the error
	}
	// GetBytes, other than ParseBytes, does not copy the pod.
	return metav1.TypeMeta{APIVersion: gjson.GetBytes(text, "apiVersion").String(), Kind: gjson.GetBytes(text, "kind").String()}
}

// wrongKind is the error for another object than a pod: the agent must not score what a server, or a proxy before it, sent by
// mistake.
func wrongKind(kind metav1.TypeMeta) error {
	return fmt.Errorf("decode a pod: the API server sent an object of kind %.64q, apiVersion %.64q", kind.Kind, kind.APIVersion)
}

func (d *podDecoder) decodeObject(text []byte) (runtime.Object, *schema.GroupVersionKind, error) {
	if pod := d.reduce(text); pod != nil {
		return pod, nil, nil
	}
	return d.decodeWhole(text)
}

// reduce returns the reduced pod; nil if the text is not an ordinary pod. A pod that makes the projection panic must not end the
// process, because every replica would receive it again after its restart.
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

// decodeWhole decodes a bookmark, a Status, or a pod that cannot be reduced.
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

// podsKey is the field of a decoded UnstructuredList that holds its pods, as a *metav1.List. Items of its own would be maps.
const podsKey = "pods"

// podsOf returns the pods of a list that a client of newClient has decoded.
func podsOf(list *unstructured.UnstructuredList) (*metav1.List, error) {
	pods, ok := list.Object[podsKey].(*metav1.List)
	if !ok {
		return nil, fmt.Errorf("a list of kind %q was not decoded as a list of pods", list.GetKind())
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
	pods := &metav1.List{ListMeta: list.Metadata, Items: list.Items.pods}
	into.Object = map[string]any{"kind": list.Kind, "apiVersion": list.APIVersion, podsKey: pods}
	return into, nil, nil
}

// items decodes the items of a list without copying their JSON.
type items struct {
	decoder *podDecoder
	pods    []runtime.RawExtension
}

// UnmarshalJSON decodes an array of pods. The text is valid JSON, and is not used after the call.
func (i *items) UnmarshalJSON(text []byte) (err error) {
	array := gjson.Parse(unsafe.String(unsafe.SliceData(text), len(text)))
	if !array.IsArray() {
		return nil
	}
	array.ForEach(func(_, item gjson.Result) bool {
		var object runtime.Object
		object, err = i.decoder.decodeItem(unsafe.Slice(unsafe.StringData(item.Raw), len(item.Raw)))
		if pod, ok := object.(*Pod); ok {
			i.pods = append(i.pods, runtime.RawExtension{Object: pod})
		}
		return err == nil
	})
	return err
}
