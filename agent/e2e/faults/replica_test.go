package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/faults/proxy"
	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

// A replica is one process of the agent, scraped from its start to its end.
type replica struct {
	*blackbox.Agent
	proxy *proxy.Proxy // outlives the process

	expected   bool // the row has ended this process, or told it to end
	goroutines float64

	client *http.Client
	stop   context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	scrapes []oracle.Scrape
	last    time.Time // answer of the last scrape that published
	words   []byte    // what came of it
}

// listen scrapes until the process ends or stop is called. A scrape waits for its answer as long as it takes: a frozen
// process that wakes must not publish either.
func (r *replica) listen() {
	ctx, cancel := context.WithCancel(context.Background())
	r.stop, r.ended = cancel, make(chan struct{})
	r.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	go func() {
		defer close(r.ended)
		defer r.client.CloseIdleConnections()
		var open sync.WaitGroup
		defer open.Wait()
		defer cancel()
		const atOnce = 3 // the agent gathers one scrape at a time: more would only wait
		slots := make(chan struct{}, atOnce)
		ticker := time.NewTicker(oracle.ScrapePeriod)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.Done():
				return
			case <-ticker.C:
			}
			select {
			case slots <- struct{}{}:
				open.Go(func() {
					r.scrape(ctx)
					<-slots
				})
			default: // it is frozen, or slow
			}
		}
	}()
}

func (r *replica) scrape(ctx context.Context) {
	s := oracle.Scrape{Asked: time.Now()}
	status, body, at, err := r.ask(ctx, "/metrics")
	s.Answered, s.Heard = at, status != 0
	s.Publishes = status == http.StatusOK && publishes(body)
	s.Cut = status == http.StatusOK && err != nil && ctx.Err() == nil
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scrapes = oracle.InOrder(r.scrapes, s)
	if s.Publishes && s.Answered.After(r.last) {
		r.last, r.words = s.Answered, body
	}
}

// publishes looks for any series that only a leader may export.
func publishes(body []byte) bool {
	for _, series := range []string{"\ncluster_health_score ", "\nnamespace_health_score{", "\nkube_devops_pods{", "\nkube_devops_violations{"} {
		if bytes.Contains(body, []byte(series)) {
			return true
		}
	}
	return false
}

// ask returns the status, 0 for no answer, what came of the body, and when the last of it came.
func (r *replica) ask(ctx context.Context, path string) (int, []byte, time.Time, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Addr+path, nil)
	if err != nil {
		return 0, nil, time.Now(), err
	}
	res, err := r.client.Do(q)
	if err != nil {
		return 0, nil, time.Now(), err
	}
	defer func() { _ = res.Body.Close() }()
	came := &noted{Reader: res.Body, at: time.Now()}
	body, err := io.ReadAll(came)
	return res.StatusCode, body, came.at, err
}

// noted is a reader that knows when its last bytes came. The end of what was cut off comes later, and says nothing.
type noted struct {
	io.Reader
	at time.Time
}

func (n *noted) Read(b []byte) (int, error) {
	read, err := n.Reader.Read(b)
	if read > 0 {
		n.at = time.Now()
	}
	return read, err
}

// heard returns all scrapes until now.
func (r *replica) heard() []oracle.Scrape {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.scrapes[:len(r.scrapes):len(r.scrapes)]
}

// lastPublished returns when it last published, zero if never.
func (r *replica) lastPublished() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// firstPublished returns the first scrape after a moment that published, zero if there is none.
func (r *replica) firstPublished(after time.Time) time.Time {
	heard := r.heard()
	for i := len(heard) - 1; i >= 0; i-- {
		if heard[i].Answered.Before(after) {
			heard = heard[i+1:]
			break
		}
	}
	for _, s := range heard {
		if s.Publishes {
			return s.Answered
		}
	}
	return time.Time{}
}

// term returns since when it has published without a break, zero if it does not.
func (r *replica) term() (since time.Time) {
	for _, s := range slices.Backward(r.heard()) {
		if !s.Publishes {
			break
		}
		since = s.Answered
	}
	return since
}

// leads tells whether its last scrapes published.
func (r *replica) leads() bool {
	return !r.Ended() && time.Since(r.lastPublished()) < 500*time.Millisecond
}

// value reads one series of the process now.
func (r *replica) value(name string, labels ...string) (float64, error) {
	metrics, err := r.Metrics()
	if err != nil {
		return 0, err
	}
	v, ok := metrics.Value(name, labels...)
	if !ok {
		return 0, fmt.Errorf("%s exports no %s", r.Name(), name)
	}
	return v, nil
}

// floods returns the message of a complaint that came more than once a second for ten seconds, "" for none.
func (r *replica) floods() (string, error) {
	const window = 10
	// The Lease of every merge is tried each second, a little early now and then, and the end of a term has a word more.
	const more = 2
	var lines []blackbox.Line
	for text := range strings.Lines(r.Stderr()) {
		var line blackbox.Line
		// The last word of a process that fails is for people; the last line may be half written.
		if json.Unmarshal([]byte(text), &line) == nil && line["level"] != "info" && line["level"] != "debug" {
			lines = append(lines, line)
		}
	}
	at := map[string][]time.Time{}
	for _, line := range lines {
		ts, err := time.Parse(time.RFC3339Nano, fmt.Sprint(line["ts"]))
		if err != nil {
			return "", fmt.Errorf("a log line without a time: %v", line)
		}
		message := fmt.Sprint(line["msg"], " ", line["verb"])
		at[message] = append(at[message], ts)
		all := at[message]
		if n := len(all) - 1 - window - more; n >= 0 && ts.Sub(all[n]) < window*time.Second {
			return message, nil
		}
	}
	return "", nil
}

// percentile is that of the times that scrapes took since a moment which published, without those in which the machine stood
// still, and how many did not publish.
func percentile(scrapes []oracle.Scrape, since time.Time, percent int) (_ time.Duration, without int) {
	var took []time.Duration
	for _, s := range scrapes {
		switch {
		case !s.Asked.After(since):
		case s.Publishes && !s.Cut:
			took = append(took, s.Answered.Sub(s.Asked)-halts.Within(s.Asked, s.Answered))
		default:
			without++
		}
	}
	if len(took) == 0 {
		return 0, without
	}
	slices.Sort(took)
	return took[(len(took)*percent+99)/100-1], without
}
