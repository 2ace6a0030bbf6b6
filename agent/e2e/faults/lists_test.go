package faults_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/faults/proxy"
	"github.com/kube-devops/kube-devops/agent/e2e/process"
)

const falseListDemand = "it is not ready and does not write the Lease; the other replica publishes ≤ 2 leases; ≤ 2 requests/s; " +
	"resident memory ≤ 256 MiB; logged and counted; in sync ≤ 65 s after recovery"

// falseLists are the rows in which an API server, or a proxy in front of it, returns false lists and events of pods.
var falseLists = []row{
	{number: 44, variant: "a", name: "every page of the pod list has the same continue token, from the start of a replica", demand: falseListDemand, quick: 1, trials: 2, trial: func(f *fixture) {
		f.startsWithFalseList("continue token", f.repeatedPage(), noInitialStream)
	}},
	{number: 44, variant: "b", exclusive: true, name: "the pod list does not end, from the start of a replica with GOMEMLIMIT=128MiB", demand: falseListDemand, quick: 1, trials: 2, trial: func(f *fixture) {
		f.startsWithFalseList("bytes", f.endlessPage(), noInitialStream)
	}},
	{number: 44, variant: "c", name: "pod lists and watches return Secrets, from the start of a replica", demand: falseListDemand, quick: 1, trials: 2, trial: func(f *fixture) {
		f.startsWithFalseList("Secret", proxy.Rule{Resource: "pods", Answer: func(body []byte) []byte {
			return bytes.ReplaceAll(body, []byte(`"kind":"Pod`), []byte(`"kind":"Secret`))
		}})
	}},
	{number: 44, variant: "d", name: "every page of the leader's pod list has the same continue token, permanently", demand: "it releases the Lease after 2 min; the standby takes over; in sync ≤ 65 s after recovery", trials: 1, trial: func(f *fixture) {
		f.losesSync(f.repeatedPage(), proxy.Rule{Verb: "watch", Resource: "pods", Status: http.StatusUnprocessableEntity})
	}},
	{number: 44, variant: "e", name: "a Secret among the events of the leader's pod watch", demand: "not scored; logged and counted; Lease kept; scores correct ≤ 65 s", quick: 1, trials: 2, noChurn: true, trial: (*fixture).secretEvent},
}

// noInitialStream refuses the streaming list, as an API server without that feature does: the agent then sends list requests.
var noInitialStream = proxy.Rule{
	Verb: "watch", Resource: "pods", Status: http.StatusUnprocessableEntity,
	If: func(r *http.Request) bool { return r.URL.Query().Get("sendInitialEvents") == "true" },
}

const podListHead = `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1","continue":"again"},"items":[`

// podText is a pod in a namespace of this row, which scores would show.
func (f *fixture) podText(name string) []byte {
	f.Helper()
	text, err := json.Marshal(cluster.NewPod(f.namespaces[0], name, cluster.Bad))
	if err != nil {
		f.Fatal(err)
	}
	return text
}

// repeatedPage answers each list with the same page, whose continue token is always the same.
func (f *fixture) repeatedPage() proxy.Rule {
	page := slices.Concat([]byte(podListHead), f.podText("again"), []byte("]}"))
	return proxy.Rule{Verb: "list", Resource: "pods", Serve: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(page)
	}}
}

// endlessPage answers each list with pods until the client closes the connection, or has read far more than it may.
func (f *fixture) endlessPage() proxy.Rule {
	pods := bytes.Repeat(append(f.podText("endless"), ','), 100)
	return proxy.Rule{Verb: "list", Resource: "pods", Serve: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, err := io.WriteString(w, podListHead)
		for sent := 0; err == nil && sent < 2048*mebibyte; sent += len(pods) {
			_, err = w.Write(pods)
		}
	}}
}

// startsWithFalseList starts a replica behind a proxy with rules that falsify lists. At first it has the Lease to itself.
func (f *fixture) startsWithFalseList(logged string, rules ...proxy.Rule) {
	f.Helper()
	for _, r := range f.slots {
		f.kill(r)
	}
	p := f.proxies[0]
	var removes []func()
	for _, rule := range rules {
		removes = append(removes, p.Add(rule))
	}
	heal := func() {
		for _, remove := range removes {
			remove()
		}
	}
	defer heal()
	writes := func() int { return p.Count("create", "leases") + p.Count("update", "leases") }
	reads := func() int { return p.Count("list", "pods") + p.Count("watch", "pods") }
	began, written, read := time.Now(), writes(), reads()
	f.env = []string{"GOMEMLIMIT=128MiB"}
	deceived := f.start(0)
	f.env = nil
	f.pause(f.lease.duration + f.lease.takeover())
	if status, body, err := deceived.Get("/readyz?verbose"); err != nil || status != http.StatusServiceUnavailable || !strings.Contains(body, "initial list of pods") {
		f.Errorf("/readyz of a replica with a false list: %d %s %v", status, body, err)
	}
	if n := writes() - written; n > 0 {
		f.Errorf("a replica with a false list tried to write the Lease %d times", n)
	}
	started := time.Now()
	other := f.start(1)
	f.publishes(started, 2*f.lease.duration+f.lease.takeover(), other)
	f.publishesNothing(deceived, began)
	if !strings.Contains(deceived.Stderr(), logged) {
		f.Errorf("the log of %s does not contain %q", deceived.Name(), logged)
	}
	if f.requestErrors(deceived) == 0 {
		f.Errorf("%s counts no failed request for pods", deceived.Name())
	}
	took := time.Since(began)
	n := reads() - read
	if n > 5+int(2*took.Seconds()) {
		f.Errorf("%d requests for pods in %s", n, took)
	}
	used, err := process.UsageOf(deceived.Pid())
	if err != nil {
		f.Fatal(err)
	}
	if used.Peak > 256*mebibyte {
		f.Errorf("%s used up to %d MiB of memory", deceived.Name(), used.Peak/mebibyte)
	}
	f.notef("%.1f requests/s, resident %d MiB", float64(n)/took.Seconds(), used.Peak/mebibyte)
	heal()
	f.rejoins(deceived, healed)
}

// losesSync adds rules to the proxy of the leader under which no list or watch of pods succeeds. After two minutes it gives the
// Lease back.
func (f *fixture) losesSync(rules ...proxy.Rule) {
	f.Helper()
	const lost = 2 * time.Minute
	leader, standby := f.leader(), f.standby()
	var removes []func()
	for _, rule := range rules {
		removes = append(removes, leader.proxy.Add(rule))
	}
	heal := func() {
		for _, remove := range removes {
			remove()
		}
	}
	defer heal()
	leader.proxy.Cut() // an open watch would go on
	leader.proxy.Heal()
	began := time.Now()
	f.pause(lost - 5*time.Second)
	f.publishesNothing(standby, began)
	f.publishes(began.Add(lost-5*time.Second), 15*time.Second, standby)
	heal()
	f.rejoins(leader, healed)
}

// secretEvent puts one Secret before an event of the leader's watch.
func (f *fixture) secretEvent() {
	leader := f.leader()
	secret := fmt.Appendf(nil, `{"type":"ADDED","object":%s}`+"\n",
		bytes.Replace(f.podText("secret"), []byte(`"metadata"`), []byte(`"kind":"Secret","apiVersion":"v1","metadata"`), 1))
	var armed, sent atomic.Bool
	defer leader.proxy.Add(proxy.Rule{Verb: "watch", Resource: "pods", Watch: func(e *proxy.Event) proxy.Fate {
		if armed.Load() && sent.CompareAndSwap(false, true) {
			e.Line = append(secret, e.Line...)
		}
		return proxy.Pass
	}})()
	f.restartWatch(leader)
	failed, check := f.requestErrors(leader), f.keepsLease(time.Second)
	armed.Store(true)
	at := time.Now()
	f.addPod()
	f.wait("the Secret is sent", settleTimeout, func() error {
		if !sent.Load() {
			return errors.New("it is not")
		}
		return nil
	})
	f.recompute(healed)
	f.recovered(time.Since(at), healed)
	if now := f.requestErrors(leader); now != failed+1 {
		f.Errorf("%v failed requests are counted, want 1", now-failed)
	}
	if !strings.Contains(leader.Stderr(), "Secret") {
		f.Errorf("the log of %s does not name the Secret", leader.Name())
	}
	check()
}

// requestErrors is how many lists and watches of pods have failed.
func (f *fixture) requestErrors(r *replica) (sum float64) {
	f.Helper()
	for _, verb := range []string{"list", "watch"} {
		n, err := r.value("kube_devops_watch_errors_total", "verb", verb)
		if err != nil {
			f.Fatal(err)
		}
		sum += n
	}
	return sum
}
