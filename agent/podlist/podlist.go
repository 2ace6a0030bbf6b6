// Package podlist reads the pods of a cluster once, as the text of a recording: one PodList for each page.
package podlist

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// The bounds of what an API server, or what stands before it, can make a Reader do.
const (
	// pageLimit is how many pods a page has.
	pageLimit = 500
	// maxPage is how large a page may be, in bytes. Of a larger one a Reader asks for half as many pods.
	maxPage = 64 << 20
	// maxPages and maxBytes are for all pages together: some five million pods.
	maxPages = 20_000
	maxBytes = 64 << 30
	// maxStatus is how much is read of the answer to a request that failed.
	maxStatus = 1 << 20
	// pageTimeout is how long a page may take.
	pageTimeout = 2 * time.Minute
	// A request that the server is too busy for is sent so many times, and waits no longer than maxDelay between them.
	maxAttempts = 5
	maxDelay    = 30 * time.Second
)

// Options say which pods to read.
type Options struct {
	// Namespaces are listed one after the other, which needs no rights beyond them; none: one list of the whole cluster.
	Namespaces []string
	// Warn, where it is not nil, is called with a line for what is odd and was read all the same.
	Warn func(line string)
}

// A Reader is the text of all pages, one after the other. It requests a page when the one before is read. It needs the verb
// "list" on the resource "pods", and nothing else.
type Reader struct {
	ctx     context.Context
	client  *http.Client
	server  *url.URL
	options Options

	scopes []scope // still to be read, the first from the token on
	token  string  // of the next page; empty for the first one
	limit  int
	pages  int
	bytes  int64
	rest   []byte // of the page

	mu  sync.Mutex // guards err against Err
	err error
}

// A scope is what one list covers: a namespace, or the whole cluster where it is empty.
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

var namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// IsNamespace reports whether a text is a name that a namespace can have.
func IsNamespace(name string) bool { return namespaceName.MatchString(name) }

// New makes a Reader. It asks nothing of the API server.
func New(ctx context.Context, config *rest.Config, o Options) (*Reader, error) {
	r := &Reader{ctx: ctx, options: o, limit: pageLimit}
	var err error
	if r.client, r.server, err = connect(config); err != nil {
		return nil, err
	}
	for _, namespace := range o.Namespaces {
		if !IsNamespace(namespace) {
			return nil, fmt.Errorf("%q is not the name of a namespace", namespace)
		}
		r.scopes = append(r.scopes, scope(namespace))
	}
	if len(r.scopes) == 0 {
		r.scopes = []scope{""}
	}
	return r, nil
}

// connect makes a client that follows no redirect: it would carry the credentials to another host.
func connect(config *rest.Config) (*http.Client, *url.URL, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, nil, fmt.Errorf("make the client of the API server: %w", err)
	}
	own := *client // client-go may give out one that others use
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, nil, fmt.Errorf("the address of the API server: %w", err)
	}
	return &own, server, nil
}

// Err is the error with which Read has failed; nil where it has not.
//
// It may be called while Read is: an interrupted scan does not wait for a page.
func (r *Reader) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(r.err, io.EOF) {
		return nil
	}
	return r.err
}

// end notes how the list has ended. Only Read calls it, which reads err without the lock.
func (r *Reader) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Pages is how many pages were read.
func (r *Reader) Pages() int { return r.pages }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err == nil && len(r.scopes) == 0 {
			r.end(io.EOF)
		}
		if r.err != nil {
			return 0, r.err
		}
		if err := r.next(); err != nil {
			r.end(fmt.Errorf("list pods in %s: %w", r.scopes[0], err))
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// errLarge says that a page is larger than maxPage.
var errLarge = fmt.Errorf("a page is larger than %d MiB", maxPage>>20)

// next reads a page. Where a page is too large, or the token has expired, it only makes the next request another one.
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

// advance goes on to the next page, or to the next scope behind the last one.
func (r *Reader) advance(token string) error {
	if token == "" {
		r.scopes = r.scopes[1:]
	} else if token == r.token {
		return errors.New("the API server repeats its continue token, so that the list does not end")
	}
	r.token = token
	return nil
}

// expired goes on at a later moment, where the API server offers that: a list that takes longer than the API server keeps
// the moment of its first page, which is 5 minutes by default.
func (r *Reader) expired(token string, err error) error {
	if token == "" {
		return fmt.Errorf("the list took longer than the API server keeps its state: run the scan again (%w)", err)
	}
	if r.pages++; r.pages > maxPages { // a page without pods
		return fmt.Errorf("the list does not end: it has expired %d times", maxPages)
	}
	if r.options.Warn != nil {
		r.options.Warn(fmt.Sprintf("the list of pods in %s expired after page %d: the pods of the pages after it are of a later moment", r.scopes[0], r.pages-1))
	}
	return r.advance(token)
}

// check refuses a page that is not a list of pods.
func check(page []byte) error {
	if !gjson.ValidBytes(page) {
		return errors.New("the answer is not valid JSON: is the server a Kubernetes API server?")
	}
	if kind := gjson.GetBytes(page, "kind").String(); kind != "PodList" {
		return fmt.Errorf("the answer has kind %.100q and not PodList: is the server a Kubernetes API server?", kind)
	}
	if !gjson.GetBytes(page, "items").IsArray() {
		return errors.New("the answer has no list of items")
	}
	return nil
}

// request sends the request for a page, again where the server is too busy, or where a connection breaks that has worked.
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
		if err == nil || attempt == maxAttempts || r.ctx.Err() != nil || !r.worthAnother(err) {
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

func (r *Reader) worthAnother(err error) bool {
	var broken *url.Error
	return apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsServerTimeout(err) ||
		errors.As(err, &broken) && r.pages > 0
}

// get is the body of the answer to one request, which is at most maxPage long. The error of an API server is an
// *apierrors.StatusError, that of a connection an *url.Error.
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
		return nil, causeOf(ctx, err)
	}
	defer func() { _ = response.Body.Close() }() // it is only read
	if response.StatusCode != http.StatusOK {
		return nil, statusOf(response)
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(io.LimitReader(response.Body, maxPage+1)); err != nil {
		return nil, causeOf(ctx, &url.Error{Op: "Get", URL: at, Err: err})
	}
	if body.Len() > maxPage {
		return nil, errLarge
	}
	return body.Bytes(), nil
}

// causeOf is why a context has ended, where that is why a request has failed.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// A redirectError is where a server would send the request to.
type redirectError struct{ host string }

func (e redirectError) Error() string {
	return fmt.Sprintf("the server redirects to %.200s: redirects are not followed, because they would carry the credentials there; set the server in the kubeconfig to its final address", e.host)
}

// statusOf is the error that an answer stands for.
func statusOf(response *http.Response) error {
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		host := "nowhere"
		if to, err := response.Location(); err == nil {
			host = (&url.URL{Scheme: to.Scheme, Host: to.Host}).String()
		}
		return redirectError{host}
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxStatus)) // what can be read of it explains the code
	var status metav1.Status
	if err := json.Unmarshal(body, &status); err == nil && status.Kind == "Status" && status.Status == metav1.StatusFailure {
		return &apierrors.StatusError{ErrStatus: status}
	}
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After")) // 0 where there is none
	return apierrors.NewGenericServerResponse(response.StatusCode, "list", schema.GroupResource{Resource: "pods"}, "", response.Status, seconds, true)
}

// explained says in one line why a request has failed, and what to do.
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
			hint = "; --namespace NAME lists the pods of one namespace alone"
		}
		return fmt.Errorf("forbidden: the account needs the verb list on the resource pods: %w%s", oneLine(err), hint)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the API server does not accept the credentials: %w", oneLine(err))
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the server does not serve pods: is it a Kubernetes API server? (%w)", oneLine(err))
	}
	return oneLine(err)
}

// oneLine is an error whose text is one line of a bounded length: a server, or a plugin for credentials, may have written it.
func oneLine(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > 1000 {
		text = text[:1000] + "..."
	}
	return errors.New(text)
}
