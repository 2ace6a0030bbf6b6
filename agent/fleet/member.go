package fleet

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// ReportPath is where an agent serves its report.
const ReportPath = "/api/v1/report"

// A Member is one cluster of a fleet.
type Member struct {
	Name string
	// File or URL is where its report is.
	File, URL string
	// Page is the address of its status page; empty if it has none.
	Page string
	// TokenFile has a bearer token, and CAFile the certificates that must have signed that of the server, instead of those of the
	// system. Both are for a URL, and may be empty.
	TokenFile, CAFile string
	// Timeout is for the whole report. A report older than MaxAge is stale; 0 for any age.
	Timeout, MaxAge time.Duration
}

// The defaults of a member.
const (
	DefaultTimeout = 10 * time.Second
	DefaultMaxAge  = 24 * time.Hour
)

// nameForm is that of the names of clusters. They are the names of kubeconfig contexts and labels of Prometheus, too.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`)

const maxName = 253 // bytes

// ParseMember reads NAME=FILE or NAME=URL. Complete must follow, when all fields are set.
func ParseMember(text string) (Member, error) {
	name, where, ok := strings.Cut(text, "=")
	if !ok || where == "" || strings.Contains(name, "://") {
		return Member{}, fmt.Errorf("%q must be NAME=FILE or NAME=URL", shown(text))
	}
	m := Member{Name: name, Timeout: DefaultTimeout, MaxAge: DefaultMaxAge}
	if scheme, _, found := strings.Cut(where, "://"); found && !strings.Contains(scheme, "/") {
		m.URL = where
	} else {
		m.File = where
	}
	return m, nil
}

// Complete checks a member, and completes its URL and the address of its page.
func (m *Member) Complete() error {
	var errs []error
	if len(m.Name) > maxName || !nameForm.MatchString(m.Name) || strings.Contains(m.Name, "://") {
		errs = append(errs, fmt.Errorf("name %q: at most 253 letters, digits and ._:/@- are permitted, not ://, and the first must be a letter or digit", shown(m.Name)))
	}
	if m.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("%s: timeout must be greater than 0, got %s", shown(m.Name), m.Timeout))
	}
	if m.MaxAge < 0 {
		errs = append(errs, fmt.Errorf("%s: maxAge must be 0 or greater, got %s", shown(m.Name), m.MaxAge))
	}
	switch {
	case m.URL == "" && m.File == "":
		errs = append(errs, fmt.Errorf("%s: name a file or a url", shown(m.Name)))
	case m.URL != "" && m.File != "":
		errs = append(errs, fmt.Errorf("%s: name a file or a url, not both", shown(m.Name)))
	case m.File != "" && (m.TokenFile != "" || m.CAFile != ""):
		errs = append(errs, fmt.Errorf("%s: a token and a CA are for a url, not for a file", shown(m.Name)))
	case m.URL != "":
		errs = append(errs, m.completeURL())
	}
	if m.Page != "" {
		if page, err := url.Parse(m.Page); err != nil || page.Scheme != "http" && page.Scheme != "https" || page.Host == "" || page.User != nil {
			errs = append(errs, fmt.Errorf("%s: page must be an http or https URL without a password", shown(m.Name)))
		}
	}
	return errors.Join(errs...)
}

func (m *Member) completeURL() error {
	at, err := url.Parse(m.URL)
	switch {
	case err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "":
		return fmt.Errorf("%s: the url must be an http or https URL", shown(m.Name))
	case at.User != nil:
		return fmt.Errorf("%s: the url has a password: put a token into a file, as its tokenFile", shown(m.Name))
	case m.TokenFile != "" && at.Scheme != "https" && !isLoopback(at.Hostname()):
		return fmt.Errorf("%s: a token is not sent unencrypted: use https", shown(m.Name))
	case m.CAFile != "" && at.Scheme != "https":
		return fmt.Errorf("%s: a CA is for https", shown(m.Name))
	}
	// The address of an agent, or of a report that is stored elsewhere.
	if !strings.HasSuffix(at.Path, ReportPath) && !strings.HasSuffix(at.Path, ".json") {
		if m.Page == "" {
			page := at.JoinPath("/")
			page.RawQuery, page.ForceQuery, page.Fragment, page.RawFragment = "", false, "", "" // it is published
			m.Page = page.String()
		}
		at = at.JoinPath(ReportPath)
	}
	m.URL = at.String()
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// shown is what a message repeats of a text that may be an address.
func shown(text string) string { return clipped(withoutSecrets(text)) }

// clipped limits what a message repeats.
func clipped(text string) string { return clippedTo(text, 100) }

func clippedTo(text string, most int) string {
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
