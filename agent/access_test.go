package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"

	"github.com/kube-devops/kube-devops/agent/server"
)

// A reviewServer answers reviews as an API server does, and keeps what it was asked.
type reviewServer struct {
	mu    sync.Mutex
	users map[string]string // by token
	may   map[string]bool   // by "user path"
	fails int               // the status of all answers, where it is not 0
	asked []string
}

func (s *reviewServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != 0 {
		s.asked = append(s.asked, "failed")
		http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","code":500}`, s.fails)
		return
	}
	var answer any
	switch r.URL.Path {
	case "/apis/authentication.k8s.io/v1/tokenreviews":
		review := new(authenticationv1.TokenReview)
		_ = json.NewDecoder(r.Body).Decode(review)
		s.asked = append(s.asked, "who is "+review.Spec.Token)
		user, ok := s.users[review.Spec.Token]
		review.Status = authenticationv1.TokenReviewStatus{Authenticated: ok, User: authenticationv1.UserInfo{
			Username: user, UID: "1", Groups: []string{"all"}, Extra: map[string]authenticationv1.ExtraValue{"k": {"v"}},
		}}
		answer = review
	case "/apis/authorization.k8s.io/v1/subjectaccessreviews":
		review := new(authorizationv1.SubjectAccessReview)
		_ = json.NewDecoder(r.Body).Decode(review)
		spec := review.Spec
		s.asked = append(s.asked, fmt.Sprintf("may %s %s %v %v %s %s", spec.User, spec.UID, spec.Groups, spec.Extra, spec.NonResourceAttributes.Verb, spec.NonResourceAttributes.Path))
		review.Status.Allowed = s.may[spec.User+" "+spec.NonResourceAttributes.Path]
		answer = review
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// take returns what was asked since the last take.
func (s *reviewServer) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func newTestReviewer(t *testing.T, s *reviewServer) (*reviewer, *time.Time, *observer.ObservedLogs) {
	t.Helper()
	listening := httptest.NewServer(s)
	t.Cleanup(listening.Close)
	core, logs := observer.New(zap.InfoLevel)
	r, err := newReviewer(&rest.Config{Host: listening.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	r.now = func() time.Time { return now }
	return r, &now, logs
}

const mayMetrics = "may ann 1 [all] map[k:[v]] get /metrics"

// TestReviews has each answer be asked for once, used for its time, and asked for again.
func TestReviews(t *testing.T) {
	s := &reviewServer{users: map[string]string{"a": "ann", "b": "bob"}, may: map[string]bool{"ann /metrics": true}}
	r, now, logs := newTestReviewer(t, s)
	forbidden := fmt.Errorf("%w: bob may not get /metrics", server.ErrForbidden)
	steps := []struct {
		name        string
		do          func()
		token, path string
		want        error
		asked       []string
	}{
		{"who may", nil, "a", "/metrics", nil, []string{"who is a", mayMetrics}},
		{"again", nil, "a", "/metrics", nil, nil},
		{"just before it is forgotten", func() { *now = now.Add(allowedFor - 1) }, "a", "/metrics", nil, nil},
		{"taken away", func() { *now = now.Add(1); s.may = nil }, "a", "/metrics", fmt.Errorf("%w: ann may not get /metrics", server.ErrForbidden), []string{"who is a", mayMetrics}},
		{"given back, too soon", func() { *now = now.Add(refusedFor - 1); s.may = map[string]bool{"ann /metrics": true} }, "a", "/metrics", fmt.Errorf("%w: ann may not get /metrics", server.ErrForbidden), nil},
		{"given back", func() { *now = now.Add(1) }, "a", "/metrics", nil, []string{"who is a", mayMetrics}},
		{"another page", nil, "a", "/api/v1/report", fmt.Errorf("%w: ann may not get /api/v1/report", server.ErrForbidden), []string{"who is a", "may ann 1 [all] map[k:[v]] get /api/v1/report"}},
		{"another user", nil, "b", "/metrics", forbidden, []string{"who is b", "may bob 1 [all] map[k:[v]] get /metrics"}},
		{"nobody", nil, "x", "/metrics", server.ErrUnknown, []string{"who is x"}},
		{"nobody again", nil, "x", "/metrics", server.ErrUnknown, nil},
	}
	for _, step := range steps {
		if step.do != nil {
			s.mu.Lock()
			step.do()
			s.mu.Unlock()
		}
		err := r.allow(t.Context(), step.token, step.path)
		if fmt.Sprint(err) != fmt.Sprint(step.want) {
			t.Errorf("%s: %v, want %v", step.name, err, step.want)
		}
		if diff := cmp.Diff(step.asked, s.take()); diff != "" {
			t.Errorf("%s: asked (-want +got):\n%s", step.name, diff)
		}
	}
	if logs.Len() != 0 {
		t.Errorf("logged %v, though nothing is wrong", logs.All())
	}
}

// TestReviewFails has an API server that cannot answer: it lets nobody in, is logged in a line, and asked again soon.
func TestReviewFails(t *testing.T) {
	s := &reviewServer{users: map[string]string{"a": "ann"}, may: map[string]bool{"ann /metrics": true}, fails: 403}
	r, now, logs := newTestReviewer(t, s)
	for range 3 {
		err := r.allow(t.Context(), "a", "/metrics")
		if err == nil || errors.Is(err, server.ErrForbidden) || errors.Is(err, server.ErrUnknown) {
			t.Errorf("error %v, want that it cannot be found out", err)
		}
	}
	if diff := cmp.Diff([]string{"failed"}, s.take()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if logs.Len() != 1 || logs.All()[0].Message != "the API server cannot be asked who may read metrics" {
		t.Errorf("logged %v, want one line", logs.All())
	}
	s.mu.Lock()
	s.fails = 0
	s.mu.Unlock()
	*now = now.Add(failedFor)
	if err := r.allow(t.Context(), "a", "/metrics"); err != nil {
		t.Errorf("after it answers again: %v", err)
	}
}

// TestReviewOfSomebodyWhoHasGone has a request that ends before the answer say nothing to the next.
func TestReviewOfSomebodyWhoHasGone(t *testing.T) {
	s := &reviewServer{users: map[string]string{"a": "ann"}, may: map[string]bool{"ann /metrics": true}}
	r, _, logs := newTestReviewer(t, s)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.allow(gone, "a", "/metrics"); err == nil {
		t.Error("somebody who has gone is let in")
	}
	if err := r.allow(t.Context(), "a", "/metrics"); err != nil {
		t.Errorf("the next: %v", err)
	}
	if logs.Len() != 0 {
		t.Errorf("logged %v", logs.All())
	}
}

// TestReviewsAreBounded has strangers who make up tokens take no more memory than is meant for it.
func TestReviewsAreBounded(t *testing.T) {
	r, now, _ := newTestReviewer(t, &reviewServer{})
	for i := range 2*maxAnswers + 10 {
		r.remember(question{path: fmt.Sprint(i)}, reviewed{server.ErrUnknown, now.Add(refusedFor)})
	}
	if len(r.answers) > maxAnswers {
		t.Errorf("%d answers are kept, want %d at the most", len(r.answers), maxAnswers)
	}
	r.remember(question{path: "kept"}, reviewed{nil, now.Add(time.Hour)})
	*now = now.Add(refusedFor)
	for i := range maxAnswers {
		r.remember(question{path: fmt.Sprint("later ", i)}, reviewed{server.ErrUnknown, now.Add(-1)})
	}
	if _, ok := r.answers[question{path: "kept"}]; !ok {
		t.Error("an answer that holds was forgotten before those that do not")
	}
}

func TestAccessOptions(t *testing.T) {
	for name, test := range map[string]struct {
		change func(o *Options)
		want   string
	}{
		"a certificate alone": {func(o *Options) { o.Certificate.CertFile = "c" }, "need each other"},
		"a key alone":         {func(o *Options) { o.Certificate.KeyFile = "k" }, "need each other"},
		"tokens in the clear": {func(o *Options) { o.MetricsAuth = true }, "tokens must not travel in the clear"},
		"nobody to ask": {func(o *Options) {
			o.MetricsAuth, o.Replay = true, "x"
			o.Certificate = server.Certificate{CertFile: "c", KeyFile: "k"}
		}, "--replay has none"},
		"TLS and authorization": {func(o *Options) {
			o.MetricsAuth = true
			o.Certificate = server.Certificate{CertFile: "c", KeyFile: "k"}
		}, ""},
	} {
		o := DefaultOptions()
		test.change(&o)
		err := o.Validate()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}
