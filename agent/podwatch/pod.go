package podwatch

import (
	"bytes"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// A Pod is what the cache keeps of a pod: its names and its JSON. It is immutable, and has none of the maps of an
// unstructured object, which take six times the memory.
type Pod struct {
	Namespace, Name, UID, ResourceVersion string
	// JSON is the pod without its managedFields; nil where it could not be written.
	JSON []byte
}

// compact is the informer's transform: it makes a Pod of an unstructured object. It is called again on its own result.
// It never fails, since on an error client-go leaves out the pod and says that it is in sync: a pod that cannot be
// written as JSON is kept without, and is then one that cannot be evaluated.
func compact(obj any) (any, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return obj, nil
	}
	pod := &Pod{
		Namespace:       u.GetNamespace(),
		Name:            u.GetName(),
		UID:             string(u.GetUID()),
		ResourceVersion: u.GetResourceVersion(),
	}
	pod.JSON, _ = encode(u)
	return pod, nil
}

// encode writes the object without its managedFields, which no policy reads and which are a third of a pod.
func encode(u *unstructured.Unstructured) (text []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			text, err = nil, fmt.Errorf("encode pod: %v", cause)
		}
	}()
	if metadata, ok := u.Object["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
	}
	return json.Marshal(u.Object)
}

// GetObjectMeta tells client-go the names and the version of the pod; nothing else of its metadata is kept.
func (p *Pod) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{
		Namespace:       p.Namespace,
		Name:            p.Name,
		UID:             types.UID(p.UID),
		ResourceVersion: p.ResourceVersion,
	}
}

// GetObjectKind and DeepCopyObject make a Pod a runtime.Object: the detectors that client-go has for tests
// (KUBE_WATCHLIST_INCONSISTENCY_DETECTOR, KUBE_CACHE_MUTATION_DETECTOR) panic at anything else, or pass it over.
func (p *Pod) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject copies the pod and its JSON.
func (p *Pod) DeepCopyObject() runtime.Object {
	copied := *p
	copied.JSON = bytes.Clone(p.JSON)
	return &copied
}
