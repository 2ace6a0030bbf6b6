package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
	takes time.Duration // for each answer
	at    []time.Time   // of each question

	wanted, granted []string // audiences
}

func (s *reviewServer) setFails(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = status
}

// mostInASecond returns how many questions there were in the busiest second.
func (s *reviewServer) mostInASecond() (most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for first, last := 0, 0; last < len(s.at); last++ {
		for s.at[last].Sub(s.at[first]) >= time.Second {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

func (s *reviewServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.at = append(s.at, time.Now())
	s.mu.Unlock()
	select {
	case <-time.After(s.takes):
	case <-r.Context().Done():
	}
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
		s.wanted = review.Spec.Audiences
		user, ok := s.users[review.Spec.Token]
		review.Status = authenticationv1.TokenReviewStatus{Authenticated: ok, Audiences: s.granted, User: authenticationv1.UserInfo{
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

// through is a transport that calls a handler.
type through struct{ http.Handler }

func (h through) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	return recorder.Result(), r.Context().Err()
}

func newTestReviewer(t *testing.T, api http.Handler, audiences ...string) (*Reviewer, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	r, err := New(&rest.Config{
		Host: "http://api.test", Transport: through{api}, ContentConfig: rest.ContentConfig{ContentType: "application/json"},
	}, audiences, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	return r, logs
}

func metricsOf(token, from string) server.Bearer {
	return server.Bearer{Token: token, Path: "/metrics", From: from}
}

const mayMetrics = "may ann 1 [all] map[k:[v]] get /metrics"

// TestReviews: each answer is asked for once, used for its time, and asked for again.
func TestReviews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &reviewServer{users: map[string]string{"a": "ann", "b": "bob", "c": "cat"}, may: map[string]bool{"ann /metrics": true, "cat /api/v1/report": true}}
		r, logs := newTestReviewer(t, s)
		life := r.lifetimes
		forbidden := fmt.Errorf("%w: bob may not get /metrics", server.ErrForbidden)
		taken := fmt.Errorf("%w: ann may not get /metrics", server.ErrForbidden)
		whole := []string{"who is a", mayMetrics}
		steps := []struct {
			name        string
			later       time.Duration
			may         bool
			token, path string
			want        error
			asked       []string
		}{
			{"allowed", 0, true, "a", "/metrics", nil, whole},
			{"again", 0, true, "a", "/metrics", nil, nil},
			{"before the renewal", life.renew - 1, true, "a", "/metrics", nil, nil},
			{"the renewal, while the answer is used", 1, true, "a", "/metrics", nil, whole},
			{"at the end, without a request since", life.allowed, true, "a", "/metrics", nil, whole},
			{"taken away, at the renewal", life.renew, false, "a", "/metrics", nil, whole},
			{"taken away", 0, false, "a", "/metrics", taken, nil},
			{"given back, too soon", life.refused - 1, true, "a", "/metrics", taken, nil},
			{"given back", 1, true, "a", "/metrics", nil, whole},
			{"another page", 0, true, "a", "/api/v1/report", fmt.Errorf("%w: ann may not get /api/v1/report", server.ErrForbidden), []string{"who is a", "may ann 1 [all] map[k:[v]] get /api/v1/report"}},
			{"a page that every user may get by system:discovery", 0, true, "c", "/api/v1/report", fmt.Errorf("%w: cat may not get /metrics", server.ErrForbidden), []string{"who is c", "may cat 1 [all] map[k:[v]] get /api/v1/report", "may cat 1 [all] map[k:[v]] get /metrics"}},
			{"another user", 0, true, "b", "/metrics", forbidden, []string{"who is b", "may bob 1 [all] map[k:[v]] get /metrics"}},
			{"an invented token", 0, true, "x", "/metrics", server.ErrUnknown, []string{"who is x"}},
			{"an invented token again", 0, true, "x", "/metrics", server.ErrUnknown, nil},
		}
		for _, step := range steps {
			<-time.After(step.later)
			s.mu.Lock()
			s.may["ann /metrics"] = step.may
			s.mu.Unlock()
			err := r.Allow(t.Context(), server.Bearer{Token: step.token, Path: step.path})
			if fmt.Sprint(err) != fmt.Sprint(step.want) {
				t.Errorf("%s: %v, want %v", step.name, err, step.want)
			}
			synctest.Wait()
			if diff := cmp.Diff(step.asked, s.take()); diff != "" {
				t.Errorf("%s: asked (-want +got):\n%s", step.name, diff)
			}
		}
		if logs.Len() != 0 {
			t.Errorf("logged %v, though nothing is wrong", logs.All())
		}
	})
}

// TestReviewFails: an API server that cannot answer lets no new client in, keeps those that were let in until their answer
// ends, is reported in one line a period, and is asked again soon.
func TestReviewFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &reviewServer{users: map[string]string{"a": "ann"}, may: map[string]bool{"ann /metrics": true}}
		r, logs := newTestReviewer(t, s)
		if err := r.Allow(t.Context(), metricsOf("a", "")); err != nil {
			t.Fatal(err)
		}
		s.setFails(403)
		s.take()
		for range 3 {
			err := r.Allow(t.Context(), metricsOf("new", ""))
			if err == nil || errors.Is(err, server.ErrForbidden) || errors.Is(err, server.ErrUnknown) || errors.Is(err, server.ErrBusy) {
				t.Errorf("error %v, want that the API server cannot be asked", err)
			}
		}
		if diff := cmp.Diff([]string{"failed"}, s.take()); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		if logs.Len() != 1 || logs.All()[0].Message != "the API server cannot be asked who may read metrics" {
			t.Errorf("logged %v, want one line", logs.All())
		}
		for at := range 12 {
			if err := r.Allow(t.Context(), metricsOf("a", "")); err != nil {
				t.Errorf("a client that was let in, after %d s: %v", 5*at, err)
			}
			<-time.After(5 * time.Second)
		}
		if err := r.Allow(t.Context(), metricsOf("a", "")); err == nil {
			t.Error("a permission outlasts its time")
		}
		s.setFails(0)
		<-time.After(r.lifetimes.failed)
		if err := r.Allow(t.Context(), metricsOf("a", "")); err != nil {
			t.Errorf("after the API server answers again: %v", err)
		}
	})
}

// TestReviewOfClientThatHasGone: a request that ends takes the review with it when no other request waits for it, and says
// nothing about the next one.
func TestReviewOfClientThatHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &reviewServer{users: map[string]string{"a": "ann"}, may: map[string]bool{"ann /metrics": true}, takes: time.Second}
		r, logs := newTestReviewer(t, s)
		gone, cancel := context.WithCancel(t.Context())
		var first error
		var asking sync.WaitGroup
		asking.Go(func() { first = r.Allow(gone, metricsOf("a", "")) })
		synctest.Wait()
		cancel()
		asking.Wait()
		if first == nil {
			t.Error("a client that has gone is let in")
		}
		if err := r.Allow(t.Context(), metricsOf("a", "")); err != nil {
			t.Errorf("the next request: %v", err)
		}
		if logs.Len() != 0 {
			t.Errorf("logged %v", logs.All())
		}
	})
}

// TestOneQuestionIsAskedOnce: requests with one token share a review, and the end of one does not end it for the others.
func TestOneQuestionIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &reviewServer{users: map[string]string{"a": "ann"}, may: map[string]bool{"ann /metrics": true}, takes: time.Second}
		r, _ := newTestReviewer(t, s)
		gone, cancel := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		asking.Go(func() { _ = r.Allow(gone, metricsOf("a", "1")) })
		synctest.Wait()
		for range 3 {
			asking.Go(func() {
				if err := r.Allow(t.Context(), metricsOf("a", "2")); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel()
		asking.Wait()
		if diff := cmp.Diff([]string{"who is a", mayMetrics}, s.take()); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	})
}

// TestReviewsInAFlood: while invented tokens come by the hundred a second, a client that was let in never waits, whether
// it asks before its answer ends or after; a client with a new token, from an address of its own, is let in; and the API
// server is asked at most 10 times in any second.
func TestReviewsInAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const latency = 50 * time.Millisecond
		s := &reviewServer{
			users: map[string]string{"a": "ann", "b": "ann", "c": "ann"}, may: map[string]bool{"ann /metrics": true}, takes: latency,
		}
		r, logs := newTestReviewer(t, s)
		for _, token := range []string{"a", "b"} {
			if err := r.Allow(t.Context(), metricsOf(token, "10.0.0.1")); err != nil {
				t.Fatal(err)
			}
		}
		end, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		var busy, unknown atomic.Int64
		for i := range 200 {
			running.Go(func() {
				for n := 0; end.Err() == nil; n++ {
					asking, cancel := context.WithCancel(end)
					if i%2 == 0 { // leaves before the answer
						time.AfterFunc(10*time.Millisecond, cancel)
					}
					switch err := r.Allow(asking, metricsOf(fmt.Sprint("invented ", i, n), "10.0.0.2")); {
					case errors.Is(err, server.ErrBusy):
						busy.Add(1)
					case errors.Is(err, server.ErrUnknown):
						unknown.Add(1)
					case err == nil:
						t.Error("an invented token is let in")
					}
					cancel()
					<-time.After(500 * time.Millisecond)
				}
			})
		}
		good := func(token string, every, bound time.Duration) {
			for range 5 * time.Minute / every {
				began := time.Now()
				if err := r.Allow(t.Context(), metricsOf(token, "10.0.0.2")); err != nil {
					t.Errorf("client %s: %v", token, err)
				}
				if took := time.Since(began); took > bound {
					t.Errorf("client %s waited %s, bound %s", token, took, bound)
				}
				<-time.After(every)
			}
		}
		var clients sync.WaitGroup
		clients.Go(func() { good("a", 15*time.Second, 0) })
		// The answer of b has ended each time. It may wait a second for the budget of known clients, which the renewal of a
		// shares, and then for the two requests of a review.
		clients.Go(func() { good("b", 2*time.Minute, time.Second+2*latency) })
		<-time.After(time.Minute)
		if err := r.Allow(t.Context(), metricsOf("c", "10.0.0.3")); err != nil {
			t.Errorf("a new client from another address: %v", err)
		}
		clients.Wait()
		stop()
		running.Wait()
		if busy.Load() == 0 || unknown.Load() == 0 {
			t.Errorf("%d requests refused, %d tokens reviewed: that is not a flood", busy.Load(), unknown.Load())
		}
		if most := s.mostInASecond(); most > 10 || most < 3 {
			t.Errorf("%d reviews in one second, want 10 at most", most)
		}
		if n := len(logs.FilterMessage("too many requests wait for a review of their token; others are refused").All()); n < 2 || n > int(6*time.Minute/logLimitPeriod) || n != logs.Len() {
			t.Errorf("%d lines say that requests are refused, of %d in all", n, logs.Len())
		}
		if len(r.reviews) != 0 || r.unknown.total != 0 || r.known.total != 0 || len(r.unknown.waiting) != 0 {
			t.Errorf("%d reviews and %d requests are left after the flood", len(r.reviews), r.unknown.total+r.known.total)
		}
	})
}

// TestReviewsOfAnAPIServerThatHangs: each request to it has a deadline, and none keeps a client for ever.
func TestReviewsOfAnAPIServerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		r, _ := newTestReviewer(t, hangs)
		began := time.Now()
		err := r.Allow(t.Context(), metricsOf("a", ""))
		if took := time.Since(began); err == nil || took > reviewTimeout {
			t.Errorf("%v after %s, want an error within %s", err, took, reviewTimeout)
		}
	})
}

// TestAudiences: with audiences a token must have one of them, also where the API server's authenticator knows of none.
func TestAudiences(t *testing.T) {
	for _, test := range []struct {
		name            string
		wanted, granted []string
		want            error
	}{
		{"none wanted", nil, nil, nil},
		{"one of them", []string{"x", "y"}, []string{"y"}, nil},
		{"another", []string{"x"}, []string{"z"}, server.ErrUnknown},
		{"an authenticator without audiences", []string{"x"}, nil, server.ErrUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &reviewServer{users: map[string]string{"a": "ann"}, may: map[string]bool{"ann /metrics": true}, granted: test.granted}
			r, _ := newTestReviewer(t, s, test.wanted...)
			if err := r.Allow(t.Context(), metricsOf("a", "")); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if diff := cmp.Diff(test.wanted, s.wanted); diff != "" {
				t.Errorf("audiences of the review (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReviewsAreBounded: invented tokens take no more memory than is meant for them, and no place of a permission.
func TestReviewsAreBounded(t *testing.T) {
	r, _ := newTestReviewer(t, &reviewServer{})
	r.remember(question{path: "kept"}, nil)
	for i := range 2*maxAnswers + 10 {
		r.remember(question{path: fmt.Sprint(i)}, server.ErrUnknown)
		if len(r.answers) > maxAnswers {
			t.Fatalf("%d answers are kept, want %d at the most", len(r.answers), maxAnswers)
		}
	}
	if _, ok := r.answers[question{path: "kept"}]; !ok {
		t.Error("a permission was forgotten before refusals")
	}
	for i := range 2 * maxAnswers {
		r.remember(question{path: fmt.Sprint("allowed ", i)}, nil)
	}
	if len(r.answers) > maxAnswers {
		t.Errorf("%d permissions are kept, want %d at the most", len(r.answers), maxAnswers)
	}
}
