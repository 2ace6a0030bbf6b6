package leaderservice

import (
	"context"
	"strconv"
	"sync"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var resource = schema.GroupResource{Group: "discovery.k8s.io", Resource: "endpointslices"}

// A store stores the slices like an API server: an update with a resourceVersion fails unless it is the stored one, and an update without
// changes keeps it.
type store struct {
	mu      sync.Mutex
	slices  map[string]*discoveryv1.EndpointSlice
	version int
	updates int
	stored  func(*discoveryv1.EndpointSlice) // is called for each change, with the lock held
}

// newStore returns a store with the slices that the chart creates.
func newStore(names ...string) *store {
	s := &store{slices: map[string]*discoveryv1.EndpointSlice{}}
	for _, name := range names {
		s.version++
		s.slices[name] = &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
			Name: name, ResourceVersion: strconv.Itoa(s.version),
			Labels: map[string]string{discoveryv1.LabelServiceName: "leader", discoveryv1.LabelManagedBy: "kube-devops", "team": "core"},
		}, AddressType: map[string]discoveryv1.AddressType{slice4: discoveryv1.AddressTypeIPv4, slice6: discoveryv1.AddressTypeIPv6}[name]}
	}
	return s
}

func (s *store) get(name string) (*discoveryv1.EndpointSlice, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slice := s.slices[name]; slice != nil {
		return slice.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(resource, name)
}

func (s *store) update(slice *discoveryv1.EndpointSlice) (*discoveryv1.EndpointSlice, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updates++
	before := s.slices[slice.Name]
	switch {
	case before == nil:
		return nil, apierrors.NewNotFound(resource, slice.Name)
	case slice.ResourceVersion != "" && before.ResourceVersion != slice.ResourceVersion:
		return nil, apierrors.NewConflict(resource, slice.Name, nil)
	}
	after := slice.DeepCopy()
	if after.String() == before.String() {
		return after, nil
	}
	s.version++
	after.ResourceVersion = strconv.Itoa(s.version)
	s.slices[slice.Name] = after
	if s.stored != nil {
		s.stored(after)
	}
	return after.DeepCopy(), nil
}

// change changes a slice, as another client.
func (s *store) change(name string, change func(*discoveryv1.EndpointSlice)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	change(s.slices[name])
	s.slices[name].ResourceVersion = strconv.Itoa(s.version)
}

func (s *store) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.slices, name)
}

func (s *store) updated() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.updates
}

// addresses returns the addresses of a slice.
func (s *store) addresses(t *testing.T, name string) []string {
	t.Helper()
	slice, err := s.get(name)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range slice.Endpoints {
		all = append(all, e.Addresses...)
	}
	return all
}

// A connection connects a replica to the store. Requests and responses may be slow. The store executes a request even if the client has canceled
// it.
type connection struct {
	*store
	delay func() // nil: none
	fail  func() error
}

func (c connection) Get(ctx context.Context, name string, _ metav1.GetOptions) (*discoveryv1.EndpointSlice, error) {
	return send(ctx, c, func() (*discoveryv1.EndpointSlice, error) { return c.get(name) })
}

func (c connection) Update(ctx context.Context, slice *discoveryv1.EndpointSlice, _ metav1.UpdateOptions) (*discoveryv1.EndpointSlice, error) {
	slice = slice.DeepCopy()
	return send(ctx, c, func() (*discoveryv1.EndpointSlice, error) { return c.update(slice) })
}

func send[T any](ctx context.Context, c connection, do func() (T, error)) (T, error) {
	var none T
	if c.fail != nil {
		if err := c.fail(); err != nil {
			return none, err
		}
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	type response struct {
		value T
		err   error
	}
	done := make(chan response, 1)
	go func() {
		if c.delay != nil {
			c.delay()
		}
		value, err := do()
		if c.delay != nil {
			c.delay()
		}
		done <- response{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
