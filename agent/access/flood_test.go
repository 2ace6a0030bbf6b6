package access

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/client-go/rest"

	"github.com/kube-devops/kube-devops/agent/server"
)

const (
	floodConnections = 1100
	floodLength      = 5 * time.Second
	probeBound       = time.Second
	scrapeBound      = 10 * time.Second // the timeout of Prometheus; every answer comes within it
)

// certificateFiles makes a certificate and its key.
func certificateFiles(t *testing.T) server.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := server.Certificate{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	for path, block := range map[string]*pem.Block{
		files.CertFile: {Type: "CERTIFICATE", Bytes: cert}, files.KeyFile: {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// ask asks for a page on a connection of its own, as a kubelet does.
func ask(ctx context.Context, url, token string) (int, error) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// askAll asks again and again until ctx is done, requires 200 each time, and returns how long each answer took, sorted.
func askAll(ctx context.Context, t *testing.T, name, url, token string, pause time.Duration) (took []time.Duration) {
	for ctx.Err() == nil {
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), scrapeBound)
		began := time.Now()
		status, err := ask(asking, url, token)
		cancel()
		if err != nil || status != http.StatusOK {
			t.Errorf("%s: %d, %v after %s", name, status, err, time.Since(began))
		}
		took = append(took, time.Since(began))
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	slices.Sort(took)
	return took
}

// floodWith opens connections that ask for metrics, each with a token of its own invention, again and again. A half of
// them read the answer, and a half leave before it.
func floodWith(ctx context.Context, addr string, connections int) (sent, refused *atomic.Int64, wait func()) {
	sent, refused = new(atomic.Int64), new(atomic.Int64)
	config := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(10)}
	attack := func(reads bool) error {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
		secure := tls.Client(conn, config)
		if _, err := fmt.Fprintf(secure, "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer invented-%d\r\n\r\n", sent.Add(1)); err != nil || !reads {
			return err
		}
		response, err := http.ReadResponse(bufio.NewReader(secure), nil)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode == http.StatusTooManyRequests {
			refused.Add(1)
		}
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	var running sync.WaitGroup
	for i := range connections {
		running.Go(func() {
			for ctx.Err() == nil {
				if attack(i%2 == 0) != nil {
					<-time.After(10 * time.Millisecond)
				}
			}
		})
	}
	return sent, refused, running.Wait
}

// floodVariable has the address that TestFloodProcess floods.
const floodVariable = "KUBE_DEVOPS_TEST_FLOOD"

// TestFloodProcess is the attacker of TestFloodOfInventedTokens, which starts it as a process of its own: in one process
// the scheduler would make the server wait for the attacker's handshakes.
func TestFloodProcess(t *testing.T) {
	addr := os.Getenv(floodVariable)
	if addr == "" {
		t.Skip("it runs for TestFloodOfInventedTokens alone")
	}
	ctx, cancel := context.WithTimeout(t.Context(), floodLength)
	defer cancel()
	sent, refused, wait := floodWith(ctx, addr, floodConnections)
	wait()
	fmt.Printf("sent %d refused %d\n", sent.Load(), refused.Load())
}

// TestFloodOfInventedTokens floods a server, over TLS and real sockets, with requests whose tokens the API server has to
// review. Probes are answered in time, no scrape of a client that was let in is lost, the API server is asked at most 10
// times a second, and after the flood a new client is let in.
func TestFloodOfInventedTokens(t *testing.T) {
	if testing.Short() {
		t.Skip("a flood takes 7 s; TestReviewsInAFlood has one with a fake clock")
	}
	reviews := &reviewServer{
		users: map[string]string{"good": "ann", "slow": "ann", "new": "ann"}, may: map[string]bool{"ann /metrics": true}, takes: 20 * time.Millisecond,
	}
	api := httptest.NewServer(reviews)
	defer api.Close()
	r, err := New(&rest.Config{Host: api.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}, nil, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	// Answers end within the flood, of one client ahead of its next scrape.
	r.lifetimes.allowed, r.lifetimes.renew = 2*time.Second, time.Second
	s, err := server.New(server.Options{
		Listen: "127.0.0.1:0", HealthListen: "127.0.0.1:0", Log: zap.NewNop(), Certificate: certificateFiles(t), Access: r.Allow,
		Process: prometheus.NewRegistry(), Leader: prometheus.NewRegistry(), Standby: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var serving, clients sync.WaitGroup
	serving.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer serving.Wait()
	defer stop()
	metrics := "https://" + s.Addr() + "/metrics"
	for _, token := range []string{"good", "slow"} {
		if status, err := ask(ctx, metrics, token); status != http.StatusOK {
			t.Fatalf("before the flood: %d, %v", status, err)
		}
	}

	flooding, end := context.WithCancel(ctx)
	attacker := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestFloodProcess$")
	attacker.Env = append(os.Environ(), floodVariable+"="+s.Addr())
	var said []byte
	var attackErr error
	clients.Go(func() {
		defer end()
		said, attackErr = attacker.Output()
	})
	for _, client := range []struct {
		name, url, token string
		bound, pause     time.Duration // of 9 in 10 answers: a busy machine may hold up one
	}{
		{"probe at the address of health checks", "http://" + s.HealthAddr() + "/healthz", "", probeBound, 100 * time.Millisecond},
		{"probe beside the metrics", "https://" + s.Addr() + "/healthz", "", scrapeBound, 100 * time.Millisecond},
		{"good client", metrics, "good", scrapeBound, 300 * time.Millisecond},
		{"good client whose answer ends before its next scrape", metrics, "slow", scrapeBound, 2100 * time.Millisecond},
	} {
		clients.Go(func() {
			took := askAll(flooding, t, client.name, client.url, client.token, client.pause)
			most := took[(len(took)-1)*9/10]
			if most > client.bound {
				t.Errorf("%s: 9 in 10 answers within %s, want %s", client.name, most, client.bound)
			}
			t.Logf("%s: %d answers, 9 in 10 within %s, all within %s", client.name, len(took), most, took[len(took)-1])
		})
	}
	clients.Wait()
	var sent, refused int
	if _, err := fmt.Sscanf(string(said), "sent %d refused %d", &sent, &refused); err != nil || attackErr != nil {
		t.Fatalf("the attacker: %v, %v: %s", err, attackErr, said)
	}
	t.Logf("%d requests with invented tokens, %d of them read 429", sent, refused)
	if sent < floodConnections || refused == 0 {
		t.Errorf("%d requests were sent, and %d read a refusal: that is not a flood", sent, refused)
	}
	if most := reviews.mostInASecond(); most > 10 {
		t.Errorf("%d reviews in one second, want 10 at most", most)
	}
	ended := time.Now()
	for {
		status, err := ask(ctx, metrics, "new")
		if status == http.StatusOK {
			break
		}
		if time.Since(ended) > 5*time.Second {
			t.Fatal(errors.Join(fmt.Errorf("a new client 5 s after the flood: %d", status), err))
		}
	}
	t.Logf("a new client is let in %s after the flood", time.Since(ended))
}
