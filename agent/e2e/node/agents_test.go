//go:build linux

package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

const (
	product  = "kube-devops" // the release, its namespace, its Deployment
	selector = "app.kubernetes.io/name=" + product
)

var scraper = &http.Client{Timeout: 2 * time.Second}

// pods returns the agents that are not terminating.
func pods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := env.Admin.CoreV1().Pods(product).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// get requests a path from a pod.
func get(pod corev1.Pod, path string) (int, string, error) { return getAs(pod, path, "") }

// getAs requests a path with a bearer token, and with the scheme of the scrape annotations of the pod.
func getAs(pod corev1.Pod, path, token string) (int, string, error) {
	if pod.Status.PodIP == "" {
		return 0, "", errors.New(pod.Name + " has no address")
	}
	scheme := cmp.Or(pod.Annotations["prometheus.io/scheme"], "http")
	req, err := http.NewRequest(http.MethodGet, scheme+"://"+pod.Status.PodIP+":8080"+path, nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := scraper.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

func scrape(pod corev1.Pod) (blackbox.Metrics, error) {
	status, body, err := get(pod, "/metrics")
	if err != nil {
		return nil, err
	}
	return parse(pod, status, body)
}

func parse(pod corev1.Pod, status int, body string) (blackbox.Metrics, error) {
	if status != http.StatusOK {
		return nil, fmt.Errorf("scrape %s: status %d", pod.Name, status)
	}
	return blackbox.ParseMetrics(body)
}

func isReady(pod corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// leader returns the leader, and the other pods.
func leader(ctx context.Context) (lead corev1.Pod, standby []corev1.Pod, err error) {
	all, err := pods(ctx)
	if err != nil {
		return lead, nil, err
	}
	var leaders []string
	for _, pod := range all {
		metrics, err := scrape(pod)
		if err != nil {
			return lead, nil, err
		}
		if value, _ := metrics.Value("kube_devops_leader"); value == 1 {
			leaders, lead = append(leaders, pod.Name), pod
		} else {
			standby = append(standby, pod)
		}
	}
	if len(leaders) != 1 {
		return lead, nil, fmt.Errorf("the leaders are %v, want one", leaders)
	}
	return lead, standby, nil
}

// A watcher scrapes all agents, every 50 ms, until it is stopped.
type watcher struct {
	cancel  context.CancelFunc
	parties sync.WaitGroup

	mu    sync.Mutex
	looks map[string][]oracle.Scrape // by pod
	ready []int                      // how many were Ready, each 50 ms
}

func watch(ctx context.Context) *watcher {
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{cancel: cancel, looks: make(map[string][]oracle.Scrape)}
	w.parties.Go(func() {
		w.every(ctx, oracle.ScrapePeriod, func() {
			all, err := pods(ctx)
			if err != nil {
				return // the test is over
			}
			ready := 0
			for _, pod := range all {
				if isReady(pod) && pod.DeletionTimestamp == nil {
					ready++
				}
				w.follow(ctx, pod)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ready = append(w.ready, ready)
		})
	})
	return w
}

// every calls do at once, and then with that pause in between, until ctx is done.
func (w *watcher) every(ctx context.Context, pause time.Duration, do func()) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for ctx.Err() == nil {
		do()
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// follow starts to scrape a new pod.
func (w *watcher) follow(ctx context.Context, pod corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.looks[pod.Name]; known || pod.Status.PodIP == "" {
		return
	}
	w.looks[pod.Name] = nil
	w.parties.Go(func() {
		w.every(ctx, oracle.ScrapePeriod, func() {
			l := oracle.Scrape{Asked: time.Now()}
			status, body, err := get(pod, "/metrics")
			l.Answered = time.Now() // before it is read
			if err == nil {
				metrics, err := parse(pod, status, body)
				l.Publishes = err == nil && len(metrics.Published()) > 0
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.looks[pod.Name] = append(w.looks[pod.Name], l)
		})
	})
}

// published returns nil if a selected pod published in two consecutive scrapes, and the first one started after since.
func (w *watcher) published(since time.Time, meant func(pod string) bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for pod, looks := range w.looks {
		if meant(pod) && hasTerm(slices.DeleteFunc(slices.Clone(looks), func(l oracle.Scrape) bool { return !l.Asked.After(since) })) {
			return nil
		}
	}
	return errors.New("no pod has published")
}

// stop ends the scraping, and returns the scrapes.
func (w *watcher) stop() (looks map[string][]oracle.Scrape, ready []int) {
	w.cancel()
	w.parties.Wait()
	return w.looks, w.ready
}

// hasTerm says whether two scrapes in a row found a publication: the agent surely published in between.
func hasTerm(looks []oracle.Scrape) bool {
	for i := 1; i < len(looks); i++ {
		if looks[i-1].Publishes && looks[i].Publishes {
			return true
		}
	}
	return false
}

// twoPublishers fails the test where two pods published at the same time. A watch that did not see two of them publish,
// one after the other, shows nothing.
func twoPublishers(t *testing.T, looks map[string][]oracle.Scrape) {
	t.Helper()
	names := slices.Sorted(maps.Keys(looks))
	total := 0
	var publishers []string
	for i, one := range names {
		total += len(looks[one])
		if hasTerm(looks[one]) {
			publishers = append(publishers, one)
		}
		for _, other := range names[i+1:] {
			if both := oracle.DoublePublish(looks[one], looks[other]); both != 0 {
				t.Errorf("%s and %s published at the same time, for %s", one, other, both)
			}
		}
	}
	t.Logf("%d scrapes of %d replicas; %d of them published", total, len(names), len(publishers))
	if len(publishers) < 2 {
		t.Errorf("of %v only %v were seen to publish: that shows nothing", names, publishers)
	}
}

// gap is the time between the last publication of one and the first of another after it.
func gap(t *testing.T, looks map[string][]oracle.Scrape, from string) time.Duration {
	t.Helper()
	var last time.Time
	for _, l := range looks[from] {
		if l.Publishes {
			last = l.Asked
		}
	}
	first := firstAfter(looks, last, func(pod string) bool { return pod != from })
	if last.IsZero() || first.IsZero() {
		t.Fatalf("no hand-over from %s was seen", from)
	}
	return first.Sub(last)
}

// firstAfter is when a pod that is meant first answered, to a question asked after that moment, with a publication; zero
// where none did.
func firstAfter(looks map[string][]oracle.Scrape, moment time.Time, meant func(pod string) bool) time.Time {
	var first time.Time
	for pod, all := range looks {
		for _, l := range all {
			if meant(pod) && l.Publishes && l.Asked.After(moment) && (first.IsZero() || l.Answered.Before(first)) {
				first = l.Answered
			}
		}
	}
	return first
}

// processOf finds the process of an agent by the name of its pod, which is its host's.
func processOf(pod string) (int, error) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, folder := range folders {
		command, err1 := os.ReadFile(filepath.Join(folder, "cmdline"))
		environment, err2 := os.ReadFile(filepath.Join(folder, "environ"))
		if err1 != nil || err2 != nil || !bytes.HasPrefix(command, []byte("/kube-devops\x00agent")) {
			continue
		}
		for variable := range bytes.SplitSeq(environment, []byte{0}) {
			if string(variable) == "HOSTNAME="+pod {
				return strconv.Atoi(filepath.Base(folder))
			}
		}
	}
	return 0, errors.New("no process of pod " + pod)
}

// memory is the limit of a process's control group, and the most that it ever used, in bytes.
func memory(pid int) (limit, peak int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		folder, limitFile, peakFile := "/sys/fs/cgroup"+parts[2], "memory.max", "memory.peak"
		if parts[0] != "0" {
			folder, limitFile, peakFile = "/sys/fs/cgroup/memory"+parts[2], "memory.limit_in_bytes", "memory.max_usage_in_bytes"
			if parts[1] != "memory" {
				continue
			}
		}
		limit, err1 := number(filepath.Join(folder, limitFile))
		peak, err2 := number(filepath.Join(folder, peakFile))
		return limit, peak, errors.Join(err1, err2)
	}
	return 0, 0, errors.New("no control group for memory in " + string(text))
}

func number(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}
