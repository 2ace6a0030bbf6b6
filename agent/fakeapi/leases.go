package fakeapi

import (
	"errors"
	"net/http"
	"strconv"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

var leaseResource = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

// Leases store one Lease as an API server does, with conditional writes. The zero value has none.
type Leases struct {
	mu      sync.Mutex
	lease   *coordinationv1.Lease
	version int
	uid     int
	writes  int
	// Refuse returns why a write is not valid; nil accepts all. Set it before the first request.
	Refuse func(lease *coordinationv1.Lease) error
}

// Get returns the Lease.
func (s *Leases) Get() (*coordinationv1.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil {
		return nil, apierrors.NewNotFound(leaseResource, "lease")
	}
	return s.lease.DeepCopy(), nil
}

// Create makes the Lease.
func (s *Leases) Create(lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.invalid(lease); err != nil {
		return nil, err
	}
	if s.lease != nil {
		return nil, apierrors.NewAlreadyExists(leaseResource, lease.Name)
	}
	s.uid++
	lease = lease.DeepCopy()
	lease.UID = types.UID("uid-" + strconv.Itoa(s.uid))
	return s.commit(lease), nil
}

// Update writes the Lease if its resourceVersion and UID match.
func (s *Leases) Update(lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.invalid(lease); err != nil {
		return nil, err
	}
	if s.lease == nil {
		return nil, apierrors.NewNotFound(leaseResource, lease.Name)
	}
	if lease.ResourceVersion != s.lease.ResourceVersion || lease.UID != s.lease.UID {
		return nil, apierrors.NewConflict(leaseResource, lease.Name, errors.New("the object has been modified"))
	}
	return s.commit(lease), nil
}

func (s *Leases) invalid(lease *coordinationv1.Lease) error {
	if s.Refuse == nil {
		return nil
	}
	return s.Refuse(lease)
}

// commit stores a Lease as etcd does: in protobuf, which truncates times to microseconds and accepts any year.
func (s *Leases) commit(lease *coordinationv1.Lease) *coordinationv1.Lease {
	s.version++
	s.writes++
	data, err := lease.Marshal()
	if err != nil {
		panic(err)
	}
	s.lease = &coordinationv1.Lease{}
	if err := s.lease.Unmarshal(data); err != nil {
		panic(err)
	}
	s.lease.ResourceVersion = strconv.Itoa(s.version)
	return s.lease.DeepCopy()
}

// Edit changes the Lease without a condition, as an edit by hand. Without a Lease it does nothing.
func (s *Leases) Edit(change func(lease *coordinationv1.Lease)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil {
		return
	}
	lease := s.lease.DeepCopy()
	change(lease)
	s.commit(lease)
}

// Delete deletes the Lease.
func (s *Leases) Delete() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease = nil
}

// Writes returns the number of writes, including edits.
func (s *Leases) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// ServeHTTP answers a request for the Lease, whatever its name.
func (s *Leases) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	lease := new(coordinationv1.Lease)
	if r.Method != http.MethodGet {
		if err := decode(r, lease); err != nil {
			Status(http.StatusBadRequest, "BadRequest")(w, r)
			return
		}
	}
	code, do := http.StatusOK, s.Get
	switch r.Method {
	case http.MethodPost:
		code, do = http.StatusCreated, func() (*coordinationv1.Lease, error) { return s.Create(lease) }
	case http.MethodPut:
		do = func() (*coordinationv1.Lease, error) { return s.Update(lease) }
	}
	answer, err := do()
	var status *apierrors.StatusError
	switch {
	case errors.As(err, &status):
		writeJSON(w, int(status.ErrStatus.Code), status.ErrStatus)
	case err != nil:
		Status(http.StatusUnprocessableEntity, "Invalid")(w, r)
	default:
		answer.APIVersion, answer.Kind = "coordination.k8s.io/v1", "Lease"
		writeJSON(w, code, answer)
	}
}
