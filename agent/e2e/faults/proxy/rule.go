package proxy

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Request is one request of the agent, in the words of Kubernetes.
type Request struct {
	Verb     string // get, list, watch, create, update
	Resource string // pods, leases
	Initial  bool   // a watch that asks for the pods that there are, and for the mark at their end
	Peek     bool   // a list of one, which only looks at the version
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

// A Rule is done to the requests that it matches. Its parts are done in the order in which they stand here.
type Rule struct {
	Verb     string // "" for all; "write" for create and update
	Resource string // "" for all

	Chance float64                  // how often it is done, 0 to 1; 0 means always
	Times  int                      // how often it is done at the most; 0 means without end
	If     func(*http.Request) bool // a further condition; nil for none

	Silent bool                // no answer is ever given
	Status int                 // answered in the server's place; the server never hears of the request
	To     string              // the request is redirected there: scheme and host
	Serve  http.HandlerFunc    // answers in the server's place
	Ask    func([]byte) []byte // changes the body of the request
	Answer func([]byte) []byte // changes the body of the answer; of a watch each event
	Hold   time.Duration       // the answer is kept back for so long, after the server has done what was asked
	Drop   bool                // the answer is thrown away, after the server has done what was asked
	Watch  func(*Event) Fate   // what becomes of each event of a watch
}

// A Fate is what becomes of an event.
type Fate int

// The fates. An event that breaks off is not passed on, and the watch ends in good order.
const (
	Pass Fate = iota
	Swallow
	BreakOff
)

// An Event is one line of a watch.
type Event struct {
	N    int    // from 1 on, within the watch
	Type string // ADDED, MODIFIED, DELETED, BOOKMARK, ERROR
	Name string // of the object
	End  bool   // it is the mark at the end of the pods that there were
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

// rules are those in force, the newest first.
type rules struct {
	mu   sync.Mutex
	list []*Rule
	done map[*Rule]int
	seen []Request
}

// add puts a rule in force, and returns what takes it out again.
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

// choose notes a request, and returns the rule for it; nil for none.
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
