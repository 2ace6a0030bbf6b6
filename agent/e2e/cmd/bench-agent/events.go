package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// A fakeServer is an API server that has the pods' text ready and sends events as fast as they are taken: faster than a
// real one, so that the agent's own limit shows.
type fakeServer struct {
	initial []byte          // the lines of all pods, and the bookmark behind them
	updates []updateLine    // of the pods, one after the other
	begin   <-chan struct{} // updates are sent from then on
}

// An updateLine is a line whose resourceVersion can be changed in place.
type updateLine struct {
	text    []byte
	version int // where it stands
}

const versionDigits = 12

func newFakeServer(pods int, begin <-chan struct{}) (*fakeServer, error) {
	f := &fakeServer{begin: begin}
	for i := range pods {
		pod := newPod(i, i%4 != 0)
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
		// Every tenth update changes what the policy reads.
		if i%10 == 5 {
			f.updates[i].text = bytes.Replace(f.updates[i].text, []byte(`checkout:1.27.3"`), []byte(`checkout:1.27.4"`), 1)
		}
	}
	f.initial = fmt.Appendf(f.initial, `{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"%0*d","creationTimestamp":null,"annotations":{"k8s.io/initial-events-end":"true"}},"spec":{"containers":null},"status":{}}}`+"\n", versionDigits, pods)
	return f, nil
}

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("sendInitialEvents") != "true" {
		http.Error(w, "{}", http.StatusNotFound)
		return
	}
	_, _ = w.Write(f.initial)
	_ = http.NewResponseController(w).Flush()
	select {
	case <-f.begin:
	case <-r.Context().Done():
		return
	}
	version := len(f.updates)
	for r.Context().Err() == nil {
		for i, update := range f.updates {
			version++
			copy(update.text[update.version:], fmt.Sprintf("%0*d", versionDigits, version))
			if i%10 == 5 { // to and fro
				at := bytes.Index(update.text, []byte(`checkout:1.27.`)) + len(`checkout:1.27.`)
				update.text[at] = '3' + '4' - update.text[at]
			}
			if _, err := w.Write(update.text); err != nil {
				return
			}
		}
	}
}

// events measures how many events a second the agent follows on one core.
func (b *bench) events() error {
	const pods = 2000
	begin := make(chan struct{})
	fake, err := newFakeServer(pods, begin)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: fake, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	config := api.NewConfig()
	config.Clusters["fake"] = &api.Cluster{Server: "http://" + listener.Addr().String()}
	config.Contexts["fake"] = &api.Context{Cluster: "fake"}
	config.CurrentContext = "fake"
	kubeconfig := filepath.Join(b.dir, "fake.kubeconfig")
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		return err
	}
	if b.env != "" {
		b.env += ","
	}
	b.env += "GOMAXPROCS=1"
	agent, _, err := b.startAgent("agent-events", kubeconfig, "--profile-listen", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer agent.Stop(10 * time.Second)
	close(begin)
	count := func() (float64, usage, error) {
		metrics, err := agent.Metrics()
		if err != nil {
			return 0, usage{}, err
		}
		n, _ := metrics.Value("pod_events_total")
		used, err := processOf(agent.Pid())
		return n, used, err
	}
	pause := func(d time.Duration) error {
		ctx, cancel := context.WithTimeout(b.ctx, d)
		defer cancel()
		<-ctx.Done()
		return b.ctx.Err()
	}
	if err := pause(time.Second); err != nil { // it warms up
		return err
	}
	before, usedBefore, err := count()
	if err != nil {
		return err
	}
	started := time.Now()
	length := min(b.duration, 20*time.Second)
	if name := os.Getenv("BENCH_EVENTS_PROFILE"); name != "" {
		text, err := profileOf(agent, "profile?seconds="+strconv.Itoa(int(length.Seconds())))
		if err != nil {
			return err
		}
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return err
		}
	} else if err := pause(length); err != nil {
		return err
	}
	after, usedAfter, err := count()
	if err != nil {
		return err
	}
	n, cpu := after-before, usedAfter.cpu-usedBefore.cpu
	fmt.Printf("\nSustained events on one core, pods of %d bytes: %.0f a second (%.0f of a second of CPU, %.0f µs each); peak RSS %s\n",
		len(fake.updates[0].text), n/time.Since(started).Seconds(), n/cpu.Seconds(), float64(cpu.Microseconds())/n, megabytes(usedAfter.peak))
	return nil
}
