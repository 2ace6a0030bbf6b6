package fleet

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// concurrency is the number of reports that are read at the same time. Each keeps only a small part of the report in memory.
	concurrency = 32
	// maxReport is the maximum size of a report, after decompression.
	maxReport = 1 << 30
	// standbyText is the prefix of the response of an agent that is not the leader.
	standbyText = "may not publish: "
)

// A State describes whether the report of a member is usable.
type State string

// The states of a member.
const (
	Current State = "current"
	Stale   State = "stale"   // the report is older than MaxAge
	Standby State = "standby" // the replica at the address is not the leader
	Away    State = "away"    // there is no report
)

// An Answer is the result of reading the report of one member.
type Answer struct {
	State  State
	Reason string    // on one line; empty for Current
	Time   time.Time // when the report was made; zero if there is none
}

// A Fleet reads the reports of its members.
type Fleet struct {
	Members []Member
	// Now is the time from which the ages of reports are computed. A later report has the age 0.
	Now time.Time
	// UserAgent is the value of the header User-Agent.
	UserAgent string
}

// Read reads all reports concurrently, and calls read for each with the index of the member. A member whose report cannot be read is Away;
// it does not delay the others. Read returns an error only if ctx is done.
func (f *Fleet) Read(ctx context.Context, read func(member int, report io.Reader) error) ([]Answer, error) {
	answers := make([]Answer, len(f.Members))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i := range f.Members {
		group.Go(func() error {
			m := &f.Members[i]
			at, err := f.readMember(ctx, m, func(report io.Reader) error { return read(i, report) })
			answers[i] = f.judge(m, at, err)
			return ctx.Err()
		})
	}
	return answers, group.Wait()
}

func (f *Fleet) judge(m *Member, at time.Time, err error) Answer {
	if at.After(f.Now) {
		at = f.Now // the clocks differ, or a reproducible run sets Now
	}
	standby, isStandby := errors.AsType[*standbyError](err)
	switch age := f.Now.Sub(at); {
	case isStandby:
		return Answer{Standby, oneLine(standby.text), at}
	case err != nil:
		return Answer{Away, oneLine(err.Error()), time.Time{}}
	case m.MaxAge > 0 && age > m.MaxAge:
		return Answer{Stale, fmt.Sprintf("the report is %s old, more than %s", age.Round(time.Second), m.MaxAge), at}
	}
	return Answer{Current, "", at}
}

func oneLine(text string) string { return clippedTo(strings.Join(strings.Fields(text), " "), 400) }

// readMember reads one report, and returns when it was made; the zero time if that is unknown.
func (f *Fleet) readMember(ctx context.Context, m *Member, read func(io.Reader) error) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	if m.File != "" {
		return readFile(ctx, m, read)
	}
	at, err := f.readURL(ctx, m, read)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("no complete response within %s", m.Timeout)
	}
	return at, err
}

func readFile(ctx context.Context, m *Member, read func(io.Reader) error) (time.Time, error) {
	info, err := os.Stat(m.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, _, err := net.SplitHostPort(m.File); err == nil && !strings.ContainsAny(m.File, `/\`) { // not C:\report.json
			return time.Time{}, fmt.Errorf("%s: no such file; the URL of an agent begins with http:// or https://", m.File)
		}
		return time.Time{}, fmt.Errorf("%s: no such file", m.File)
	case err != nil:
		return time.Time{}, err
	case !info.Mode().IsRegular(): // opening a pipe would block
		return time.Time{}, fmt.Errorf("%s is not a regular file", m.File)
	}
	file, err := os.Open(m.File)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = file.Close() }() // only read
	return info.ModTime(), read(&limited{ctx: ctx, from: bufio.NewReader(file), left: maxReport})
}

func (f *Fleet) readURL(ctx context.Context, m *Member, read func(io.Reader) error) (time.Time, error) {
	transport, err := m.transport()
	if err != nil {
		return time.Time{}, err
	}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, m.URL, nil)
	if err != nil {
		return time.Time{}, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", f.UserAgent)
	token, err := m.token()
	if err != nil {
		return time.Time{}, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	at, err := f.ask(transport, r, m, read)
	return at, secretsOf(token, r.URL).hideIn(err)
}

// ask sends one request. It does not follow redirects, because that would send the token to a host that is not configured.
func (f *Fleet) ask(transport *http.Transport, r *http.Request, m *Member, read func(io.Reader) error) (time.Time, error) {
	response, err := transport.RoundTrip(r)
	if err != nil {
		return time.Time{}, m.explained(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := refusal(response); err != nil {
		return time.Time{}, err
	}
	return f.timeOf(response), read(&limited{ctx: r.Context(), from: response.Body, left: maxReport})
}

// token reads the token of a member. It returns "" if the member has no token file.
func (m *Member) token() (string, error) {
	if m.TokenFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(m.TokenFile)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \r\n") {
		return "", fmt.Errorf("%s must contain exactly one token", m.TokenFile)
	}
	return token, nil
}

// explained adds to the error of a connection how to fix it.
func (m *Member) explained(err error) error {
	_, malformed := errors.AsType[textproto.ProtocolError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case malformed: // the error contains the whole line of the header, which may repeat the token
		return errors.New("the header of the response is not valid")
	case !unknown:
		return err
	case m.CAFile != "":
		return fmt.Errorf("%w: %s does not contain the CA of the server's certificate (--ca-file, caFile)", err, m.CAFile)
	}
	return fmt.Errorf("%w: set the file with the CA of the server: --ca-file %s=FILE, or caFile in the configuration", err, m.Name)
}

func (m *Member) transport() (*http.Transport, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.Proxy = func(r *http.Request) (*url.URL, error) {
		proxy, err := http.ProxyFromEnvironment(r)
		if err != nil { // the error contains the address of the proxy, with its password
			return nil, errors.New("the proxy address in the environment is not valid (HTTPS_PROXY, HTTP_PROXY)")
		}
		return proxy, nil
	}
	if m.CAFile != "" {
		text, err := os.ReadFile(m.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the CA: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s does not contain a PEM certificate", m.CAFile)
		}
		transport.TLSClientConfig.RootCAs = roots
	}
	return transport, nil
}

// A standbyError is the response of an agent that is not the leader.
type standbyError struct{ text string }

func (e *standbyError) Error() string { return e.text }

// refusal returns an error if the status of a response shows that it is not a report.
func refusal(response *http.Response) error {
	if response.StatusCode == http.StatusOK {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10)) // on a read error, show the part that was read
	reason := strings.TrimSpace(string(text))
	switch status := response.StatusCode; {
	case status == http.StatusServiceUnavailable && strings.HasPrefix(reason, standbyText):
		return &standbyError{strings.TrimPrefix(reason, standbyText)}
	case status/100 == 3:
		to := "another address"
		if at, err := response.Location(); err == nil {
			to = (&url.URL{Scheme: at.Scheme, Host: at.Host, Path: at.Path}).String()
		}
		return fmt.Errorf("the server redirects to %s: use that address", to)
	case status == http.StatusUnauthorized:
		return errors.New("status 401: the token is missing or not valid (tokenFile)")
	case status == http.StatusForbidden:
		return errors.New("status 403: the token lacks the permission: get on the non-resource URL " + ReportPath + " and on /metrics")
	case status == http.StatusNotFound:
		return errors.New("status 404: there is no report at this address")
	}
	return fmt.Errorf("status %d %s", response.StatusCode, reason)
}

// timeOf returns when a report was made: the modification time of a stored report, or else the time of the response minus its age in caches.
func (f *Fleet) timeOf(response *http.Response) time.Time {
	at := f.Now
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		at = date
	}
	if seconds, err := strconv.ParseUint(response.Header.Get("Age"), 10, 31); err == nil {
		at = at.Add(-time.Duration(seconds) * time.Second)
	}
	if stored, err := http.ParseTime(response.Header.Get("Last-Modified")); err == nil && stored.Before(at) {
		at = stored
	}
	return at
}

// A limited reader fails when its context is done, or after a number of bytes.
type limited struct {
	ctx  context.Context //nolint:containedctx // an io.Reader takes no context
	from io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if err := cmp.Or(l.ctx.Err(), l.over()); err != nil {
		return 0, err
	}
	n, err := l.from.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

func (l *limited) over() error {
	if l.left <= 0 {
		return fmt.Errorf("larger than %d MiB", maxReport>>20)
	}
	return nil
}
