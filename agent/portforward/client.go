package portforward

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// What an installation of the chart has.
const (
	DefaultNamespace      = "kube-devops"
	DefaultLeaseNamespace = "default"
	DefaultLeaseName      = "kube-devops-leader"
)

// Options say where the agent is. The zero values are those of an installation of the chart.
type Options struct {
	// Namespace is that of the agents' pods. A Lease does not name it on purpose: who may write the Lease could choose the pod that
	// receives the token of the user.
	Namespace string
	// LeaseNamespace and LeaseName are the Lease. An empty namespace means Namespace, then DefaultLeaseNamespace.
	LeaseNamespace, LeaseName string
	// Pod is the pod to connect to, instead of the holder of the Lease.
	Pod string
	// Port is that of the agent; 0 for the one that the pod declares.
	Port int
	// TokenFile has the bearer token for an agent with --metrics-auth; empty for the token of the kubeconfig.
	TokenFile string
	// CAFile has the certificates that must have signed that of an agent with TLS. Without it the certificate is not checked: the API
	// server has connected to this pod, and no other host has the connection.
	CAFile string
	// ServerName is the name in the certificate, with CAFile; empty for that of the Service of the chart.
	ServerName string
	// Timeout is for finding the leader and connecting to it.
	Timeout time.Duration
	// Pause is how long to wait for the next leader when one is gone, before the only other try.
	Pause time.Duration
}

// A Client sends HTTP requests to the agent that leads. It is an http.RoundTripper for requests without a body; the host of their
// URL does not matter. When the leader changes it finds the next one, and sends the request once more.
type Client struct {
	config  *rest.Config
	options Options
	finder  *finder
	roots   *x509.CertPool // nil: not checked
	token   *tokenSource

	mu    sync.Mutex
	route *route // nil: not connected
	needs bool   // the agent asks for a token
}

// A route is a connection to a leader.
type route struct {
	leader    *leader
	tunnel    *tunnel
	transport *http.Transport
}

// NewClient makes a client. It sends no request yet.
func NewClient(config *rest.Config, o Options) (*Client, error) {
	leases, err := coordinationv1client.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	pods, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	token, err := newTokenSource(config, o.TokenFile)
	if err != nil {
		return nil, err
	}
	c := &Client{config: config, options: o, finder: &finder{o, leases, pods}, token: token}
	if o.CAFile == "" {
		return c, nil
	}
	text, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("--agent-ca: %w", err)
	}
	if c.roots = x509.NewCertPool(); !c.roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--agent-ca: %s has no certificate in PEM", o.CAFile)
	}
	return c, nil
}

// Leader finds the leader and connects to it, unless this has been done, and returns its pod.
func (c *Client) Leader(ctx context.Context) (string, error) {
	r, err := c.connect(ctx, nil)
	if err != nil {
		return "", err
	}
	return r.leader.namespace + "/" + r.leader.pod, nil
}

// Close closes the connection.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

func (c *Client) drop() {
	if c.route != nil {
		c.route.transport.CloseIdleConnections()
		c.route.tunnel.close()
		c.route = nil
	}
}

// connect returns a route to the leader. One that has failed is not used again.
func (c *Client) connect(ctx context.Context, failed *route) (*route, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.route != nil && (c.route == failed || c.route.tunnel.closed()) {
		c.drop()
	}
	if c.route != nil {
		return c.route, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	to, err := c.finder.find(ctx)
	if err != nil {
		return nil, err
	}
	way, err := openTunnel(ctx, c.config, to)
	if err != nil {
		return nil, err
	}
	c.route = &route{to, way, &http.Transport{
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return way.dial() },
		TLSClientConfig: c.tls(to), TLSHandshakeTimeout: c.options.Timeout, MaxIdleConns: 4, IdleConnTimeout: time.Minute,
	}}
	return c.route, nil
}

func (c *Client) tls(to *leader) *tls.Config {
	if c.roots == nil {
		return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} // see Options.CAFile
	}
	name := c.options.ServerName
	if name == "" {
		name = DefaultNamespace + "." + to.namespace + ".svc"
	}
	return &tls.Config{RootCAs: c.roots, ServerName: name, MinVersion: tls.VersionTLS12}
}

// RoundTrip sends a request to the leader. It adds the token of the user if the agent asks for one.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		return nil, errors.New("only requests without a body can be sent twice")
	}
	way, err := c.connect(r.Context(), nil)
	if _, gone := errors.AsType[*goneError](err); gone && pause(r.Context(), c.options.Pause) {
		way, err = c.connect(r.Context(), nil)
	}
	if err != nil {
		return nil, err
	}
	response, err := c.authorized(way, r)
	if r.Context().Err() != nil {
		return response, err
	}
	switch {
	case err != nil && !errors.As(err, new(*authError)):
		if way, err = c.connect(r.Context(), way); err != nil {
			return nil, err
		}
		return c.authorized(way, r)
	case err == nil && response.StatusCode == http.StatusServiceUnavailable && c.moved(r.Context(), way):
		_ = response.Body.Close()
		if way, err = c.connect(r.Context(), way); err != nil {
			return nil, err
		}
		return c.authorized(way, r)
	}
	return response, err
}

// pause waits, and reports whether the context still lives.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// moved reports whether another pod leads now. A standby answers 503.
func (c *Client) moved(ctx context.Context, way *route) bool {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	now, err := c.finder.find(ctx)
	return err == nil && (now.pod != way.leader.pod || now.holder != way.leader.holder)
}

// An authError is about the token of the user, so that another leader would not help.
type authError struct{ error }

func (e *authError) Unwrap() error { return e.error }

// authorized sends a request, with the token if the agent asks for one.
func (c *Client) authorized(way *route, r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	needs := c.needs
	c.mu.Unlock()
	response, err := c.send(way, r, needs)
	if err != nil || needs || response.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(response.Header.Get("WWW-Authenticate"), "Bearer") {
		return response, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxMessage)) // so that the connection is used again
	_ = response.Body.Close()
	c.mu.Lock()
	c.needs = true
	c.mu.Unlock()
	return c.send(way, r, true)
}

func (c *Client) send(way *route, r *http.Request, withToken bool) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = "http", "agent", ""
	r.Header.Del("Authorization")
	if way.leader.tls {
		r.URL.Scheme = "https"
	}
	if withToken {
		if !way.leader.tls {
			return nil, &authError{fmt.Errorf("%s asks for a token without TLS: it is not sent unencrypted", way.leader)}
		}
		token, err := c.token.get(r.Context()) //nolint:contextcheck // r has the context of the request
		if err != nil {
			return nil, &authError{err}
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := way.transport.RoundTrip(r)
	if failure, ok := errors.AsType[*kubeletError](err); ok {
		err = failure // without what net/http adds if the error comes before the request is sent
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s at port %d: %w", way.leader, way.leader.port, err)
	}
	return response, nil
}
