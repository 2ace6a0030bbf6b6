package portforward

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
)

// asked records the request that reaches the agent.
type asked struct {
	request *http.Request
	err     error
}

func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	a.request = r
	if a.err != nil {
		return nil, a.err
	}
	header := http.Header{"Content-Type": {"text/html"}, "Set-Cookie": {"a=b"}, "Strict-Transport-Security": {"max-age=1"}, "Etag": {`"1"`}}
	return &http.Response{StatusCode: http.StatusOK, Header: header, Body: io.NopCloser(strings.NewReader("the page")), Request: r}, nil
}

// serveLoopback serves a proxy until the test ends.
func serveLoopback(t *testing.T) (*Loopback, *asked) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	agent := &asked{}
	l, err := NewLoopback(listener, agent)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return l, agent
}

// browser returns a client that keeps cookies.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

// A shown is the page that a browser shows, with its address.
type shown struct {
	header http.Header
	at     *url.URL
}

func open(t *testing.T, client *http.Client, address string, change func(*http.Request)) (int, string, shown) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text), shown{response.Header, response.Request.URL}
}

// TestLoopback checks that a browser that opened the URL gets the pages, and that the agent gets neither the key nor other data of the browser.
func TestLoopback(t *testing.T) {
	l, agent := serveLoopback(t)
	client := browser(t)
	status, text, page := open(t, client, l.URL(), func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer of-another-site")
		r.Header.Set("Cookie", "session=secret")
	})
	if status != http.StatusOK || text != "the page" || page.at.RawQuery != "" || page.at.Path != "/" {
		t.Errorf("%d %q at %s", status, text, page.at)
	}
	if got := page.header; got.Get("Etag") != `"1"` || got.Get("Set-Cookie") != "" || got.Get("Strict-Transport-Security") != "" {
		t.Errorf("header %v", got)
	}
	base := "http://" + l.hosts[0]
	if status, _, _ := open(t, client, base+"/namespaces/shop?sort=name", nil); status != http.StatusOK {
		t.Errorf("the next page: %d", status)
	}
	r := agent.request
	if r.URL.String() != "http://agent/namespaces/shop?sort=name" || r.Header.Get("Cookie") != "" || r.Header.Get("Authorization") != "" || r.Header.Get("X-Forwarded-For") != "" {
		t.Errorf("the agent was asked for %s with %v", r.URL, r.Header)
	}
	if status, _, _ := open(t, browser(t), l.LaunchURL(), nil); status != http.StatusOK {
		t.Errorf("the URL for the command line: %d", status)
	}
}

// TestLoopbackRefuses checks that other users of the machine, other sites and other methods get nothing from the agent.
func TestLoopbackRefuses(t *testing.T) {
	l, agent := serveLoopback(t)
	known := browser(t)
	launch := l.LaunchURL()
	for _, url := range []string{l.URL(), launch} {
		if status, _, _ := open(t, known, url, nil); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
	}
	base := "http://" + l.hosts[0]
	stranger := &http.Client{}
	for name, test := range map[string]struct {
		client *http.Client
		url    string
		change func(*http.Request)
		want   int
	}{
		"no key":              {stranger, base + "/", nil, http.StatusForbidden},
		"wrong key":           {stranger, base + "/?kube-devops-key=x", nil, http.StatusForbidden},
		"empty key":           {stranger, base + "/?kube-devops-key=", nil, http.StatusForbidden},
		"a launch key again":  {stranger, launch, nil, http.StatusForbidden},
		"a name of a site":    {known, base + "/", func(r *http.Request) { r.Host = "rebound.example.com" }, http.StatusMisdirectedRequest},
		"another port":        {known, base + "/", func(r *http.Request) { r.Host = "127.0.0.1:1" }, http.StatusMisdirectedRequest},
		"no port":             {known, base + "/", func(r *http.Request) { r.Host = "localhost" }, http.StatusMisdirectedRequest},
		"POST":                {known, base + "/", func(r *http.Request) { r.Method = http.MethodPost }, http.StatusMethodNotAllowed},
		"OPTIONS of a script": {known, base + "/", func(r *http.Request) { r.Method = http.MethodOptions }, http.StatusMethodNotAllowed},
	} {
		agent.request = nil
		if status, text, _ := open(t, test.client, test.url, test.change); status != test.want || agent.request != nil {
			t.Errorf("%s: %d %q, want %d; the agent was asked: %t", name, status, text, test.want, agent.request != nil)
		}
	}
	stranger.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if _, _, page := open(t, stranger, strings.Replace(l.URL(), "/?", "//example.com?", 1), nil); page.header.Get("Location") != "/example.com" {
		t.Errorf("redirects to %q", page.header.Get("Location"))
	}
	agent.err = errors.New("no agent leads now:\n<script>")
	if status, text, page := open(t, known, base+"/", nil); status != http.StatusBadGateway || text != "no agent leads now: <script>\n" || !strings.HasPrefix(page.header.Get("Content-Type"), "text/plain") {
		t.Errorf("an error: %d %q", status, text)
	}
}

func TestLoopbackListensOnLoopback(t *testing.T) {
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if _, err := NewLoopback(listener, &asked{}); err == nil {
		t.Error("an address of the network is accepted")
	}
}
