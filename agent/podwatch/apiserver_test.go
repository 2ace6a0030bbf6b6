package podwatch

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

// An object is the decoded JSON of a pod.
type object = map[string]any

// What a request is for.
const (
	kindList      = "list"
	kindWatch     = "watch"      // from a version
	kindWatchList = "watch-list" // a watch that begins with all pods
	kindVersion   = "version"    // a list of one pod, to know the present version
)

// A request is one that the API server has received.
type request struct {
	Kind      string
	Namespace string // of a request for the pods of one
	Version   string
	At        time.Time
}

// An apiServer is an API server that has pods and nothing else. It speaks real HTTP and keeps a history as a real one
// does, and it fails as a test tells it to.
type apiServer struct {
	mu        sync.Mutex
	version   int
	pods      map[Key]object
	bare      map[Key]object // the same without managedFields
	history   []change
	compacted int           // watches from a version before this one are refused
	changed   chan struct{} // closed and made anew by each change
	requests  []request
	script    func(request) http.HandlerFunc
}

type change struct {
	version int
	event   string
	pod     object
}

func newAPIServer(pods ...object) *apiServer {
	a := &apiServer{version: 100, pods: map[Key]object{}, bare: map[Key]object{}, changed: make(chan struct{})}
	for _, pod := range pods {
		a.put(pod)
	}
	return a
}

// answer lets the script answer requests; where it returns nil the answer is the right one.
func (a *apiServer) answer(script func(request) http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.script = script
}

// heal ends all faults.
func (a *apiServer) heal() { a.answer(nil) }

// put creates or replaces a pod and returns it with its version.
func (a *apiServer) put(pod object) object {
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

func (a *apiServer) remove(key Key) {
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

func (a *apiServer) record(event string, pod object) {
	a.history = append(a.history, change{a.version, event, pod})
	close(a.changed)
	a.changed = make(chan struct{})
}

// compact forgets all versions but the present one.
func (a *apiServer) compact() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.compacted = a.version
}

// rewind lets versions go on from a smaller one, as after etcd was restored from a backup.
func (a *apiServer) rewind(version int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version = version
}

// content is what the cache of a Watch must hold.
func (a *apiServer) content() map[Key]object {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.bare)
}

// received are the requests so far.
func (a *apiServer) received() []request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	namespace, onPath := namespaceOf(r)
	req := request{Kind: kindList, Namespace: namespace, Version: query.Get("resourceVersion"), At: time.Now()}
	if watch, _ := strconv.ParseBool(query.Get("watch")); watch {
		req.Kind = kindWatch
		if initial, _ := strconv.ParseBool(query.Get("sendInitialEvents")); initial {
			req.Kind = kindWatchList
		}
	} else if query.Get("limit") == "1" {
		req.Kind = kindVersion
	}
	a.mu.Lock()
	a.requests = append(a.requests, req)
	script := a.script
	a.mu.Unlock()
	if !onPath || r.Method != http.MethodGet {
		status(http.StatusNotFound, metav1.StatusReasonNotFound)(w, r)
		return
	}
	if script != nil {
		if handler := script(req); handler != nil {
			handler(w, r)
			return
		}
	}
	if req.Kind == kindList || req.Kind == kindVersion {
		a.list(w, r)
		return
	}
	a.stream(streaming{})(w, r)
}

func (a *apiServer) list(w http.ResponseWriter, r *http.Request) {
	from, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	a.mu.Lock()
	version := a.version
	items := a.sorted(r)
	a.mu.Unlock()
	if from > version {
		status(http.StatusGatewayTimeout, metav1.StatusReasonTimeout, metav1.CauseTypeResourceVersionTooLarge)(w, r)
		return
	}
	writeJSON(w, http.StatusOK, object{
		"kind": "PodList", "apiVersion": "v1",
		"metadata": object{"resourceVersion": strconv.Itoa(version)}, "items": items,
	})
}

// sorted are the pods that a request is for.
func (a *apiServer) sorted(r *http.Request) []object {
	items := make([]object, 0, len(a.pods))
	for _, key := range slices.SortedFunc(maps.Keys(a.pods), compareKeys) {
		if isFor(r, a.pods[key]) {
			items = append(items, a.pods[key])
		}
	}
	return items
}

// namespaceOf is the namespace of a request for pods, empty for those of all namespaces.
func namespaceOf(r *http.Request) (namespace string, ok bool) {
	if r.URL.Path == "/api/v1/pods" {
		return "", true
	}
	rest, begins := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/")
	namespace, ends := strings.CutSuffix(rest, "/pods")
	return namespace, begins && ends
}

func isFor(r *http.Request, pod object) bool {
	namespace, _ := namespaceOf(r)
	return namespace == "" || namespace == keyOf(pod).Namespace
}

// streaming says how a watch is answered.
type streaming struct {
	noEnd  bool // the bookmark that ends the initial pods is lost
	cutOff bool // the stream ends before that bookmark
	hold   <-chan struct{}
	pause  time.Duration // before each initial pod
}

// stream answers a watch.
func (a *apiServer) stream(how streaming) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		from, _ := strconv.Atoi(query.Get("resourceVersion"))
		initial := query.Get("sendInitialEvents") == "true"
		a.mu.Lock()
		position, version, expired := a.after(from), a.version, from < a.compacted
		future := !initial && from > version
		var pods []object
		if initial {
			pods, position = a.sorted(r), len(a.history)
		}
		a.mu.Unlock()
		switch {
		case initial && from > version:
			status(http.StatusGatewayTimeout, metav1.StatusReasonTimeout, metav1.CauseTypeResourceVersionTooLarge)(w, r)
			return
		case !initial && expired:
			status(http.StatusGone, metav1.StatusReasonExpired)(w, r)
			return
		case future: // a watch from a version that is still to come is told of nothing until then, and of no error
			newEvents(w)
			silent(w, r)
			return
		}
		out := newEvents(w)
		for _, pod := range pods {
			select {
			case <-time.After(how.pause):
				out.send("ADDED", pod)
			case <-r.Context().Done():
				return
			}
		}
		if initial && how.hold != nil {
			select {
			case <-how.hold:
			case <-r.Context().Done():
			}
		}
		if initial && how.cutOff {
			return
		}
		if initial && !how.noEnd {
			out.send("BOOKMARK", bookmark(version, true))
		}
		a.follow(r, out, position)
	}
}

// after is where the history goes on from a version.
func (a *apiServer) after(version int) int {
	for i := len(a.history); i > 0; i-- {
		if a.history[i-1].version <= version {
			return i
		}
	}
	return 0
}

// follow sends what happens from a position of the history on, and a bookmark each minute.
func (a *apiServer) follow(r *http.Request, out *events, position int) {
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
				out.send(c.event, c.pod)
			}
		}
		position += len(changes)
		select {
		case <-changed:
		case <-bookmarks.C:
			out.send("BOOKMARK", bookmark(version, false))
		case <-timeout.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// events is an open stream of watch events.
type events struct{ w http.ResponseWriter }

func newEvents(w http.ResponseWriter) *events {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	return &events{w}
}

func (e *events) send(event string, obj any) {
	_ = json.NewEncoder(e.w).Encode(object{"type": event, "object": obj})
	e.w.(http.Flusher).Flush()
}

func bookmark(version int, end bool) object {
	metadata := object{"resourceVersion": strconv.Itoa(version), "creationTimestamp": nil}
	if end {
		metadata["annotations"] = object{metav1.InitialEventsAnnotationKey: "true"}
	}
	return object{"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": object{"containers": nil}}
}

// The answers of a server in trouble.

func statusOf(code int, reason metav1.StatusReason, causes ...metav1.CauseType) *metav1.Status {
	s := &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason,
		Message: fmt.Sprintf("told to answer %d", code),
	}
	for _, cause := range causes {
		if s.Details == nil {
			s.Details = &metav1.StatusDetails{}
		}
		s.Details.Causes = append(s.Details.Causes, metav1.StatusCause{Type: cause})
	}
	return s
}

// status refuses a request.
func status(code int, reason metav1.StatusReason, causes ...metav1.CauseType) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, code, statusOf(code, reason, causes...)) }
}

// retryAfter refuses a request and says when to ask again.
func retryAfter(code int, reason metav1.StatusReason, seconds int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		status(code, reason)(w, r)
	}
}

// errorEvent begins a watch and ends it with an error.
func errorEvent(code int, reason metav1.StatusReason) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { newEvents(w).send("ERROR", statusOf(code, reason)) }
}

// text answers with what is no JSON of Kubernetes.
func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
	}
}

// silent never answers.
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// hangUp closes the connection without an answer.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

// A wire carries HTTP in memory, so that a server and its client can live in a bubble of testing/synctest.
type wire struct {
	accepted chan net.Conn
	closed   chan struct{}

	mu    sync.Mutex
	down  bool
	conns sets.Set[net.Conn]
}

func newWire() *wire {
	return &wire{accepted: make(chan net.Conn), closed: make(chan struct{}), conns: sets.New[net.Conn]()}
}

var errRefused = &net.OpError{Op: "dial", Net: "pipe", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// dial is for http.Transport.
func (l *wire) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errRefused
	}
	client, server := net.Pipe()
	select {
	case l.accepted <- server:
		l.conns.Insert(server)
		return client, nil
	case <-l.closed:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// drop cuts all connections.
func (l *wire) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		_ = conn.Close()
	}
	l.conns.Clear()
}

// stop cuts all connections and refuses further ones, until start.
func (l *wire) stop() {
	l.mu.Lock()
	l.down = true
	l.mu.Unlock()
	l.drop()
}

func (l *wire) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// The three methods of a net.Listener.

func (l *wire) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accepted:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *wire) Close() error {
	close(l.closed)
	return nil
}

func (l *wire) Addr() net.Addr { return &net.UnixAddr{Name: "wire", Net: "pipe"} }
