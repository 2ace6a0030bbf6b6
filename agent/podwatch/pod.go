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
)

// A Projection reduces the JSON of a pod to what is wanted of it. The names, the UID and the resourceVersion in the
// metadata are always wanted.
type Projection interface {
	// AppendTo appends the reduced pod. An error means that the text is none that can be evaluated.
	AppendTo(dst, pod []byte) ([]byte, error)
	// ReadsVersion tells whether the resourceVersion is of interest. If it is not, a pod of which nothing else has
	// changed has not changed.
	ReadsVersion() bool
}

// A Pod is what the cache keeps of a pod: its names and its reduced JSON. It is immutable, and has none of the maps of
// an unstructured object. Its names are parts of its JSON, so that both are two allocations.
type Pod struct {
	Namespace, Name, UID, ResourceVersion string
	// JSON is the pod, reduced; or as it came, where it could not be reduced. Then it cannot be evaluated either, for the
	// same reason.
	JSON []byte
	// version is where the resourceVersion stands in the JSON; 0 where it is not known.
	version int32
}

// newPod takes over the JSON of a pod, which must be checked and must not change any more.
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
			// Should the same text stand elsewhere, the pod is only taken for changed more often.
			if at := strings.Index(json, value.Raw); at >= 0 && value.Raw[1:len(value.Raw)-1] == value.Str {
				pod.version = int32(at) + 1
			}
		}
		return true
	})
	return pod
}

// differsInVersionAlone tells whether two forms of a pod are the same but for their resourceVersion.
func (p *Pod) differsInVersionAlone(other *Pod) bool {
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

// same tells whether two forms of a pod are one.
func (p *Pod) same(other *Pod) bool {
	return p.UID == other.UID && p.ResourceVersion == other.ResourceVersion && bytes.Equal(p.JSON, other.JSON)
}

// annotations are those of a bookmark, which has no name and is kept whole. Those of pods are not kept for client-go.
func (p *Pod) annotations() map[string]string {
	if p.Name != "" {
		return nil
	}
	var bookmark metav1.PartialObjectMetadata
	if json.Unmarshal(p.JSON, &bookmark) != nil {
		return nil
	}
	return bookmark.Annotations
}

// GetObjectMeta tells client-go the names and the version of the pod; nothing else of its metadata is kept.
func (p *Pod) GetObjectMeta() metav1.Object { return (*podMeta)(p) }

// GetObjectKind and DeepCopyObject make a Pod a runtime.Object, as client-go wants what it decodes to be.
func (p *Pod) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject copies the pod and its JSON.
func (p *Pod) DeepCopyObject() runtime.Object {
	copied := *p
	copied.JSON = bytes.Clone(p.JSON)
	return &copied
}

// A podList is a list of all pods, as client-go takes it in.
type podList struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []*Pod
}

// DeepCopyObject copies the list and its pods.
func (l *podList) DeepCopyObject() runtime.Object {
	copied := &podList{TypeMeta: l.TypeMeta, Items: make([]*Pod, len(l.Items))}
	l.ListMeta.DeepCopyInto(&copied.ListMeta)
	for i, pod := range l.Items {
		copied.Items[i] = pod.DeepCopyObject().(*Pod)
	}
	return copied
}
