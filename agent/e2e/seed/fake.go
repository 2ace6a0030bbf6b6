package seed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// A Fake is an API server with prepared events, which it sends as fast as the client reads them: faster than a real one, so that the
// limit of the agent can be measured. It supports only a watch of all pods.
type Fake struct {
	Rate  int // events a second; 0: as fast as they are taken
	Total int // events that are sent, and then no more; 0: without end

	initial []byte          // the lines of all pods, and the bookmark behind them
	updates []updateLine    // of the pods, one after the other
	images  [2]string       // that every tenth pod has by turns, of the same length
	begin   <-chan struct{} // updates are sent from then on
	sent    atomic.Int64
	watches atomic.Int64
}

// An updateLine is a line whose resourceVersion can be changed in place.
type updateLine struct {
	text    []byte
	version int // where it stands
}

const versionDigits = 12

// NewFake returns a fake with n pods. Every tenth update changes a field that the policy reads, without changing a score.
func NewFake(n int, begin <-chan struct{}) (*Fake, error) {
	return newFake(n, begin, [2]string{"checkout:1.27.3", "checkout:1.27.4"})
}

// NewRestlessFake returns a fake with n pods. Every tenth pod gains or loses a violation with each update.
func NewRestlessFake(n int, begin <-chan struct{}) (*Fake, error) {
	return newFake(n, begin, [2]string{"checkout:1.27.3", "checkout:latest"})
}

func newFake(n int, begin <-chan struct{}, images [2]string) (*Fake, error) {
	f := &Fake{begin: begin, images: images}
	for i := range n {
		pod := NewPod(i, i%4 != 0)
		pod.ResourceVersion = fmt.Sprintf("%0*d", versionDigits, i+1)
		pod.APIVersion, pod.Kind = "v1", "Pod"
		for _, event := range []string{"ADDED", "MODIFIED"} {
			text, err := json.Marshal(map[string]any{"object": pod})
			if err != nil {
				return nil, err
			}
			// In the order of an API server.
			line := append([]byte(`{"type":"`+event+`",`), append(text[1:], '\n')...)
			if event == "ADDED" {
				f.initial = append(f.initial, line...)
				continue
			}
			f.updates = append(f.updates, updateLine{line, bytes.Index(line, []byte(pod.ResourceVersion))})
		}
	}
	f.initial = fmt.Appendf(f.initial, `{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"%0*d","creationTimestamp":null,"annotations":{"k8s.io/initial-events-end":"true"}},"spec":{"containers":null},"status":{}}}`+"\n", versionDigits, n)
	return f, nil
}

// Start listens, and writes a kubeconfig for the fake.
func (f *Fake) Start(kubeconfig string) (stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a fake API server: %w", err)
	}
	server := &http.Server{Handler: f, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	config := api.NewConfig()
	config.Clusters["fake"] = &api.Cluster{Server: "http://" + listener.Addr().String()}
	config.Contexts["fake"] = &api.Context{Cluster: "fake"}
	config.CurrentContext = "fake"
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		_ = server.Close()
		return nil, fmt.Errorf("start a fake API server: %w", err)
	}
	return func() { _ = server.Close() }, nil
}

// UpdateSize is how many bytes an update is.
func (f *Fake) UpdateSize() int { return len(f.updates[0].text) }

// Sent is how many updates were sent.
func (f *Fake) Sent() int { return int(f.sent.Load()) }

// Watches is how many watches were begun.
func (f *Fake) Watches() int { return int(f.watches.Load()) }

// List is the pods after the last of Total updates, as a list.
func (f *Fake) List() []byte {
	list := []byte(`{"kind":"PodList","apiVersion":"v1","items":[`)
	for i, update := range f.updates {
		if i > 0 {
			list = append(list, ',')
		}
		list = append(list, bytes.TrimSuffix(bytes.TrimPrefix(update.text, []byte(`{"type":"MODIFIED","object":`)), []byte("}\n"))...)
	}
	return append(list, "]}"...)
}

func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("sendInitialEvents") != "true" {
		http.Error(w, "{}", http.StatusNotFound)
		return
	}
	f.watches.Add(1)
	_, _ = w.Write(f.initial)
	flush := http.NewResponseController(w).Flush
	_ = flush()
	select {
	case <-f.begin:
	case <-r.Context().Done():
		return
	}
	begun, n := time.Now(), 0
	for r.Context().Err() == nil && (f.Total == 0 || n < f.Total) {
		i := n % len(f.updates)
		if _, err := w.Write(f.next(i, len(f.updates)+n+1)); err != nil {
			return
		}
		n++
		f.sent.Add(1)
		if f.Rate == 0 {
			continue
		}
		if ahead := time.Until(begun.Add(time.Duration(n) * time.Second / time.Duration(f.Rate))); ahead > 5*time.Millisecond {
			_ = flush()
			timer := time.NewTimer(ahead)
			select {
			case <-timer.C:
			case <-r.Context().Done():
				timer.Stop()
			}
		}
	}
	_ = flush()
	<-r.Context().Done()
}

// next is the update of a pod, with a new version; every tenth pod has the other image than before.
func (f *Fake) next(i, version int) []byte {
	update := f.updates[i]
	copy(update.text[update.version:], fmt.Sprintf("%0*d", versionDigits, version))
	if i%10 == 5 {
		for at, image := range f.images {
			if found := bytes.Index(update.text, []byte(image+`"`)); found >= 0 {
				copy(update.text[found:], f.images[1-at])
				break
			}
		}
	}
	return update.text
}
