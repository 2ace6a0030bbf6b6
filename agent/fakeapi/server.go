package fakeapi

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// A Server is an API server with pods, one Lease, and reviews.
type Server struct {
	Pods   *Pods
	Leases *Leases
	// Users maps known tokens to users. Every user may read everything.
	Users map[string]string

	fault atomic.Pointer[func(r *http.Request) http.HandlerFunc]
}

// New makes a server with some pods.
func New(pods ...Object) *Server { return &Server{Pods: NewPods(pods...), Leases: &Leases{}} }

// Fault lets a function answer requests of all kinds. If it returns nil, the server answers correctly. Fault(nil) removes it.
func (s *Server) Fault(fault func(r *http.Request) http.HandlerFunc) {
	s.fault.Store(&fault)
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if fault := s.fault.Load(); fault != nil && *fault != nil {
		if handler := (*fault)(r); handler != nil {
			handler(w, r)
			return
		}
	}
	_, pods := namespaceOf(r)
	switch path := r.URL.Path; {
	case pods:
		s.Pods.ServeHTTP(w, r)
	case strings.HasPrefix(path, "/apis/coordination.k8s.io/v1/namespaces/"):
		s.Leases.ServeHTTP(w, r)
	case path == "/apis/authentication.k8s.io/v1/tokenreviews":
		s.reviewToken(w, r)
	case path == "/apis/authorization.k8s.io/v1/subjectaccessreviews":
		s.reviewAccess(w, r)
	default:
		Status(http.StatusNotFound, "NotFound")(w, r)
	}
}

func (s *Server) reviewToken(w http.ResponseWriter, r *http.Request) {
	var review authenticationv1.TokenReview
	if err := decode(r, &review); err != nil {
		Status(http.StatusBadRequest, "BadRequest")(w, r)
		return
	}
	review.APIVersion, review.Kind = "authentication.k8s.io/v1", "TokenReview"
	review.Status.User.Username, review.Status.Authenticated = s.Users[review.Spec.Token], s.Users[review.Spec.Token] != ""
	writeJSON(w, http.StatusCreated, review)
}

func (s *Server) reviewAccess(w http.ResponseWriter, r *http.Request) {
	var review authorizationv1.SubjectAccessReview
	if err := decode(r, &review); err != nil {
		Status(http.StatusBadRequest, "BadRequest")(w, r)
		return
	}
	review.APIVersion, review.Kind = "authorization.k8s.io/v1", "SubjectAccessReview"
	review.Status.Allowed = true
	writeJSON(w, http.StatusCreated, review)
}

// decode reads the object of a request, in JSON or protobuf.
func decode(r *http.Request, into runtime.Object) error {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		_, _, err = scheme.Codecs.UniversalDeserializer().Decode(body, nil, into)
	}
	return err
}
