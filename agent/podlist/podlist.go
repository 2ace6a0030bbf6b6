package podlist

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
)

// Limits on what an API server, or a proxy before it, can make a Reader do.
const (
	pageLimit   = 500              // pods in a page
	maxPage     = 64 << 20         // bytes in a page; if a page is larger, the Reader requests half as many pods
	maxPages    = 20_000           // with maxBytes, enough for five million pods
	maxBytes    = 64 << 30         // in all pages
	maxStatus   = 1 << 20          // bytes to read of an error response
	pageTimeout = 2 * time.Minute  // for one page
	maxAttempts = 5                // for one page, while the server is too busy
	maxDelay    = 30 * time.Second // between two attempts
)

// Options say which pods to read.
type Options struct {
	// Namespaces are listed one after the other, which needs permissions in these namespaces alone. If there are none, one
	// list covers the whole cluster.
	Namespaces []string
	// Warn receives one line for each problem that does not end the list. It may be nil.
	Warn func(line string)
}

// A Reader yields the JSON of all pages, one after the other. It requests a page when the previous one has been read. The
// account needs the verb "list" on the resource "pods".
type Reader struct {
	ctx     context.Context //nolint:containedctx // Read of an io.Reader takes none
	client  *http.Client
	server  *url.URL
	options Options

	scopes []scope // still to be listed; the first one continues at token
	token  string  // continue token of the next page; empty for the first page
	limit  int
	pages  int
	bytes  int64
	rest   []byte // of the page that is being read

	mu  sync.Mutex // guards err against Err
	err error
}

// A scope is what one list covers: a namespace, or the whole cluster if it is empty.
type scope string

func (s scope) path() string {
	if s == "" {
		return "api/v1/pods"
	}
	return "api/v1/namespaces/" + string(s) + "/pods"
}

func (s scope) String() string {
	if s == "" {
		return "all namespaces"
	}
	return "namespace " + string(s)
}

// IsNamespace reports whether a namespace can have this name.
func IsNamespace(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }

// New makes a Reader. It sends no request.
func New(ctx context.Context, config *rest.Config, o Options) (*Reader, error) {
	r := &Reader{ctx: ctx, options: o, limit: pageLimit}
	var err error
	if r.client, r.server, err = connect(config); err != nil {
		return nil, err
	}
	for _, namespace := range o.Namespaces {
		if !IsNamespace(namespace) {
			return nil, fmt.Errorf("%q is not a valid name of a namespace", namespace)
		}
		r.scopes = append(r.scopes, scope(namespace))
	}
	if len(r.scopes) == 0 {
		r.scopes = []scope{""}
	}
	return r, nil
}

// connect makes a client that does not follow redirects, because they would send the credentials to another host.
func connect(config *rest.Config) (*http.Client, *url.URL, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, nil, fmt.Errorf("create the client for the API server: %w", err)
	}
	own := *client // client-go may share it with other users
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, nil, fmt.Errorf("parse the address of the API server: %w", err)
	}
	return &own, server, nil
}

// Err returns the error of Read other than io.EOF. It may be called during a Read, because an interrupted scan does not wait
// for a page.
func (r *Reader) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(r.err, io.EOF) {
		return nil
	}
	return r.err
}

// setErr ends the list. Only Read calls it, so Read itself reads err without the lock.
func (r *Reader) setErr(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Pages returns the number of pages that were read.
func (r *Reader) Pages() int { return r.pages }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err == nil && len(r.scopes) == 0 {
			r.setErr(io.EOF)
		}
		if r.err != nil {
			return 0, r.err
		}
		if err := r.next(); err != nil {
			r.setErr(fmt.Errorf("list pods in %s: %w", r.scopes[0], err))
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

var errLarge = fmt.Errorf("a page is larger than %d MiB", maxPage>>20)

// next requests a page. If the page is too large or its token has expired, next only changes the next request.
func (r *Reader) next() error {
	page, err := r.request()
	var status *apierrors.StatusError
	switch {
	case errors.Is(err, errLarge) && r.limit > 1:
		r.limit /= 2
		return nil
	case errors.As(err, &status) && apierrors.IsResourceExpired(err) && r.token != "":
		return r.expired(status.ErrStatus.Continue, err)
	case err != nil:
		return r.explained(err)
	}
	if err := check(page); err != nil {
		return err
	}
	if r.pages++; r.pages > maxPages {
		return fmt.Errorf("the list does not end: it has more than %d pages", maxPages)
	}
	if r.bytes += int64(len(page)); r.bytes > maxBytes {
		return fmt.Errorf("the list does not end: it has more than %d GiB", maxBytes>>30)
	}
	page = append(page, '\n')
	r.rest = page
	return r.advance(gjson.GetBytes(page, "metadata.continue").String())
}

// advance moves on to the page with this continue token, or to the next scope if the token is empty.
func (r *Reader) advance(token string) error {
	if token == "" {
		r.scopes = r.scopes[1:]
	} else if token == r.token {
		return errors.New("the list does not end: the API server repeats its continue token")
	}
	r.token = token
	return nil
}

// expired continues with the token that the API server offers when it no longer keeps the version of the first page, after 5
// minutes by default. The remaining pages are of a later version.
func (r *Reader) expired(token string, err error) error {
	if token == "" {
		return fmt.Errorf("the list took longer than the API server keeps its version: run the scan again (%w)", err)
	}
	if r.pages++; r.pages > maxPages {
		return fmt.Errorf("the list does not end: it has expired %d times", maxPages)
	}
	if r.options.Warn != nil {
		r.options.Warn(fmt.Sprintf("the list of pods in %s expired after page %d; the remaining pods are of a later version", r.scopes[0], r.pages-1))
	}
	return r.advance(token)
}

// check returns an error unless a page is a list of pods.
func check(page []byte) error {
	if !gjson.ValidBytes(page) {
		return errors.New("the response is not valid JSON: is the server a Kubernetes API server?")
	}
	if kind := gjson.GetBytes(page, "kind").String(); kind != "PodList" {
		return fmt.Errorf("the response has kind %.100q, want PodList: is the server a Kubernetes API server?", kind)
	}
	if !gjson.GetBytes(page, "items").IsArray() {
		return errors.New("the response has no list of items")
	}
	return nil
}

// request requests a page, and again if the server is too busy or a connection that worked before breaks.
func (r *Reader) request() ([]byte, error) {
	query := url.Values{"limit": {strconv.Itoa(r.limit)}}
	if r.token != "" {
		query.Set("continue", r.token)
	}
	at := r.server.JoinPath(r.scopes[0].path())
	at.RawQuery = query.Encode()
	delay := time.Second
	for attempt := 1; ; attempt++ {
		page, err := get(r.ctx, r.client, at.String())
		if err == nil || attempt == maxAttempts || r.ctx.Err() != nil || !r.retriable(err) {
			return page, err
		}
		pause := delay
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			pause = min(time.Duration(seconds)*time.Second, maxDelay)
		}
		select {
		case <-r.ctx.Done():
			return nil, context.Cause(r.ctx)
		case <-time.After(pause):
		}
		delay *= 2
	}
}

func (r *Reader) retriable(err error) bool {
	var broken *url.Error
	return apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsServerTimeout(err) ||
		errors.As(err, &broken) && r.pages > 0
}

// get returns the body of the response, at most maxPage bytes. An error from the API server is an *apierrors.StatusError, one
// of the connection an *url.Error.
func get(ctx context.Context, client *http.Client, at string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, pageTimeout, fmt.Errorf("the API server did not answer in %s", pageTimeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, cmp.Or(context.Cause(ctx), err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, statusOf(response)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPage+1))
	if err != nil {
		return nil, cmp.Or(context.Cause(ctx), error(&url.Error{Op: "Get", URL: at, Err: err}))
	}
	if len(body) > maxPage {
		return nil, errLarge
	}
	return body, nil
}

// statusOf returns the error that a response with another code than 200 means.
func statusOf(response *http.Response) error {
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		host := "an unknown address"
		if to, err := response.Location(); err == nil {
			host = (&url.URL{Scheme: to.Scheme, Host: to.Host}).String()
		}
		return fmt.Errorf("the server redirects to %.200s: redirects are not followed, because they would send the credentials there; "+
			"set the server in the kubeconfig to its final address", host)
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxStatus)) // a part of it is better than nothing
	var status metav1.Status
	if err := json.Unmarshal(body, &status); err == nil && status.Kind == "Status" && status.Status == metav1.StatusFailure {
		return &apierrors.StatusError{ErrStatus: status}
	}
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After")) // 0 where there is none
	return apierrors.NewGenericServerResponse(response.StatusCode, "list", schema.GroupResource{Resource: "pods"}, "", response.Status, seconds, true)
}

// explained returns an error of one line that says why a request failed and what to do.
func (r *Reader) explained(err error) error {
	var network *url.Error
	switch {
	case r.ctx.Err() != nil:
		return err
	case errors.As(err, &network):
		return fmt.Errorf("the API server cannot be reached: %w", oneLine(network.Err))
	case apierrors.IsForbidden(err):
		hint := ""
		if r.scopes[0] == "" {
			hint = "; --namespace NAME lists only the pods of one namespace"
		}
		return fmt.Errorf("forbidden: the account needs the verb list on the resource pods: %w%s", oneLine(err), hint)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the API server does not accept the credentials: %w", oneLine(err))
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the server does not serve pods: is it a Kubernetes API server? (%w)", oneLine(err))
	}
	return oneLine(err)
}

// oneLine reduces an error to one line of bounded length, because a server or a credential plugin may have written its text.
func oneLine(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > 1000 {
		text = text[:1000] + "..."
	}
	return errors.New(text)
}
