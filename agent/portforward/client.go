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

// Values of an installation with the default values of the chart.
const (
	DefaultNamespace      = "kube-devops"
	DefaultLeaseNamespace = "default"
	DefaultLeaseName      = "kube-devops-leader"
)

// Options describe how to find and reach the agent. The zero values of optional fields fit an installation with the chart.
type Options struct {
	// Namespace is the namespace of the agents' pods. It does not come from the Lease: whoever may write the Lease could then choose the
	// pod that receives the token of the user.
	Namespace string
	// LeaseNamespace and LeaseName identify the Lease. An empty LeaseNamespace means Namespace, then DefaultLeaseNamespace.
	LeaseNamespace, LeaseName string
	// Pod is the pod to connect to, instead of the holder of the Lease.
	Pod string
	// Port is the port of the agent; 0 for the port that the pod declares.
	Port int
	// TokenFile contains the bearer token for an agent with --metrics-auth; empty for the token of the kubeconfig.
	TokenFile string
	// CAFile contains the CA certificates of an agent with TLS. If it is empty, the certificate is not verified: the API server itself
	// connects to the pod, so no other host can answer.
	CAFile string
	// ServerName is the expected name in the certificate if CAFile is set; empty for the name of the chart's Service.
	ServerName string
	// Timeout limits the time to find the leader and connect to it.
	Timeout time.Duration
	// Pause is how long to wait for the next leader before the single retry, if the leader is gone.
	Pause time.Duration
}

// A Client sends HTTP requests to the leading agent. It is an http.RoundTripper for requests without a body, and ignores the host of their
// URLs. If the leader changes, the client finds the new leader and sends the request once more.
type Client struct {
	config  *rest.Config
	options Options
	finder  *finder
	roots   *x509.CertPool // nil: the certificate is not verified
	token   *tokenSource

	mu    sync.Mutex
	route *route // nil: not connected
	needs bool   // the agent requires a token
}

// A route is a connection to a leader.
type route struct {
	leader    *leader
	tunnel    *tunnel
	transport *http.Transport
}

// NewClient returns a client. It does not send a request.
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
		return nil, fmt.Errorf("--agent-ca: %s does not contain a PEM certificate", o.CAFile)
	}
	return c, nil
}

// Leader returns the pod of the leader, after connecting to it if there is no connection yet.
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

// connect returns a route to the leader. It reuses the current route, unless that is closed or is the failed one.
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

// RoundTrip sends a request to the leader. It adds the token of the user if the agent requires one.
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
	again := err != nil && !errors.As(err, new(*authError))
	if err == nil && response.StatusCode == http.StatusServiceUnavailable && c.moved(r.Context(), way) {
		_ = response.Body.Close()
		again = true
	}
	if !again {
		return response, err
	}
	if way, err = c.connect(r.Context(), way); err != nil {
		return nil, err
	}
	return c.authorized(way, r)
}

// pause waits for d, and reports whether the context is still active.
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

// moved reports whether another pod is the leader now: a standby responds with status 503.
func (c *Client) moved(ctx context.Context, way *route) bool {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	now, err := c.finder.find(ctx)
	return err == nil && (now.pod != way.leader.pod || now.holder != way.leader.holder)
}

// An authError is a problem with the token of the user, which a retry with another leader cannot fix.
type authError struct{ error }

func (e *authError) Unwrap() error { return e.error }

// authorized sends a request. It adds the token only after the agent has responded that it requires one.
func (c *Client) authorized(way *route, r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	needs := c.needs
	c.mu.Unlock()
	response, err := c.send(way, r, needs)
	if err != nil || needs || response.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(response.Header.Get("WWW-Authenticate"), "Bearer") {
		return response, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxMessage)) // allows net/http to reuse the connection
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
			return nil, &authError{fmt.Errorf("%s requires a token, but does not serve TLS: the token is not sent unencrypted", way.leader)}
		}
		token, err := c.token.get(r.Context()) //nolint:contextcheck // r has the context of the request
		if err != nil {
			return nil, &authError{err}
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := way.transport.RoundTrip(r)
	if failure, ok := errors.AsType[*kubeletError](err); ok {
		err = failure // drop the text that net/http adds if the error occurs before the request is sent
	}
	if err != nil {
		return nil, fmt.Errorf("query %s on port %d: %w", way.leader, way.leader.port, err)
	}
	return response, nil
}
