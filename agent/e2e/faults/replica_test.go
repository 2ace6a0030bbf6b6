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

// A replica is an agent process that is scraped from start to end.
type replica struct {
	*blackbox.Agent
	proxy *proxy.Proxy // outlives the process

	expected   bool // the row ended this process or sent it a signal
	goroutines float64

	client *http.Client
	stop   context.CancelFunc
	ended  chan struct{}

	mu       sync.Mutex
	scrapes  []oracle.Scrape
	last     time.Time // time of the last scrape with scores
	lastBody []byte    // its body
}

// listen scrapes until the process ends or stop is called. Scrapes have no timeout, because a process that resumes after being
// frozen must not publish in its late responses either.
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
		const atOnce = 3 // the agent renders one scrape at a time
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
			default: // frozen or slow
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
		r.last, r.lastBody = s.Answered, body
	}
}

// publishes reports whether a response has series that only a leader may export.
func publishes(body []byte) bool {
	for _, series := range []string{"\ncluster_health_score ", "\nnamespace_health_score{", "\nkube_devops_pods{", "\nkube_devops_violations{"} {
		if bytes.Contains(body, []byte(series)) {
			return true
		}
	}
	return false
}

// ask returns the status (0 without a response), the received part of the body, and the time of its last byte.
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
	came := &timedReader{Reader: res.Body, at: time.Now()}
	body, err := io.ReadAll(came)
	return res.StatusCode, body, came.at, err
}

// timedReader records when its last bytes arrived. The error of an interrupted response arrives later.
type timedReader struct {
	io.Reader
	at time.Time
}

func (n *timedReader) Read(b []byte) (int, error) {
	read, err := n.Reader.Read(b)
	if read > 0 {
		n.at = time.Now()
	}
	return read, err
}

// scraped returns all scrapes so far.
func (r *replica) scraped() []oracle.Scrape {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.scrapes[:len(r.scrapes):len(r.scrapes)]
}

// lastPublished returns the time of the last scrape with scores, or zero.
func (r *replica) lastPublished() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// firstPublished returns the time of the first scrape with scores after the given time, or zero.
func (r *replica) firstPublished(after time.Time) time.Time {
	heard := r.scraped()
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

// term returns the time since which it has published without interruption, or zero.
func (r *replica) term() (since time.Time) {
	for _, s := range slices.Backward(r.scraped()) {
		if !s.Publishes {
			break
		}
		since = s.Answered
	}
	return since
}

// leads reports whether its latest scrapes had scores.
func (r *replica) leads() bool {
	return !r.Ended() && time.Since(r.lastPublished()) < 500*time.Millisecond
}

// value returns the current value of a series.
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

// repeatedWarning returns the message of a warning that was logged more than once per second for ten seconds, or "".
func (r *replica) repeatedWarning() (string, error) {
	const window = 10
	// The quick Lease is tried every second, sometimes slightly early, and the end of a term logs one more line.
	const more = 2
	var lines []blackbox.Line
	for text := range strings.Lines(r.Stderr()) {
		var line blackbox.Line
		// The final error of a process is not JSON, and the last line may be incomplete.
		if json.Unmarshal([]byte(text), &line) == nil && line["level"] != "info" && line["level"] != "debug" {
			lines = append(lines, line)
		}
	}
	at := map[string][]time.Time{}
	for _, line := range lines {
		ts, err := time.Parse(time.RFC3339Nano, fmt.Sprint(line["ts"]))
		if err != nil {
			return "", fmt.Errorf("log line without ts: %v", line)
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

// percentile returns a percentile of the response times of scrapes with scores since the given time, without halts of the machine,
// and the number of scrapes without scores.
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
