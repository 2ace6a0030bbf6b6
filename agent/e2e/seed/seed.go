// Package seed fills clusters with pods for scale tests: directly in etcd, at about 4,700 pods per second, or with a fake API server
// that has prepared events.
package seed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

// Namespaces is how many there are, each with as many pods.
const Namespaces = 50

// NamespaceOf is the namespace of the pod of that number.
func NamespaceOf(i int) string { return fmt.Sprintf("team-%02d", i%Namespaces) }

// NameOf is its name.
func NameOf(i int) string { return fmt.Sprintf("checkout-7d9c6b5f48-%06d", i) }

// A Seeder writes pods straight into etcd, as the API server would.
type Seeder struct {
	url     string
	encoder runtime.Encoder
}

// NewSeeder returns one for the etcd at a URL.
func NewSeeder(url string) *Seeder {
	serializer := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	return &Seeder{url, scheme.Codecs.EncoderForVersion(serializer, corev1.SchemeGroupVersion)}
}

// Pods writes n pods. Every fourth has violations.
func (s *Seeder) Pods(ctx context.Context, n int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	const batch = 64 // etcd takes 128 operations at once, and 1.5 MB
	for from := 0; from < n; from += batch {
		group.Go(func() error {
			var pods []*corev1.Pod
			for i := from; i < min(n, from+batch); i++ {
				pods = append(pods, NewPod(i, i%4 != 0))
			}
			return s.Put(ctx, pods...)
		})
	}
	return group.Wait()
}

type putRequest struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

type operation struct {
	Put putRequest `json:"requestPut"`
}

// Put writes pods in one transaction. All get the same resource version, unlike in a real cluster, so that an interrupted watch cannot
// resume among them. Use it only for pods that are not yet watched.
func (s *Seeder) Put(ctx context.Context, pods ...*corev1.Pod) error {
	operations := make([]operation, len(pods))
	for i, pod := range pods {
		var err error
		if operations[i].Put, err = s.request(pod); err != nil {
			return err
		}
	}
	return s.call(ctx, "/v3/kv/txn", map[string]any{"success": operations})
}

// PutEach writes pods one by one, several at a time.
func (s *Seeder) PutEach(ctx context.Context, pods ...*corev1.Pod) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for _, pod := range pods {
		group.Go(func() error {
			request, err := s.request(pod)
			if err != nil {
				return err
			}
			return s.call(ctx, "/v3/kv/put", request)
		})
	}
	return group.Wait()
}

const writers = 8

func (s *Seeder) request(pod *corev1.Pod) (putRequest, error) {
	text, err := runtime.Encode(s.encoder, pod)
	if err != nil {
		return putRequest{}, fmt.Errorf("encode a pod: %w", err)
	}
	return putRequest{keyOf(pod.Namespace, pod.Name), text}, nil
}

func keyOf(namespace, name string) []byte { return []byte("/registry/pods/" + namespace + "/" + name) }

// DeleteEach deletes pods one by one, several at a time.
func (s *Seeder) DeleteEach(ctx context.Context, pods ...*corev1.Pod) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for _, pod := range pods {
		group.Go(func() error {
			return s.call(ctx, "/v3/kv/deleterange", map[string]any{"key": keyOf(pod.Namespace, pod.Name)})
		})
	}
	return group.Wait()
}

// DeleteAll deletes the first n pods of Pods, as DeleteEach does.
func (s *Seeder) DeleteAll(ctx context.Context, n int) error {
	pods := make([]*corev1.Pod, n)
	for i := range pods {
		pods[i] = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: NamespaceOf(i), Name: NameOf(i)}}
	}
	return s.DeleteEach(ctx, pods...)
}

// transport keeps a connection for each writer.
var transport = &http.Transport{MaxIdleConnsPerHost: writers}

func (s *Seeder) call(ctx context.Context, path string, request any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("write to etcd: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("write to etcd: %s: %.200s, %w", res.Status, answer, err)
	}
	return nil
}
