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
	// File or URL is the location of the report.
	File, URL string
	// Page is the address of the status page; empty if there is none.
	Page string
	// TokenFile contains a bearer token. CAFile contains the CA certificates of the server, and replaces the CAs of the system. Both are
	// optional, and only a member with a URL has them.
	TokenFile, CAFile string
	// Timeout limits the time to read the whole report. A report older than MaxAge is stale; 0 means no limit.
	Timeout, MaxAge time.Duration
}

// Default values of Member fields.
const (
	DefaultTimeout = 10 * time.Second
	DefaultMaxAge  = 24 * time.Hour
)

// nameForm matches a valid cluster name. It also allows the names of kubeconfig contexts and the values of Prometheus labels.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`)

const maxName = 253 // bytes

// ParseMember parses NAME=FILE or NAME=URL. The caller must call Complete when it has set the other fields.
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

// Complete validates a member, and completes its URL and the address of its page.
func (m *Member) Complete() error {
	var errs []error
	if len(m.Name) > maxName || !nameForm.MatchString(m.Name) || strings.Contains(m.Name, "://") {
		errs = append(errs, fmt.Errorf("name %q must consist of at most 253 letters, digits and ._:/@- characters, begin with a letter or digit, and not contain ://", shown(m.Name)))
	}
	if m.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("%s: timeout must be greater than 0, got %s", shown(m.Name), m.Timeout))
	}
	if m.MaxAge < 0 {
		errs = append(errs, fmt.Errorf("%s: maxAge must be 0 or greater, got %s", shown(m.Name), m.MaxAge))
	}
	switch {
	case m.URL == "" && m.File == "":
		errs = append(errs, fmt.Errorf("%s: set a file or a url", shown(m.Name)))
	case m.URL != "" && m.File != "":
		errs = append(errs, fmt.Errorf("%s: set a file or a url, not both", shown(m.Name)))
	case m.File != "" && (m.TokenFile != "" || m.CAFile != ""):
		errs = append(errs, fmt.Errorf("%s: a token and a CA need a url, not a file", shown(m.Name)))
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
		return fmt.Errorf("%s: the url contains a password: put a token into a file, and set tokenFile", shown(m.Name))
	case m.TokenFile != "" && at.Scheme != "https" && !isLoopback(at.Hostname()):
		return fmt.Errorf("%s: a token must not be sent unencrypted: use https", shown(m.Name))
	case m.CAFile != "" && at.Scheme != "https":
		return fmt.Errorf("%s: a CA needs an https url", shown(m.Name))
	}
	// Any other address is that of an agent, not of a report.
	if !strings.HasSuffix(at.Path, ReportPath) && !strings.HasSuffix(at.Path, ".json") {
		if m.Page == "" {
			page := at.JoinPath("/")
			page.RawQuery, page.ForceQuery, page.Fragment, page.RawFragment = "", false, "", "" // the page is published, and a query may contain a secret
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

// shown returns a text that may be an address without secrets, shortened for a message.
func shown(text string) string { return clipped(withoutSecrets(text)) }

// clipped shortens a text for a message.
func clipped(text string) string { return clippedTo(text, 100) }

func clippedTo(text string, most int) string {
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
