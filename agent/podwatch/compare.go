package podwatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// A Version identifies one form of a pod. The zero value means that there is no such pod.
type Version struct{ UID, ResourceVersion string }

func (v Version) String() string {
	if v == (Version{}) {
		return "absent"
	}
	return v.UID + " at " + v.ResourceVersion
}

// A Lister returns the versions of all pods at one moment after the call.
type Lister func(ctx context.Context) (map[Key]Version, error)

// NewLister makes a Lister that requests only the metadata of the pods, of the whole cluster or of some namespaces. It skips
// namespaces whose pods it may not list.
func NewLister(config *rest.Config, namespaces ...string) (Lister, error) {
	client, err := metadata.NewForConfig(metadata.ConfigFor(config))
	if err != nil {
		return nil, fmt.Errorf("create the client for metadata: %w", err)
	}
	return listerOf(client, namespaces...), nil
}

func listerOf(client metadata.Interface, namespaces ...string) Lister {
	pods := client.Resource(corev1.SchemeGroupVersion.WithResource("pods"))
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
	// Without a resourceVersion the response comes from etcd, not from a cache of the API server. All pages have one version.
	options := metav1.ListOptions{Limit: 1000}
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

// A Difference is a pod whose version in the cache is not that of the API server.
type Difference struct {
	Key
	Cached, Listed Version
}

func (d Difference) String() string {
	return fmt.Sprintf("%s/%s: %s in the cache, %s in the list", d.Namespace, d.Name, d.Cached, d.Listed)
}

// Differences compares the cache with a list and returns the lasting differences, sorted by name. A cache that follows the API
// server always lags behind for a moment. So Differences compares again after a pause, with another list: a difference counts if
// neither the list nor the cache has changed.
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
	forbidden := sets.New(w.Forbidden()...)
	differ := make(map[Key]Difference)
	for pod := range w.All() {
		if forbidden.Has(pod.Namespace) {
			continue // the list does not have it
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
