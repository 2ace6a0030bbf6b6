package podwatch

import (
	"bytes"
	"encoding/json"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// A Projection reduces the JSON of a pod to the fields in use. It always keeps namespace, name, UID and resourceVersion.
type Projection interface {
	// AppendTo appends the reduced pod to dst. An error means that the pod cannot be evaluated.
	AppendTo(dst, pod []byte) ([]byte, error)
	// ReadsVersion reports whether the resourceVersion is in use. If it is not, a change of the resourceVersion alone is not
	// reported.
	ReadsVersion() bool
}

// A Pod is the cached form of a pod: its names and its reduced JSON. It is immutable. The names are substrings of the JSON, so
// that a Pod takes two allocations and none of the maps of an unstructured object.
type Pod struct {
	Namespace, Name, UID, ResourceVersion string
	// JSON is the reduced pod. It is the original JSON if the pod could not be reduced; then it cannot be evaluated either.
	JSON []byte
	// version is the offset of the resourceVersion in JSON; 0 if unknown.
	version int32
}

// newPod takes over valid JSON of a pod, which must not change any more.
func newPod(text []byte) *Pod {
	pod := &Pod{JSON: text}
	json := unsafe.String(unsafe.SliceData(text), len(text))
	metadata := gjson.Get(json, "metadata")
	if !metadata.IsObject() {
		return pod
	}
	metadata.ForEach(func(key, value gjson.Result) bool {
		if value.Type != gjson.String {
			return true
		}
		switch key.Str {
		case "namespace":
			pod.Namespace = value.Str
		case "name":
			pod.Name = value.Str
		case "uid":
			pod.UID = value.Str
		case "resourceVersion":
			pod.ResourceVersion = value.Str
			// If an earlier field has the same text, changes of the version alone are reported, which does no harm.
			if at := strings.Index(json, value.Raw); at >= 0 && value.Raw[1:len(value.Raw)-1] == value.Str {
				pod.version = int32(at) + 1
			}
		}
		return true
	})
	return pod
}

// equal reports whether two forms of a pod are the same.
func (p *Pod) equal(other *Pod) bool {
	return p.UID == other.UID && p.ResourceVersion == other.ResourceVersion && bytes.Equal(p.JSON, other.JSON)
}

// equalButVersion reports whether two forms of a pod are known to be the same but for their resourceVersion.
func (p *Pod) equalButVersion(other *Pod) bool {
	if p.version == 0 || other.version == 0 || p.UID != other.UID {
		return false
	}
	before, after := p.aroundVersion()
	otherBefore, otherAfter := other.aroundVersion()
	return bytes.Equal(before, otherBefore) && bytes.Equal(after, otherAfter)
}

func (p *Pod) aroundVersion() (before, after []byte) {
	return p.JSON[:p.version], p.JSON[int(p.version)+len(p.ResourceVersion):]
}

// GetObjectMeta returns the metadata that client-go reads. The annotations are those of a bookmark, which has no name and is
// kept whole: client-go looks there for the end of the initial events.
func (p *Pod) GetObjectMeta() metav1.Object {
	if p.Name != "" {
		return podMeta{&noMeta, p}
	}
	var bookmark metav1.PartialObjectMetadata
	// The JSON was validated before. Metadata of other types count as absent.
	_ = json.Unmarshal(p.JSON, &bookmark)
	return &metav1.ObjectMeta{Namespace: p.Namespace, UID: types.UID(p.UID), ResourceVersion: p.ResourceVersion, Annotations: bookmark.Annotations}
}

// A podMeta is the metadata of a pod with a name. It is a fifteenth of an ObjectMeta, which client-go would make the garbage of
// several times for each pod of a list. It must not be changed: all other fields are those of noMeta.
type podMeta struct {
	*metav1.ObjectMeta
	pod *Pod
}

var noMeta metav1.ObjectMeta

func (m podMeta) GetNamespace() string       { return m.pod.Namespace }
func (m podMeta) GetName() string            { return m.pod.Name }
func (m podMeta) GetUID() types.UID          { return types.UID(m.pod.UID) }
func (m podMeta) GetResourceVersion() string { return m.pod.ResourceVersion }

// GetObjectKind implements runtime.Object.
func (p *Pod) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object.
func (p *Pod) DeepCopyObject() runtime.Object {
	copied := *p
	copied.JSON = bytes.Clone(p.JSON)
	return &copied
}
