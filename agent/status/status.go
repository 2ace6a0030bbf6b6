package status

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kube-devops/kube-devops/agent/history"
	"github.com/kube-devops/kube-devops/agent/page"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// Options are the sources of the data of the views.
type Options struct {
	// State returns the state to show; nil if there is none yet.
	State func() *state.ClusterState
	// History returns the history of the current term; nil if this replica is not the leader.
	History func() *history.History
	// Pod returns the current JSON of a pod; nil if the pod does not exist.
	Pod func(pod state.Pod) []byte
	// Excluded returns the number of pods in each namespace that a table excludes. The field is nil if these pods are not watched.
	Excluded func(table *rules.Table) map[string]int
	// Source returns the source of the policy.
	Source func() Source
	// Scope has the namespaces that the agent watches; empty for all. Forbidden returns those that it may not read.
	Scope     []string
	Forbidden func() []string
	// LimitedAccess means that a client may be permitted to read only some of the pages.
	LimitedAccess bool
	// Cluster is the name of the cluster, and Version the version of the agent. Both may be empty.
	Cluster, Version string
	// HistoryURL is the address of older history; empty if unknown. "{namespace}" in it is replaced by the namespace of the page.
	HistoryURL string
	// Now is the clock.
	Now func() time.Time
}

// A Source describes the source of a policy.
type Source struct {
	// Text names the files and built-in tables.
	Text string
	// Loaded is when the policy was last read successfully.
	Loaded time.Time
	// Problem is the error of the last attempt to read it; empty if that was successful.
	Problem string
}

// Views responds to requests for the views.
type Views struct {
	Options
	overviews overviews
	excluded  counted
	enforced  enforced
}

// New returns the views of an agent.
func New(o Options) *Views { return &Views{Options: o} }

// An Answer is the response to one request.
type Answer struct {
	Status int
	// Type is the Content-Type, and Security the Content-Security-Policy.
	Type, Security string
	// Version identifies the content apart from its time; empty for an error.
	Version string
	// Write writes the content.
	Write func(to io.Writer) error
}

// Answer returns the response to a request. Its path must be one that agent/server serves.
func (v *Views) Answer(r *http.Request) Answer {
	st := v.State()
	if st == nil {
		return Standby(r, &page.Standby{Reason: "The pods are not evaluated yet."})
	}
	q := request{Views: v, now: v.Now(), history: v.History(), state: st}
	query, err := parse(r.URL.RawQuery, st.Table())
	if err != nil {
		return q.rejected(r, err)
	}
	status, view := http.StatusOK, page.View(nil)
	switch name := r.PathValue("name"); {
	case name != "":
		view = q.namespace(name, query)
		if _, ok := view.(*page.NotFound); ok {
			status = http.StatusNotFound
		}
	case r.URL.Path == "/waivers":
		view = q.waivers(query)
	case r.URL.Path == "/policy":
		view = q.policy()
	case r.URL.Path == "/changes":
		view = q.changes(query)
	default:
		view = q.overview(query)
	}
	return answerOf(r, status, view)
}

// rejected returns the response to invalid parameters: for a browser a page with a link to the view without parameters, otherwise one line.
func (q *request) rejected(r *http.Request, err error) Answer {
	if !wantsHTML(r.Header.Values("Accept")) {
		return failure(http.StatusBadRequest, err)
	}
	path := strings.TrimPrefix(r.URL.Path, "/")
	if r.PathValue("name") != "" {
		path = "namespaces/"
	}
	a := answerOf(r, http.StatusBadRequest, &page.Rejected{Head: q.head(q.state.Table(), ""), Path: path, Reason: err.Error()})
	a.Version = ""
	return a
}

// Standby returns the response of a replica that has no data to show.
func Standby(r *http.Request, view *page.Standby) Answer {
	a := answerOf(r, http.StatusServiceUnavailable, view)
	a.Version = ""
	return a
}

// A request is one request for a view.
type request struct {
	*Views
	now     time.Time
	history *history.History // may be nil
	state   *state.ClusterState
}

// head returns the head of a view. namespace is empty for a view that is not about one namespace.
func (q *request) head(table *rules.Table, namespace string) page.Head {
	h := page.Head{
		Time: q.now.UTC().Truncate(time.Second), Cluster: q.Cluster, Scope: q.Scope, Version: q.Version,
		Policy:     page.PolicyRef{Name: table.Name(), Hash: table.Hash()},
		HistoryURL: historyURL(q.HistoryURL, namespace),
		Warnings:   warnings(table.Warnings()),
	}
	for _, g := range table.Grades() {
		h.Grades = append(h.Grades, g.Name)
	}
	if problem := q.Source().Problem; problem != "" {
		h.Warnings = append([]string{"A newer policy is not in force, because it cannot be loaded: " + problem}, h.Warnings...)
	}
	return h
}

// historyURL replaces the placeholder in an address with a namespace. Without a namespace, it removes the query parameters with the placeholder.
func historyURL(text, namespace string) string {
	const placeholder = "{namespace}"
	if !strings.Contains(text, placeholder) {
		return text
	}
	rest, fragment, hasFragment := strings.Cut(text, "#")
	path, query, _ := strings.Cut(rest, "?")
	escaped := url.PathEscape(namespace)
	var parameters []string
	for parameter := range strings.SplitSeq(query, "&") {
		if parameter != "" && (namespace != "" || !strings.Contains(parameter, placeholder)) {
			parameters = append(parameters, strings.ReplaceAll(parameter, placeholder, url.QueryEscape(namespace)))
		}
	}
	address := strings.ReplaceAll(path, placeholder, escaped)
	if len(parameters) > 0 {
		address += "?" + strings.Join(parameters, "&")
	}
	if hasFragment {
		address += "#" + strings.ReplaceAll(fragment, placeholder, escaped)
	}
	return address
}

// maxWarnings is the maximum number of policy warnings in a view.
const maxWarnings = 20

func warnings(all rules.LoadErrors) []string {
	var texts []string
	for _, w := range all[:min(len(all), maxWarnings)] {
		texts = append(texts, w.Error())
	}
	if more := len(all) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("%d more; kube-devops policy lint lists all.", more))
	}
	return texts
}

// answerOf returns the response with a view: JSON if the request prefers it, otherwise HTML.
func answerOf(r *http.Request, status int, view page.View) Answer {
	text, err := json.Marshal(view)
	if err != nil {
		return failure(http.StatusInternalServerError, err)
	}
	a := Answer{Status: status, Security: page.SecurityPolicy(), Version: version(text)}
	if wantsJSON(r.Header.Values("Accept")) {
		a.Type, a.Version = "application/json", a.Version+"-json"
		a.Write = func(to io.Writer) error {
			_, err := to.Write(append(text, '\n'))
			return err
		}
		return a
	}
	a.Type = "text/html; charset=utf-8"
	a.Write = func(to io.Writer) error { return page.Render(to, view) }
	return a
}

// version returns a hash of a view, given as JSON, without its time, so that a page does not change with the time alone. The hash includes the
// security policy, which changes with the style and the script.
func version(text []byte) string {
	hash := sha256.New()
	_, _ = io.WriteString(hash, page.SecurityPolicy())
	_, _ = hash.Write(withoutTime(text))
	return base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:12])
}

// withoutTime removes the time of a view, which is the first member of its JSON.
func withoutTime(text []byte) []byte {
	rest, found := bytes.CutPrefix(text, []byte(`{"time":"`))
	if _, after, ok := bytes.Cut(rest, []byte(`"`)); found && ok {
		return after
	}
	return text
}

// failure returns a response of one line.
func failure(status int, err error) Answer {
	return Answer{Status: status, Type: "text/plain; charset=utf-8", Write: func(to io.Writer) error {
		_, err := fmt.Fprintln(to, err)
		return err
	}}
}
