package portforward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// A tunnel is a port-forward to one port of a pod. Unlike kubectl port-forward, it does not open a local port, because every user of the
// machine could connect to that.
type tunnel struct {
	connection httpstream.Connection
	port       int
	requests   atomic.Int64
}

// openTunnel opens a port-forward over a WebSocket. Like kubectl, it falls back to SPDY if the API server or a proxy before it does not
// support WebSockets.
func openTunnel(ctx context.Context, config *rest.Config, to *leader) (*tunnel, error) {
	dialer, err := newDialer(config, to)
	if err != nil {
		return nil, err
	}
	type dialed struct {
		connection httpstream.Connection
		err        error
	}
	answer := make(chan dialed, 1)
	go func() { // a dialer takes no context
		connection, protocol, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
		if err == nil && protocol != portforward.PortForwardProtocolV1Name {
			err = errors.Join(fmt.Errorf("the API server answers with protocol %q, not %q", protocol, portforward.PortForwardProtocolV1Name), connection.Close())
		}
		answer <- dialed{connection, err}
	}()
	select {
	case got := <-answer:
		if got.err != nil {
			return nil, dialError(got.err, to)
		}
		return &tunnel{connection: got.connection, port: to.port}, nil
	case <-ctx.Done():
		go func() {
			if late := <-answer; late.err == nil {
				_ = late.connection.Close()
			}
		}()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) { // the API server itself has responded to earlier requests
			return nil, fmt.Errorf("forward a port to %s: the kubelet of %s did not answer the API server in time (--request-timeout)", to, to.nodeText())
		}
		return nil, fmt.Errorf("forward a port to %s: %w", to, ctx.Err())
	}
}

func newDialer(config *rest.Config, to *leader) (httpstream.Dialer, error) {
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	target := server.JoinPath("api/v1/namespaces", url.PathEscape(to.namespace), "pods", url.PathEscape(to.pod), "portforward")
	overWebSocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(target, config)
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	overSPDY := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target)
	return portforward.NewFallbackDialerForStreaming(overWebSocket, overSPDY, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}

// dialError adds to the error of a port-forward how to fix it. It searches the text, because the dialers return the status as text.
func dialError(err error, to *leader) error {
	text := strings.ToLower(err.Error())
	switch {
	case strings.Contains(text, "forbidden"):
		return fmt.Errorf("forward a port to %s: your user lacks the permission: create and get on pods/portforward in namespace %s", to, to.namespace)
	case strings.Contains(text, "not found") && to.holder == "":
		return fmt.Errorf("%s is gone: set another pod with --pod, or omit --pod for the leader", to)
	case strings.Contains(text, "not found"):
		return &goneError{fmt.Errorf("the leader's pod %s/%s is gone: try again when another replica has taken over", to.namespace, to.pod)}
	}
	return fmt.Errorf("forward a port to %s: %w", to, err)
}

func (t *tunnel) close() { _ = t.connection.Close() }

// closed reports whether the port-forward has ended, for example because the pod was deleted.
func (t *tunnel) closed() bool {
	select {
	case <-t.connection.CloseChan():
		return true
	default:
		return false
	}
}

// dial opens a connection to the port of the pod. It consists of a stream for the data and a stream for the error of the kubelet.
func (t *tunnel) dial() (net.Conn, error) {
	header := http.Header{}
	header.Set(corev1.PortHeader, strconv.Itoa(t.port))
	header.Set(corev1.PortForwardRequestIDHeader, strconv.FormatInt(t.requests.Add(1), 10))
	header.Set(corev1.StreamType, corev1.StreamTypeError)
	failure, err := t.connection.CreateStream(header)
	if err != nil {
		return nil, fmt.Errorf("open a stream of the port-forward: %w", err)
	}
	_ = failure.Close() // nothing is sent there
	header.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := t.connection.CreateStream(header)
	if err != nil {
		t.connection.RemoveStreams(failure)
		return nil, fmt.Errorf("open a stream of the port-forward: %w", err)
	}
	c := &streamConn{Stream: data, failed: make(chan error, 1)}
	c.end = sync.OnceFunc(func() {
		_ = data.Close()
		_ = data.Reset() // discards data that the pod still sends
		_ = failure.Reset()
		t.connection.RemoveStreams(data, failure)
	})
	go func() {
		message, _ := io.ReadAll(io.LimitReader(failure, maxMessage)) // on a read error, use the part that was read
		if len(message) > 0 {
			c.failed <- &kubeletError{strings.Join(strings.Fields(string(message)), " ")}
			c.end() // the kubelet does not close the data stream
		}
		close(c.failed)
	}()
	return c, nil
}

// A kubeletError is the error message of the kubelet about a port that it cannot reach.
type kubeletError struct{ message string }

func (e *kubeletError) Error() string { return e.message }

// maxMessage limits the length of a kubelet's error message, in bytes.
const maxMessage = 4 << 10

// A streamConn implements net.Conn on a stream. It ignores deadlines: net/http closes a connection that takes too long.
type streamConn struct {
	httpstream.Stream
	failed   chan error // the error of the kubelet; closed at the end
	answered atomic.Bool
	end      func()
}

// Read reads from the pod. If nothing listens on the port, the kubelet ends the data stream, and its error may arrive a moment later.
func (c *streamConn) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	if n > 0 {
		c.answered.Store(true)
	}
	if err == nil || c.answered.Load() {
		return n, err
	}
	timer := time.NewTimer(failureWait)
	defer timer.Stop()
	select {
	case failure, ok := <-c.failed:
		if ok {
			err = failure
		}
	case <-timer.C:
	}
	return n, err
}

// failureWait is how long Read waits for the error of the kubelet when a connection ends without data.
const failureWait = time.Second

func (c *streamConn) Close() error {
	c.end()
	return nil
}

type address struct{}

func (address) Network() string { return "tcp" }
func (address) String() string  { return "port-forward" }

func (c *streamConn) LocalAddr() net.Addr              { return address{} }
func (c *streamConn) RemoteAddr() net.Addr             { return address{} }
func (c *streamConn) SetDeadline(time.Time) error      { return nil }
func (c *streamConn) SetReadDeadline(time.Time) error  { return nil }
func (c *streamConn) SetWriteDeadline(time.Time) error { return nil }
