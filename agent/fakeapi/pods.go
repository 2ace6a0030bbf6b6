// Package fakeapi is an API server for tests: pods, one Lease, and reviews of tokens and access. It speaks real HTTP, keeps a
// history as a real one does, and fails as a test tells it to. Only tests import it.
package fakeapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An Object is the decoded JSON of a pod.
type Object = map[string]any

// What a request is for.
const (
	KindList      = "list"
	KindWatch     = "watch"      // from a version
	KindWatchList = "watch-list" // a watch that begins with all pods
	KindVersion   = "version"    // a list of one pod, to know the present version
)

// A Request is one that the API server has received.
type Request struct {
	Kind      string
	Namespace string // of a request for the pods of one
	Version   string
	At        time.Time
}

// Pods are the pods of an API server, of all namespaces and of each, with a history as a real one keeps it.
type Pods struct {
	mu        sync.Mutex
	version   int
	pods      map[Key]Object
	bare      map[Key]Object // the same without managedFields
	history   []change
	compacted int           // watches from a version before this one are refused
	changed   chan struct{} // closed and made anew by each change
	requests  []Request
	script    func(Request) http.HandlerFunc
}

// A Key names one pod.
type Key struct{ Namespace, Name string }

type change struct {
	version int
	event   string
	pod     Object
}

// NewPods makes pods at version 100 and the following.
func NewPods(pods ...Object) *Pods {
	a := &Pods{version: 100, pods: map[Key]Object{}, bare: map[Key]Object{}, changed: make(chan struct{})}
	for _, pod := range pods {
		a.Put(pod)
	}
	return a
}

// Answer lets the script answer requests; where it returns nil the answer is the right one.
func (a *Pods) Answer(script func(Request) http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.script = script
}

// Heal ends all faults.
func (a *Pods) Heal() { a.Answer(nil) }

// Put creates or replaces a pod and returns it with its version.
func (a *Pods) Put(pod Object) Object {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := keyOf(pod)
	event := "ADDED"
	if _, ok := a.pods[key]; ok {
		event = "MODIFIED"
	}
	a.version++
	pod = withVersion(pod, a.version)
	a.pods[key], a.bare[key] = pod, withoutManagedFields(pod)
	a.record(event, pod)
	return pod
}

// Remove deletes a pod.
func (a *Pods) Remove(key Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	pod, ok := a.pods[key]
	if !ok {
		return
	}
	delete(a.pods, key)
	delete(a.bare, key)
	a.version++
	a.record("DELETED", withVersion(pod, a.version))
}

func (a *Pods) record(event string, pod Object) {
	a.history = append(a.history, change{a.version, event, pod})
	close(a.changed)
	a.changed = make(chan struct{})
}

// ChangeWithoutEvent changes the pods without an event, as where one was lost on its way.
func (a *Pods) ChangeWithoutEvent(change func(pods map[Key]Object)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a.pods)
	clear(a.bare)
	for key, pod := range a.pods {
		a.bare[key] = withoutManagedFields(pod)
	}
}

// Compact forgets all versions but the present one.
func (a *Pods) Compact() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.compacted = a.version
}

// Rewind lets versions go on from a smaller one, as after etcd was restored from a backup.
func (a *Pods) Rewind(version int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version = version
}

// Content is what the cache of a Watch must hold.
func (a *Pods) Content() map[Key]Object {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.bare)
}

// Received are the requests so far.
func (a *Pods) Received() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

// ServeHTTP answers a list or a watch.
func (a *Pods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	namespace, onPath := namespaceOf(r)
	req := Request{Kind: KindList, Namespace: namespace, Version: query.Get("resourceVersion"), At: time.Now()}
	if watch, _ := strconv.ParseBool(query.Get("watch")); watch {
		req.Kind = KindWatch
		if initial, _ := strconv.ParseBool(query.Get("sendInitialEvents")); initial {
			req.Kind = KindWatchList
		}
	} else if query.Get("limit") == "1" {
		req.Kind = KindVersion
	}
	a.mu.Lock()
	a.requests = append(a.requests, req)
	script := a.script
	a.mu.Unlock()
	if !onPath || r.Method != http.MethodGet {
		Status(http.StatusNotFound, metav1.StatusReasonNotFound)(w, r)
		return
	}
	if script != nil {
		if handler := script(req); handler != nil {
			handler(w, r)
			return
		}
	}
	if req.Kind == KindList || req.Kind == KindVersion {
		a.List(w, r)
		return
	}
	a.Stream(Streaming{})(w, r)
}

// List answers a list.
func (a *Pods) List(w http.ResponseWriter, r *http.Request) {
	from, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	a.mu.Lock()
	version := a.version
	items := a.sorted(r)
	a.mu.Unlock()
	if from > version {
		Status(http.StatusGatewayTimeout, metav1.StatusReasonTimeout, metav1.CauseTypeResourceVersionTooLarge)(w, r)
		return
	}
	kind, apiVersion := "PodList", "v1"
	if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
		kind, apiVersion = "PartialObjectMetadataList", "meta.k8s.io/v1"
		for i, pod := range items {
			items[i] = Object{"kind": "PartialObjectMetadata", "apiVersion": apiVersion, "metadata": pod["metadata"]}
		}
	}
	writeJSON(w, http.StatusOK, Object{
		"kind": kind, "apiVersion": apiVersion,
		"metadata": Object{"resourceVersion": strconv.Itoa(version)}, "items": items,
	})
}

// sorted are the pods that a request is for.
func (a *Pods) sorted(r *http.Request) []Object {
	items := make([]Object, 0, len(a.pods))
	for _, key := range slices.SortedFunc(maps.Keys(a.pods), compareKeys) {
		if isFor(r, a.pods[key]) {
			items = append(items, a.pods[key])
		}
	}
	return items
}

// namespaceOf is the namespace of a request for pods, empty for those of all namespaces, and whether it is one.
func namespaceOf(r *http.Request) (namespace string, ok bool) {
	if r.URL.Path == "/api/v1/pods" {
		return "", true
	}
	rest, begins := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/")
	namespace, ends := strings.CutSuffix(rest, "/pods")
	return namespace, begins && ends
}

func isFor(r *http.Request, pod Object) bool {
	namespace, _ := namespaceOf(r)
	return namespace == "" || namespace == keyOf(pod).Namespace
}

// Streaming says how a watch is answered.
type Streaming struct {
	NoEnd  bool // the bookmark that ends the initial pods is lost
	CutOff bool // the stream ends before that bookmark
	Hold   <-chan struct{}
	Pause  time.Duration // before each initial pod
}

// Stream answers a watch.
func (a *Pods) Stream(how Streaming) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		from, _ := strconv.Atoi(query.Get("resourceVersion"))
		initial := query.Get("sendInitialEvents") == "true"
		a.mu.Lock()
		position, version, expired := a.after(from), a.version, from < a.compacted
		future := !initial && from > version
		var pods []Object
		if initial {
			pods, position = a.sorted(r), len(a.history)
		}
		a.mu.Unlock()
		switch {
		case initial && from > version:
			Status(http.StatusGatewayTimeout, metav1.StatusReasonTimeout, metav1.CauseTypeResourceVersionTooLarge)(w, r)
			return
		case !initial && expired:
			Status(http.StatusGone, metav1.StatusReasonExpired)(w, r)
			return
		case future: // a watch from a version that is still to come is told of nothing until then, and of no error
			NewEvents(w)
			NeverAnswer(w, r)
			return
		}
		out := NewEvents(w)
		for _, pod := range pods {
			select {
			case <-time.After(how.Pause):
				out.Send("ADDED", pod)
			case <-r.Context().Done():
				return
			}
		}
		if initial && how.Hold != nil {
			select {
			case <-how.Hold:
			case <-r.Context().Done():
			}
		}
		if initial && how.CutOff {
			return
		}
		if initial && !how.NoEnd {
			out.Send("BOOKMARK", Bookmark(version, true))
		}
		a.follow(r, out, position)
	}
}

// after is where the history goes on from a version.
func (a *Pods) after(version int) int {
	for i := len(a.history); i > 0; i-- {
		if a.history[i-1].version <= version {
			return i
		}
	}
	return 0
}

// follow sends what happens from a position of the history on, and a bookmark each minute.
func (a *Pods) follow(r *http.Request, out *Events, position int) {
	seconds, _ := strconv.Atoi(r.URL.Query().Get("timeoutSeconds"))
	timeout := time.NewTimer(time.Duration(seconds) * time.Second)
	defer timeout.Stop()
	bookmarks := time.NewTicker(time.Minute)
	defer bookmarks.Stop()
	for {
		a.mu.Lock()
		changes, changed, version := a.history[position:], a.changed, a.version
		a.mu.Unlock()
		for _, c := range changes {
			if isFor(r, c.pod) {
				out.Send(c.event, c.pod)
			}
		}
		position += len(changes)
		select {
		case <-changed:
		case <-bookmarks.C:
			out.Send("BOOKMARK", Bookmark(version, false))
		case <-timeout.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// Events is an open stream of watch events.
type Events struct{ w http.ResponseWriter }

// NewEvents begins a stream of events.
func NewEvents(w http.ResponseWriter) *Events {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	return &Events{w}
}

// Send sends one event.
func (e *Events) Send(event string, obj any) {
	_ = json.NewEncoder(e.w).Encode(Object{"type": event, "object": obj})
	e.w.(http.Flusher).Flush()
}

// Bookmark is the object of a bookmark; the one that ends the initial pods says so.
func Bookmark(version int, end bool) Object {
	metadata := Object{"resourceVersion": strconv.Itoa(version), "creationTimestamp": nil}
	if end {
		metadata["annotations"] = Object{metav1.InitialEventsAnnotationKey: "true"}
	}
	return Object{"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": Object{"containers": nil}}
}

// The answers of a server in trouble.

// StatusOf is what an API server says where it refuses a request.
func StatusOf(code int, reason metav1.StatusReason, causes ...metav1.CauseType) *metav1.Status {
	s := &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason,
		Message: fmt.Sprintf("the test answers %d", code),
	}
	for _, cause := range causes {
		if s.Details == nil {
			s.Details = &metav1.StatusDetails{}
		}
		s.Details.Causes = append(s.Details.Causes, metav1.StatusCause{Type: cause})
	}
	return s
}

// Status refuses a request.
func Status(code int, reason metav1.StatusReason, causes ...metav1.CauseType) http.HandlerFunc {
	return JSON(code, StatusOf(code, reason, causes...))
}

// JSON answers with an object.
func JSON(code int, object any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, code, object) }
}

// RetryAfter refuses a request and says when to ask again.
func RetryAfter(code int, reason metav1.StatusReason, seconds int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		Status(code, reason)(w, r)
	}
}

// ErrorEvent begins a watch and ends it with an error.
func ErrorEvent(code int, reason metav1.StatusReason) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { NewEvents(w).Send("ERROR", StatusOf(code, reason)) }
}

// Text answers with what is no JSON of Kubernetes.
func Text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
	}
}

// NeverAnswer never answers.
func NeverAnswer(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// CloseConnection closes the connection without an answer.
func CloseConnection(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func keyOf(pod Object) Key {
	metadata := pod["metadata"].(Object)
	return Key{metadata["namespace"].(string), metadata["name"].(string)}
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

func withVersion(pod Object, version int) Object {
	return withMetadata(pod, func(metadata Object) { metadata["resourceVersion"] = strconv.Itoa(version) })
}

func withoutManagedFields(pod Object) Object {
	return withMetadata(pod, func(metadata Object) { delete(metadata, "managedFields") })
}

// withMetadata is a copy of the pod whose metadata is changed.
func withMetadata(pod Object, change func(Object)) Object {
	text, err := json.Marshal(pod)
	if err != nil {
		panic(err)
	}
	var copied Object
	if err := json.Unmarshal(text, &copied); err != nil {
		panic(err)
	}
	change(copied["metadata"].(Object))
	return copied
}
