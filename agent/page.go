package agent

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kube-devops/kube-devops/agent/election"
	"github.com/kube-devops/kube-devops/agent/page"
	"github.com/kube-devops/kube-devops/agent/server"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/agent/status"
	"github.com/kube-devops/kube-devops/rules"
)

// pages serves the status page of the agent.
func (a *Agent) pages() *server.Pages {
	o := status.Options{
		State: a.evaluator.Current, History: a.history.Load, Pod: a.podJSON, Excluded: a.excludedPods, Source: a.policyStatus,
		Scope: a.options.Namespaces, Version: a.options.Version, HistoryURL: a.options.HistoryURL, Now: time.Now,
		LimitedAccess: a.options.MetricsAuth,
	}
	if a.watch != nil {
		o.Forbidden = a.watch.Forbidden
	} else if a.options.Replay != "" {
		o.Cluster = filepath.Base(a.options.Replay)
	}
	views := status.New(o)
	return &server.Pages{
		Leader: func(r *http.Request) server.Page { return pageOf(views.Answer(r)) },
		Standby: func(r *http.Request, reason error) server.Page {
			return pageOf(status.Standby(r, a.standby(r, reason)))
		},
	}
}

func pageOf(a status.Answer) server.Page {
	header := http.Header{"Content-Type": {a.Type}}
	if a.Security != "" {
		header.Set("Content-Security-Policy", a.Security)
	}
	return server.Page{Status: a.Status, Header: header, Version: a.Version, Write: a.Write}
}

// standby returns the page of a standby, with the leader and how to reach it.
func (a *Agent) standby(r *http.Request, reason error) *page.Standby {
	view := &page.Standby{Replica: a.options.Election.Identity, Reason: reason.Error()}
	var other *election.NotLeaderError
	if !errors.As(reason, &other) {
		return view
	}
	view.Leader, view.Reason = other.Leader, other.Reason
	if other.Wait > 0 {
		from := time.Now().Add(other.Wait).UTC().Round(time.Second)
		view.From = &from
		return view // there is no other replica to go to
	}
	if a.options.ExternalURL != "" {
		view.URL = strings.TrimSuffix(a.options.ExternalURL, "/") + r.URL.EscapedPath()
		if parameters := r.URL.Query().Encode(); parameters != "" { // encoded again: the client may have written anything
			view.URL += "?" + parameters
		}
	}
	view.Command = portForward(ownNamespace(namespaceFile), other.Leader, a.Addr())
	return view
}

// portForward returns the command that reaches the leader from outside the cluster; empty if it is unknown. Others may write the holder of a
// Lease, so only a valid pod name becomes part of a command that a user may copy.
func portForward(namespace, leader, address string) string {
	pod, _, _ := strings.Cut(leader, "_")
	port := address[strings.LastIndexByte(address, ':')+1:]
	if namespace == "" || len(validation.IsDNS1123Subdomain(pod)) > 0 || len(validation.IsDNS1123Label(namespace)) > 0 {
		return ""
	}
	return "kubectl port-forward -n " + namespace + " pod/" + pod + " " + port
}

// ownNamespace returns the namespace of the agent's pod; empty outside a cluster.
func ownNamespace(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// podJSON returns the current JSON of a pod; nil if the pod does not exist.
func (a *Agent) podJSON(pod state.Pod) []byte {
	_, json, _ := a.lookup(pod)
	return json
}

func (a *Agent) policyStatus() status.Source {
	s := a.policy.Status()
	return status.Source{Text: a.policy.String(), Loaded: s.Loaded, Problem: s.Problem}
}

// excludedPods counts the pods of the namespaces that a table excludes.
func (a *Agent) excludedPods(table *rules.Table) map[string]int {
	pods := make(map[string]int)
	if a.watch != nil {
		for pod := range a.watch.All() {
			pods[pod.Namespace]++
		}
	} else if r := a.recorded.Load(); r != nil {
		pods = r.excluded
	}
	excluded := make(map[string]int)
	for namespace, n := range pods {
		if !table.Includes(namespace) {
			excluded[namespace] = n
		}
	}
	return excluded
}

// externalURL is the name of the flag for the base address of the pages.
const externalURL = "external-url"

// validateURL returns an error if a flag is set to an invalid page address.
func validateURL(flag, text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil) {
		err = errors.New("it must begin with http:// or https:// and a host, without a user")
	}
	if err == nil && flag == externalURL && strings.ContainsAny(text, "?#") {
		err = errors.New("it must not have a query or a fragment, because the paths of the pages are added to it")
	}
	if err != nil {
		return errors.New("--" + flag + " is not the address of a page, such as https://governance.example.com: " + strings.TrimPrefix(err.Error(), "parse "))
	}
	return nil
}
