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

// A Proxy passes on the requests of one agent. All methods may be called at any time and from any goroutine.
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

// Start makes a proxy of the API server that a kubeconfig names. The proxy brings no credentials of its own: those of
// the agent are passed on.
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
		ErrorLog: log.New(io.Discard, "", 0), // broken connections are what it is for
	}
	go func() { _ = p.server.ServeTLS(p.conns, "", "") }()
	return p, nil
}

// Close ends all connections.
func (p *Proxy) Close() {
	// First of all the bytes: TLS would say good-bye on a connection in the dark, and wait there.
	p.conns.set(false, true, func(c *connection) {
		c.light()
		reset(c.Conn)
	})
	_ = p.server.Close()
	p.transport.CloseIdleConnections()
}

// Kubeconfig writes, to a file, a kubeconfig that leads through the proxy and is otherwise as the one given.
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

// Authority is the certificate that a client must trust, in PEM.
func (p *Proxy) Authority() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.authority
}

// Rotate makes a new authority, which Authority tells from now on, and returns what gives the proxy a certificate of it, which
// new connections then meet.
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

// Port is where the proxy listens.
func (p *Proxy) Port() int { return p.conns.Addr().(*net.TCPAddr).Port }

// Ports are those of the agent's ends of the connections that there are.
func (p *Proxy) Ports() []int {
	var ports []int
	p.conns.each(func(c *connection) {
		if addr, ok := c.RemoteAddr().(*net.TCPAddr); ok {
			ports = append(ports, addr.Port)
		}
	})
	return ports
}

// Cut resets all connections, and each new one.
func (p *Proxy) Cut() { p.conns.set(false, true, func(c *connection) { reset(c.Conn) }) }

// Blackhole passes no byte on any connection, in either direction, and accepts new ones: as a firewall that drops.
func (p *Proxy) Blackhole() { p.conns.set(true, false, (*connection).darken) }

// Stall passes no byte on the connections that there are; new ones are good. They are half open: neither side is told.
func (p *Proxy) Stall() { p.conns.set(false, false, (*connection).darken) }

// Heal makes all connections good again. What was held back arrives.
func (p *Proxy) Heal() { p.conns.set(false, false, (*connection).light) }

// Add puts a rule in force, before those that there are, and returns what takes it out again.
func (p *Proxy) Add(rule Rule) (remove func()) { return p.rules.add(rule) }

// Requests returns all requests until now that the connections let through.
func (p *Proxy) Requests() []Request { return p.rules.requests() }

// Count returns how many requests there were of a verb and a resource.
func (p *Proxy) Count(verb, resource string) int {
	n := 0
	for _, request := range p.Requests() {
		if request.Verb == verb && request.Resource == resource {
			n++
		}
	}
	return n
}

// errDropped ends a connection instead of an answer.
var errDropped = errors.New("the answer is dropped")

// ServeHTTP does to one request what the rules say.
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
		FlushInterval:  -1, // events are passed on as they come
		ModifyResponse: func(res *http.Response) error { return rule.answer(r.Context(), request, res) },
		// Where the server cannot be reached, or the answer is dropped, the client is to see no answer at all.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	pass.ServeHTTP(w, r)
}

// answer changes the answer of the server.
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

// refuse answers as an API server does that refuses.
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
		panic(err) // a Status is strings and numbers
	}
	w.Header().Set("Content-Type", "application/json")
	if code == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(code)
	_, _ = w.Write(body)
}
