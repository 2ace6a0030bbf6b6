package faults_test

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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/faults/proxy"
)

// redirected redirects all requests of the leader to another host.
func (f *fixture) redirected() {
	var reached atomic.Int64
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	other.Start() // plain HTTP, so that a client could follow without verifying a certificate
	defer other.Close()
	leader, standby := f.leader(), f.standby()
	remove := leader.proxy.Add(proxy.Rule{To: other.URL})
	defer remove()
	at := time.Now()
	leader.proxy.Cut() // an open watch would continue
	leader.proxy.Heal()
	f.publishes(at, f.lease.takeover(), standby)
	f.publishesNothing(leader, at.Add(f.lease.closes()))
	f.wait("the log of the leader names the other host", settleTimeout, func() error {
		if !strings.Contains(leader.Stderr(), "redirects to "+other.URL) {
			return errors.New("it does not")
		}
		return nil
	})
	remove()
	f.rejoins(leader, healed)
	if n := reached.Load(); n > 0 {
		f.Errorf("%d requests reached the other host", n)
	}
}

// inventedTokens floods an agent with --metrics-auth with requests whose tokens are invented.
func (f *fixture) inventedTokens(connections int, length time.Duration) {
	f.Helper()
	f.mayReview()
	good, later := f.reader("good"), f.reader("later")
	front, err := proxy.Start(f.kubeconfig)
	if err != nil {
		f.Fatal(err)
	}
	defer front.Close()
	kubeconfig := filepath.Join(f.dir, "flood.kubeconfig")
	if err := front.Kubeconfig(f.kubeconfig, kubeconfig); err != nil {
		f.Fatal(err)
	}
	cert, key := f.servingPair()
	health := f.freeAddress()
	agent, err := blackbox.StartAgent(f.Context(), blackbox.Options{Name: "flooded", Binary: f.binary, Dir: f.dir, Args: []string{
		"agent", "--listen=127.0.0.1:0", "--health-listen=" + health, "--leader-elect=false", "--kubeconfig", kubeconfig,
		"--metrics-auth", "--tls-cert-file", cert, "--tls-private-key-file", key,
	}})
	if err != nil {
		f.Fatal(err)
	}
	defer agent.Kill()
	probe := request{name: "probe", url: "http://" + health + "/healthz"}
	scrape := request{name: "scrape", url: "https://" + agent.Addr + "/metrics", token: good}
	report := request{name: "report", url: "https://" + agent.Addr + "/api/v1/report", token: good}
	ordinary := []request{probe, scrape, report}
	for _, r := range ordinary {
		f.wait("the agent answers a "+r.name, 30*time.Second, func() error { return f.get(r, 10*time.Second) })
	}
	before := f.slowest(ordinary, 20)

	began := time.Now()
	sent, probes, scrapes := f.flooded(agent.Addr, connections, length, probe, scrape)
	ended := time.Now()
	f.wait("a new client is let in", afterFlood, func() error {
		return f.get(request{url: scrape.url, token: later}, time.Second)
	})
	f.wait("requests are as fast as before", time.Until(ended)+afterFlood, func() error {
		for i, took := range f.slowest(ordinary, 5) {
			if bound := 2*before[i] + 50*time.Millisecond; took > bound {
				return fmt.Errorf("a %s takes %s, before the flood %s", ordinary[i].name, took, before[i])
			}
		}
		return nil
	})
	f.recovered(time.Since(ended), afterFlood)
	f.pause(time.Until(ended.Add(afterFlood)))
	settled := time.Now()
	f.pause(afterFlood)
	// The agent renews what it knows of the good client: one review of its token, and one for each path.
	if reviews := f.reviews(front, settled); len(reviews) > 3 {
		f.Errorf("%d reviews in the %s that begin %s after the flood", len(reviews), afterFlood, afterFlood)
	}
	if slowest := slices.Max(probes); slowest > time.Second {
		f.Errorf("the slowest probe took %s", slowest)
	}
	most := mostInASecond(f.reviews(front, began))
	if most > 10 {
		f.Errorf("%d reviews in one second", most)
	}
	f.notef("%d requests, slowest of %d probes %.0f ms, %d scrapes, none lost, at most %d reviews in a second",
		sent, len(probes), slices.Max(probes).Seconds()*1000, len(scrapes), most)
}

// afterFlood bounds the time from the end of a flood to the moment at which all is as before.
const afterFlood = 5 * time.Second

// flooded floods an address, and sends a probe every half second and a scrape every five meanwhile. It returns the number of
// requests in the flood, and how long each answer took.
func (f *fixture) flooded(addr string, connections int, length time.Duration, probe, scrape request) (sent int, probes, scrapes []time.Duration) {
	f.Helper()
	flooding, end := context.WithCancel(f.Context())
	// A separate process: in this one, probes would wait for the TLS handshakes of the attacker.
	attacker := exec.CommandContext(f.Context(), os.Args[0])
	attacker.Env = append(os.Environ(), floodVariable+"="+addr, floodVariable+"_LENGTH="+length.String(), floodVariable+"_CONNECTIONS="+fmt.Sprint(connections))
	var output []byte
	var attackErr error
	var running sync.WaitGroup
	running.Go(func() {
		defer end()
		output, attackErr = attacker.Output()
	})
	repeat := func(r request, pause time.Duration) (took []time.Duration) {
		for flooding.Err() == nil {
			at := time.Now()
			if err := f.get(r, 10*time.Second); err != nil { //nolint:contextcheck // requests outlive the flood
				f.Errorf("%s in the flood: %v", r.name, err)
			}
			took = append(took, time.Since(at))
			f.pause(pause)
		}
		return took
	}
	running.Go(func() { probes = repeat(probe, 500*time.Millisecond) })
	running.Go(func() { scrapes = repeat(scrape, 5*time.Second) })
	running.Wait()
	sent, err := strconv.Atoi(strings.TrimSpace(string(output)))
	if err != nil || attackErr != nil || sent < 2*connections {
		f.Errorf("%d requests in the flood: %v, %v", sent, err, attackErr)
	}
	return sent, probes, scrapes
}

// slowest sends each request some times, and returns how long its slowest answer took.
func (f *fixture) slowest(requests []request, times int) []time.Duration {
	f.Helper()
	most := make([]time.Duration, len(requests))
	for range times {
		for i, r := range requests {
			at := time.Now()
			if err := f.get(r, 10*time.Second); err != nil {
				f.Errorf("%s: %v", r.name, err)
			}
			most[i] = max(most[i], time.Since(at))
		}
	}
	return most
}

// floodVariable has an address that this test binary floods instead of running tests.
const floodVariable = "FAULTS_FLOOD"

// attack floods an address, and prints how many requests it sent. The connections start over some seconds, resume their TLS
// sessions, and begin again as soon as they end. Half of them read the answer, and half leave before it.
func attack(addr string) (code int) {
	length, err := time.ParseDuration(os.Getenv(floodVariable + "_LENGTH"))
	connections, wrong := strconv.Atoi(os.Getenv(floodVariable + "_CONNECTIONS"))
	if err != nil || wrong != nil {
		fmt.Fprintln(os.Stderr, errors.Join(err, wrong))
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	config := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(10)}
	var running sync.WaitGroup
	var sent atomic.Int64
	for i := range connections {
		if i%20 == 0 {
			<-time.After(100 * time.Millisecond)
		}
		running.Go(func() {
			for ctx.Err() == nil {
				if inventToken(ctx, addr, config, sent.Add(1), i%2 == 0) != nil {
					<-time.After(10 * time.Millisecond)
				}
			}
		})
	}
	running.Wait()
	fmt.Println(sent.Load())
	return 0
}

// reviews returns when an agent sent a review since a moment.
func (f *fixture) reviews(p *proxy.Proxy, since time.Time) (at []time.Time) {
	for _, request := range p.Requests() {
		if request.At.After(since) && (request.Resource == "tokenreviews" || request.Resource == "subjectaccessreviews") {
			at = append(at, request.At)
		}
	}
	return at
}

// mostInASecond returns the number of events in the busiest second.
func mostInASecond(at []time.Time) (most int) {
	first := 0
	for last := range at {
		for at[last].Sub(at[first]) >= time.Second {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

// inventToken requests metrics with an invented token on a new connection.
func inventToken(ctx context.Context, addr string, config *tls.Config, n int64, reads bool) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
	secure := tls.Client(conn, config)
	if _, err := fmt.Fprintf(secure, "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer invented-%d\r\n\r\n", n); err != nil {
		return err
	}
	if !reads {
		<-time.After(5 * time.Millisecond)
		return nil
	}
	res, err := http.ReadResponse(bufio.NewReader(secure), nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// A request is sent on a new connection, like the probes of a kubelet.
type request struct{ name, url, token string }

// get sends a request, and requires 200.
func (f *fixture) get(r request, within time.Duration) error {
	ctx, cancel := context.WithTimeout(f.Context(), within)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return err
	}
	if r.token != "" {
		request.Header.Set("Authorization", "Bearer "+r.token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	res, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

// bind binds an account to a ClusterRole until the row ends.
func (f *fixture) bind(account, role string) {
	f.Helper()
	bindings := f.Admin.RbacV1().ClusterRoleBindings()
	binding, err := bindings.Create(f.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: account + "-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: f.installation.Name}},
	}, metav1.CreateOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = bindings.Delete(context.WithoutCancel(f.Context()), binding.Name, metav1.DeleteOptions{}) })
}

// mayReview permits the agent to create token and access reviews.
func (f *fixture) mayReview() {
	f.Helper()
	f.bind(f.account.Name, "system:auth-delegator")
}

// reader creates an account that may read metrics, and returns its token.
func (f *fixture) reader(name string) string {
	f.Helper()
	name = f.account.Name + "-" + name
	if _, err := f.installation.NewAccount(f.Context(), name); err != nil {
		f.Fatal(err)
	}
	role, err := f.Admin.RbacV1().ClusterRoles().Create(f.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules:      []rbacv1.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics", "/api/v1/report"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.bind(name, role.Name)
	answer, err := f.Admin.CoreV1().ServiceAccounts(f.installation.Name).CreateToken(f.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		f.Fatal(err)
	}
	return answer.Status.Token
}

// servingPair writes a certificate and its key.
func (f *fixture) servingPair() (certFile, keyFile string) {
	f.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	certFile, keyFile = filepath.Join(f.dir, "tls.crt"), filepath.Join(f.dir, "tls.key")
	if err := errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600),
	); err != nil {
		f.Fatal(err)
	}
	return certFile, keyFile
}

// freeAddress returns a free loopback address.
func (f *fixture) freeAddress() string {
	f.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}
