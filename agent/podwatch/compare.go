package podwatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// A Version is one form of a pod; the zero value is that there is none.
type Version struct{ UID, ResourceVersion string }

func (v Version) String() string {
	if v == (Version{}) {
		return "absent"
	}
	return v.UID + " at " + v.ResourceVersion
}

// A Lister returns the version of every pod as they all were at one moment, not before the call.
type Lister func(ctx context.Context) (map[Key]Version, error)

// pageSize is how many pods one answer of a list holds.
const pageSize = 1000

// NewLister makes a Lister that asks the API server for nothing but metadata, of the pods of the cluster or of some
// namespaces alone. Namespaces whose pods may not be listed are left out.
func NewLister(config *rest.Config, namespaces ...string) (Lister, error) {
	client, err := metadata.NewForConfig(metadata.ConfigFor(config))
	if err != nil {
		return nil, fmt.Errorf("make the client for metadata: %w", err)
	}
	return listerOf(client, namespaces...), nil
}

func listerOf(client metadata.Interface, namespaces ...string) Lister {
	pods := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
	return func(ctx context.Context) (map[Key]Version, error) {
		listed := make(map[Key]Version)
		if len(namespaces) == 0 {
			return listed, listVersions(ctx, pods, listed)
		}
		for _, namespace := range namespaces {
			err := listVersions(ctx, pods.Namespace(namespace), listed)
			if err != nil && !apierrors.IsForbidden(err) {
				return nil, err
			}
		}
		return listed, nil
	}
}

func listVersions(ctx context.Context, pods metadata.ResourceInterface, into map[Key]Version) error {
	// No resource version: the answer is that of etcd, and not of a cache on the way. All pages are of one moment.
	options := metav1.ListOptions{Limit: pageSize}
	var bounds listing
	for {
		if err := bounds.begin(options.Continue, time.Now()); err != nil {
			return err
		}
		page, err := pods.List(ctx, options)
		if err != nil {
			return fmt.Errorf("list the metadata of pods: %w", err)
		}
		if err := bounds.end(page.Continue, len(page.Items)); err != nil {
			return err
		}
		for i := range page.Items {
			pod := &page.Items[i]
			into[Key{strings.Clone(pod.Namespace), strings.Clone(pod.Name)}] =
				Version{strings.Clone(string(pod.UID)), strings.Clone(pod.ResourceVersion)}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return nil
		}
	}
}

// A Difference is a pod of which the cache has another version than the API server.
type Difference struct {
	Key
	Cached, Listed Version
}

func (d Difference) String() string {
	return fmt.Sprintf("%s/%s: %s in the cache, %s in the list", d.Namespace, d.Name, d.Cached, d.Listed)
}

// Differences compares the cache with a list, and returns where they differ for good, sorted by name. A list and a cache
// that follows it differ for a moment all the time. So what differs is looked at again after a pause, in another list:
// it counts only if neither the list nor the cache has changed its mind meanwhile.
func (w *Watch) Differences(ctx context.Context, list Lister, pause time.Duration) ([]Difference, error) {
	first, err := w.differences(ctx, list)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	second, err := w.differences(ctx, list)
	if err != nil {
		return nil, err
	}
	var lasting []Difference
	for key, d := range second {
		if first[key] == d {
			lasting = append(lasting, d)
		}
	}
	slices.SortFunc(lasting, func(a, b Difference) int { return strings.Compare(a.String(), b.String()) })
	return lasting, nil
}

func (w *Watch) differences(ctx context.Context, list Lister) (map[Key]Difference, error) {
	listed, err := list(ctx)
	if err != nil {
		return nil, err
	}
	forbidden := make(map[string]bool)
	for _, namespace := range w.Forbidden() {
		forbidden[namespace] = true
	}
	differ := make(map[Key]Difference)
	for pod := range w.All() {
		if forbidden[pod.Namespace] {
			continue // the list lacks it
		}
		key := Key{pod.Namespace, pod.Name}
		cached := Version{pod.UID, pod.ResourceVersion}
		if version := listed[key]; version != cached {
			differ[key] = Difference{key, cached, version}
		}
		delete(listed, key)
	}
	for key, version := range listed {
		differ[key] = Difference{Key: key, Listed: version}
	}
	return differ, nil
}
