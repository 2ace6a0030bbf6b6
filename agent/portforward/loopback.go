package portforward

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// keyName is the name of the query parameter with the key of a loopback proxy. The cookie has this name plus the port, because browsers
// send a cookie to all ports of a host.
const keyName = "kube-devops-key"

// A Loopback serves the pages of an agent to a browser on this machine. It sends requests with the permissions of the user, so it requires
// a key. The key keeps out other users of the machine, and pages of other sites, which can reach a loopback address through a form, an
// image, or a name that resolves to it.
type Loopback struct {
	listener net.Listener
	key      string
	hosts    []string
	proxy    *httputil.ReverseProxy

	mu   sync.Mutex
	once string // the one-time key of LaunchURL; empty after its use
}

// NewLoopback returns a proxy that listens on a loopback address, and forwards requests through a Client.
func NewLoopback(listener net.Listener, by http.RoundTripper) (*Loopback, error) {
	at, ok := listener.Addr().(*net.TCPAddr)
	if !ok || !at.IP.IsLoopback() {
		return nil, fmt.Errorf("listen on %s: not a loopback address", listener.Addr())
	}
	l := &Loopback{listener: listener, key: rand.Text(), hosts: []string{at.String(), fmt.Sprintf("localhost:%d", at.Port)}}
	l.proxy = &httputil.ReverseProxy{
		Transport: by,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "agent", ""
			for _, name := range []string{"Cookie", "Authorization", "Origin", "Referer"} {
				r.Out.Header.Del(name)
			}
		},
		ModifyResponse: func(r *http.Response) error {
			// These headers would apply to every server on this host.
			r.Header.Del("Set-Cookie")
			r.Header.Del("Strict-Transport-Security")
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				answer(w, http.StatusBadGateway, strings.Join(strings.Fields(err.Error()), " "))
			}
		},
	}
	return l, nil
}

// URL returns the address to open. It contains the key, which the browser then keeps as a cookie.
func (l *Loopback) URL() string { return l.urlWith(l.key) }

// LaunchURL returns an address that works once. It is for the command line of a browser, which other users of the machine can read.
func (l *Loopback) LaunchURL() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.once = rand.Text()
	return l.urlWith(l.once)
}

func (l *Loopback) urlWith(key string) string {
	return (&url.URL{Scheme: "http", Host: l.hosts[0], Path: "/", RawQuery: url.Values{keyName: {key}}.Encode()}).String()
}

// Serve serves requests until ctx is done.
func (l *Loopback) Serve(ctx context.Context) error {
	server := &http.Server{Handler: l, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (l *Loopback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case !slices.Contains(l.hosts, r.Host):
		answer(w, http.StatusMisdirectedRequest, "use the host "+strings.Join(l.hosts, " or "))
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		answer(w, http.StatusMethodNotAllowed, "only GET and HEAD are supported")
		return
	}
	query := r.URL.Query()
	cookie := &http.Cookie{Name: keyName + "-" + l.port(), Value: l.key, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if key := query.Get(keyName); equal(key, l.key) || l.isLaunch(key) {
		query.Del(keyName)
		to := url.URL{Path: "/" + strings.TrimLeft(r.URL.Path, "/"), RawQuery: query.Encode()} // a path that begins with two slashes would be another host
		http.SetCookie(w, cookie)
		w.Header().Set("Referrer-Policy", "no-referrer")
		http.Redirect(w, r, to.String(), http.StatusSeeOther)
		return
	}
	if sent, err := r.Cookie(cookie.Name); err != nil || !equal(sent.Value, l.key) {
		answer(w, http.StatusForbidden, "open the URL that the command printed, including its key")
		return
	}
	l.proxy.ServeHTTP(w, r)
}

func (l *Loopback) port() string {
	_, port, _ := net.SplitHostPort(l.hosts[0])
	return port
}

// isLaunch reports whether a key is the unused key of LaunchURL, and marks it as used.
func (l *Loopback) isLaunch(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.once == "" || !equal(key, l.once) {
		return false
	}
	l.once = ""
	return true
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func answer(w http.ResponseWriter, status int, text string) {
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // a write fails only when the client is gone
}
