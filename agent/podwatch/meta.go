package podwatch

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// podMeta is a Pod as client-go looks at it: an object with names and a version, and nothing else in its metadata. It
// costs nothing to make, where an ObjectMeta is 250 bytes for each look.
type podMeta Pod

// GetNamespace and the three below are all that client-go asks of a pod.
func (m *podMeta) GetNamespace() string { return m.Namespace }

// GetName returns the pod's name, "" for a bookmark.
func (m *podMeta) GetName() string { return m.Name }

// GetUID returns the pod's UID.
func (m *podMeta) GetUID() types.UID { return types.UID(m.UID) }

// GetResourceVersion returns the version of the pod, or of all pods for a bookmark.
func (m *podMeta) GetResourceVersion() string { return m.ResourceVersion }

// GetAnnotations returns those of a bookmark, where client-go looks for the end of an initial stream.
func (m *podMeta) GetAnnotations() map[string]string { return (*Pod)(m).annotations() }

// The rest of metav1.Object: what is not kept is not there, and a Pod does not change.

func (*podMeta) GetGenerateName() string                       { return "" }
func (*podMeta) GetGeneration() int64                          { return 0 }
func (*podMeta) GetSelfLink() string                           { return "" }
func (*podMeta) GetCreationTimestamp() metav1.Time             { return metav1.Time{} }
func (*podMeta) GetDeletionTimestamp() *metav1.Time            { return nil }
func (*podMeta) GetDeletionGracePeriodSeconds() *int64         { return nil }
func (*podMeta) GetLabels() map[string]string                  { return nil }
func (*podMeta) GetFinalizers() []string                       { return nil }
func (*podMeta) GetOwnerReferences() []metav1.OwnerReference   { return nil }
func (*podMeta) GetManagedFields() []metav1.ManagedFieldsEntry { return nil }
func (*podMeta) SetNamespace(string)                           {}
func (*podMeta) SetName(string)                                {}
func (*podMeta) SetGenerateName(string)                        {}
func (*podMeta) SetUID(types.UID)                              {}
func (*podMeta) SetResourceVersion(string)                     {}
func (*podMeta) SetGeneration(int64)                           {}
func (*podMeta) SetSelfLink(string)                            {}
func (*podMeta) SetCreationTimestamp(metav1.Time)              {}
func (*podMeta) SetDeletionTimestamp(*metav1.Time)             {}
func (*podMeta) SetDeletionGracePeriodSeconds(*int64)          {}
func (*podMeta) SetLabels(map[string]string)                   {}
func (*podMeta) SetAnnotations(map[string]string)              {}
func (*podMeta) SetFinalizers([]string)                        {}
func (*podMeta) SetOwnerReferences([]metav1.OwnerReference)    {}
func (*podMeta) SetManagedFields([]metav1.ManagedFieldsEntry)  {}
