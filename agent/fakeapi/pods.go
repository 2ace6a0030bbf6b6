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

// Kinds of requests for pods.
const (
	KindList      = "list"
	KindWatch     = "watch"      // from a resourceVersion
	KindWatchList = "watch-list" // a watch that begins with all pods
	KindVersion   = "version"    // a list of one pod, for the current resourceVersion
)

// A Request is a request for pods that the API server has received.
type Request struct {
	Kind      string
	Namespace string // "" for all namespaces
	Version   string
	At        time.Time
}

// Pods are the pods of an API server and their history.
type Pods struct {
	mu        sync.Mutex
	version   int
	pods      map[Key]Object
	history   []change
	compacted int           // watches from an earlier version are refused
	changed   chan struct{} // closed and replaced at each change
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
	a := &Pods{version: 100, pods: map[Key]Object{}, changed: make(chan struct{})}
	for _, pod := range pods {
		a.Put(pod)
	}
	return a
}

// Answer lets a script answer requests. If the script returns nil, the server answers correctly.
func (a *Pods) Answer(script func(Request) http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.script = script
}

// Heal removes the script.
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
	pod = withVersion(decoded(pod), a.version)
	a.pods[key] = pod
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
	a.version++
	a.record("DELETED", withVersion(pod, a.version))
}

func (a *Pods) record(event string, pod Object) {
	a.history = append(a.history, change{a.version, event, pod})
	close(a.changed)
	a.changed = make(chan struct{})
}

// ChangeWithoutEvent changes the pods without an event, as if the event was lost.
func (a *Pods) ChangeWithoutEvent(change func(pods map[Key]Object)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a.pods)
}

// Compact forgets all versions but the current one.
func (a *Pods) Compact() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.compacted = a.version
}

// Rewind sets the version back, as after etcd was restored from a backup.
func (a *Pods) Rewind(version int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version = version
}

// Content returns the pods that the cache of a Watch must hold: all, without their managedFields.
func (a *Pods) Content() map[Key]Object {
	a.mu.Lock()
	defer a.mu.Unlock()
	content := make(map[Key]Object, len(a.pods))
	for key, pod := range a.pods {
		content[key] = withMetadata(pod, func(metadata Object) { delete(metadata, "managedFields") })
	}
	return content
}

// Received returns the requests so far.
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

// sorted returns the pods that a request selects.
func (a *Pods) sorted(r *http.Request) []Object {
	items := make([]Object, 0, len(a.pods))
	for _, key := range slices.SortedFunc(maps.Keys(a.pods), compareKeys) {
		if isFor(r, a.pods[key]) {
			items = append(items, a.pods[key])
		}
	}
	return items
}

// namespaceOf returns the namespace of a request for pods, "" for all namespaces, and whether it is such a request.
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

// Streaming determines how a watch is answered.
type Streaming struct {
	NoEnd  bool // the bookmark that ends the initial events is lost
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
		case future: // such a watch brings neither events nor an error until the version is reached
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

// after returns the position in the history after a version.
func (a *Pods) after(version int) int {
	for i := len(a.history); i > 0; i-- {
		if a.history[i-1].version <= version {
			return i
		}
	}
	return 0
}

// follow sends the changes from a position in the history on, and a bookmark each minute.
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

// NewEvents starts a stream of events.
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

// Bookmark returns the object of a bookmark; end marks the end of the initial events.
func Bookmark(version int, end bool) Object {
	metadata := Object{"resourceVersion": strconv.Itoa(version), "creationTimestamp": nil}
	if end {
		metadata["annotations"] = Object{metav1.InitialEventsAnnotationKey: "true"}
	}
	return Object{"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": Object{"containers": nil}}
}

// StatusOf returns the Status with which an API server rejects a request.
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

// Status rejects a request.
func Status(code int, reason metav1.StatusReason, causes ...metav1.CauseType) http.HandlerFunc {
	return JSON(code, StatusOf(code, reason, causes...))
}

// JSON answers with an object.
func JSON(code int, object any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, code, object) }
}

// RetryAfter rejects a request and asks the client to wait.
func RetryAfter(code int, reason metav1.StatusReason, seconds int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		Status(code, reason)(w, r)
	}
}

// ErrorEvent starts a watch and ends it with an error event.
func ErrorEvent(code int, reason metav1.StatusReason) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { NewEvents(w).Send("ERROR", StatusOf(code, reason)) }
}

// Text answers with a text.
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

// withMetadata returns a copy of a pod with changed metadata.
func withMetadata(pod Object, change func(Object)) Object {
	pod = maps.Clone(pod)
	metadata := maps.Clone(pod["metadata"].(Object))
	change(metadata)
	pod["metadata"] = metadata
	return pod
}

// decoded returns a copy of a pod in the types of decoded JSON.
func decoded(pod Object) (copied Object) {
	text, err := json.Marshal(pod)
	if err != nil {
		panic(err)
	}
	if err := json.Unmarshal(text, &copied); err != nil {
		panic(err)
	}
	return copied
}
