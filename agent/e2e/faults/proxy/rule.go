package proxy

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Request is a request of the agent.
type Request struct {
	Verb     string // get, list, watch, create, update
	Resource string // pods, leases
	Initial  bool   // a watch with sendInitialEvents
	Peek     bool   // a list with limit 1, which reads the resource version
	At       time.Time
}

func describe(r *http.Request) Request {
	// /api/v1/[namespaces/NS/]RESOURCE[/NAME] or /apis/GROUP/VERSION/[namespaces/NS/]RESOURCE[/NAME]
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	skip := 2
	if parts[0] == "apis" {
		skip = 3
	}
	parts = parts[min(skip, len(parts)):]
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	request := Request{At: time.Now()}
	if len(parts) > 0 {
		request.Resource = parts[0]
	}
	query := r.URL.Query()
	request.Initial, request.Peek = query.Get("sendInitialEvents") == "true", query.Get("limit") == "1"
	switch {
	case r.Method == http.MethodPost:
		request.Verb = "create"
	case r.Method == http.MethodPut:
		request.Verb = "update"
	case r.Method == http.MethodPatch:
		request.Verb = "patch"
	case query.Get("watch") == "true" || query.Get("watch") == "1":
		request.Verb = "watch"
	case len(parts) > 1:
		request.Verb = "get"
	default:
		request.Verb = "list"
	}
	return request
}

// A Rule applies to the requests that it matches. Its actions apply in the order of the fields.
type Rule struct {
	Verb     string // "" for all; "write" for create and update
	Resource string // "" for all

	Chance float64                  // probability that it applies; 0 means always
	Times  int                      // maximum number of times; 0 means unlimited
	If     func(*http.Request) bool // further condition; nil for none

	Silent bool                // no response
	Status int                 // response status; the request is not forwarded
	To     string              // redirect target: scheme and host
	Serve  http.HandlerFunc    // responds instead of the server
	Ask    func([]byte) []byte // changes the request body
	Answer func([]byte) []byte // changes the response body, or each event of a watch
	Hold   time.Duration       // delays the response; the server has processed the request
	Drop   bool                // drops the response; the server has processed the request
	Watch  func(*Event) Fate   // decides about each event of a watch
}

// A Fate is a decision about an event.
type Fate int

// BreakOff drops the event and ends the watch regularly.
const (
	Pass Fate = iota
	Swallow
	BreakOff
)

// An Event is one line of a watch.
type Event struct {
	N    int    // number within the watch, from 1
	Type string // ADDED, MODIFIED, DELETED, BOOKMARK, ERROR
	Name string // of the object
	End  bool   // the bookmark at the end of the initial events
	Line []byte // the whole line; may be changed
}

func (r *Rule) matches(request Request, raw *http.Request) bool {
	if r.Resource != "" && r.Resource != request.Resource {
		return false
	}
	write := r.Verb == "write" && (request.Verb == "create" || request.Verb == "update")
	if r.Verb != "" && r.Verb != request.Verb && !write {
		return false
	}
	return (r.If == nil || r.If(raw)) && (r.Chance == 0 || rand.Float64() < r.Chance)
}

// rules are the active rules, newest first.
type rules struct {
	mu   sync.Mutex
	list []*Rule
	done map[*Rule]int
	seen []Request
}

// add adds a rule. The returned function removes it.
func (rs *rules) add(rule Rule) (remove func()) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := &rule
	rs.list = append([]*Rule{r}, rs.list...)
	return func() {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		for i, other := range rs.list {
			if other == r {
				rs.list = append(rs.list[:i:i], rs.list[i+1:]...)
				return
			}
		}
	}
}

// choose records a request, and returns its rule or nil.
func (rs *rules) choose(request Request, raw *http.Request) *Rule {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.seen = append(rs.seen, request)
	for _, rule := range rs.list {
		if rule.Times > 0 && rs.done[rule] >= rule.Times {
			continue
		}
		if rule.matches(request, raw) {
			rs.done[rule]++
			return rule
		}
	}
	return nil
}

func (rs *rules) requests() []Request {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return append([]Request(nil), rs.seen...)
}
