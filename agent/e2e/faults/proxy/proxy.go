package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// A Proxy forwards the requests of an agent. Its methods are safe for concurrent use.
type Proxy struct {
	conns     *connections
	rules     *rules
	server    *http.Server
	upstream  *url.URL
	transport *http.Transport

	mu        sync.Mutex
	authority []byte // PEM
	leaf      tls.Certificate
}

// Start starts a proxy for the API server of a kubeconfig. It has no credentials, and forwards those of the agent.
func Start(kubeconfig string) (*Proxy, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	upstream, err := url.Parse(config.Host)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	tlsConfig, err := rest.TLSConfigFor(rest.AnonymousClientConfig(config))
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	authority, leaf, err := newCertificate()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the proxy: %w", err)
	}
	p := &Proxy{
		authority: authority,
		leaf:      leaf,
		conns:     newConnections(listener),
		rules:     &rules{done: make(map[*Rule]int)},
		upstream:  upstream,
		transport: &http.Transport{
			TLSClientConfig:    tlsConfig,
			ForceAttemptHTTP2:  true,
			DisableCompression: true, // events are read line by line
		},
	}
	p.server = &http.Server{
		Handler: p,
		TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			leaf := p.leaf
			return &leaf, nil
		}},
		ErrorLog: log.New(io.Discard, "", 0), // broken connections are expected
	}
	go func() { _ = p.server.ServeTLS(p.conns, "", "") }()
	return p, nil
}

// Close ends all connections.
func (p *Proxy) Close() {
	// Reset the connections first: TLS would block while it writes close_notify to a dark connection.
	p.conns.set(false, true, func(c *connection) {
		c.light()
		reset(c.Conn)
	})
	_ = p.server.Close()
	p.transport.CloseIdleConnections()
}

// Kubeconfig writes a copy of a kubeconfig whose server is the proxy.
func (p *Proxy) Kubeconfig(from, to string) error {
	config, err := clientcmd.LoadFromFile(from)
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + p.conns.Addr().String()
		cluster.CertificateAuthority, cluster.CertificateAuthorityData = "", p.Authority()
	}
	if err := clientcmd.WriteToFile(*config, to); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

// Authority returns the certificate authority of the proxy in PEM.
func (p *Proxy) Authority() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.authority
}

// Rotate creates a new certificate authority, which Authority returns from now on. The returned function activates a certificate of
// the new authority for new connections.
func (p *Proxy) Rotate() (activate func(), err error) {
	authority, leaf, err := newCertificate()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.authority = authority
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.leaf = leaf
	}, nil
}

// Port returns the port of the proxy.
func (p *Proxy) Port() int { return p.conns.Addr().(*net.TCPAddr).Port }

// Ports returns the ports of the agent's ends of the open connections.
func (p *Proxy) Ports() []int {
	var ports []int
	p.conns.each(func(c *connection) {
		if addr, ok := c.RemoteAddr().(*net.TCPAddr); ok {
			ports = append(ports, addr.Port)
		}
	})
	return ports
}

// Cut resets all open and new connections.
func (p *Proxy) Cut() { p.conns.set(false, true, func(c *connection) { reset(c.Conn) }) }

// Blackhole holds the bytes of all open and new connections in both directions, like a firewall that drops packets.
func (p *Proxy) Blackhole() { p.conns.set(true, false, (*connection).darken) }

// Stall holds the bytes of the open connections, which are then half open. New connections work.
func (p *Proxy) Stall() { p.conns.set(false, false, (*connection).darken) }

// Heal ends all connection faults. Held bytes arrive.
func (p *Proxy) Heal() { p.conns.set(false, false, (*connection).light) }

// Add adds a rule, which takes precedence over earlier ones. The returned function removes it.
func (p *Proxy) Add(rule Rule) (remove func()) { return p.rules.add(rule) }

// Requests returns all requests so far.
func (p *Proxy) Requests() []Request { return p.rules.requests() }

// Count returns the number of requests with a verb and a resource.
func (p *Proxy) Count(verb, resource string) int {
	n := 0
	for _, request := range p.Requests() {
		if request.Verb == verb && request.Resource == resource {
			n++
		}
	}
	return n
}

// errDropped closes a connection without a response.
var errDropped = errors.New("response dropped")

// ServeHTTP applies the rules to a request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request := describe(r)
	rule := p.rules.choose(request, r)
	if rule == nil {
		rule = &Rule{}
	}
	switch {
	case rule.Silent:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case rule.Status != 0:
		refuse(w, rule.Status)
		return
	case rule.To != "":
		http.Redirect(w, r, rule.To+r.URL.RequestURI(), http.StatusTemporaryRedirect)
		return
	case rule.Serve != nil:
		rule.Serve(w, r)
		return
	}
	if rule.Ask != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		body = rule.Ask(body)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	pass := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(p.upstream)
			pr.Out.Host = p.upstream.Host
			pr.Out.Header.Del("Accept-Encoding")
		},
		Transport:      p.transport,
		FlushInterval:  -1,                                                                               // forward events immediately
		ModifyResponse: func(res *http.Response) error { return rule.answer(r.Context(), request, res) }, //nolint:contextcheck // of the request
		// If the server is unreachable or the response is dropped, the client must not receive a response.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	pass.ServeHTTP(w, r)
}

// answer changes the response of the server.
func (r *Rule) answer(ctx context.Context, request Request, res *http.Response) error {
	if r.Hold > 0 {
		timer := time.NewTimer(r.Hold)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if r.Drop {
		return errDropped
	}
	if request.Verb == "watch" {
		if r.Watch != nil || r.Answer != nil {
			res.Body, res.ContentLength = editWatch(res.Body, r), -1
			res.Header.Del("Content-Length")
		}
		return nil
	}
	if r.Answer == nil {
		return nil
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	body = r.Answer(body)
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	res.Header.Set("Content-Length", fmt.Sprint(len(body)))
	return nil
}

// refuse responds with an error status of an API server.
func refuse(w http.ResponseWriter, code int) {
	reason := map[int]metav1.StatusReason{
		http.StatusUnauthorized:        metav1.StatusReasonUnauthorized,
		http.StatusForbidden:           metav1.StatusReasonForbidden,
		http.StatusUnprocessableEntity: metav1.StatusReasonInvalid,
		http.StatusTooManyRequests:     metav1.StatusReasonTooManyRequests,
		http.StatusInternalServerError: metav1.StatusReasonInternalError,
	}[code]
	body, err := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure,
		Code:     int32(code),
		Reason:   reason,
		Message:  fmt.Sprintf("the fault proxy answers %d", code),
	})
	if err != nil {
		panic(err) // a Status can always be encoded
	}
	w.Header().Set("Content-Type", "application/json")
	if code == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(code)
	_, _ = w.Write(body)
}
