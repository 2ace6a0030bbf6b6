package fleet

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

const (
	// leastQuerySecret is the minimum length at which a query value is treated as a secret, such as a signature. Hiding a shorter value
	// would hide parts of ordinary words.
	leastQuerySecret = 8
	// knownPart is the length of the prefix by which a secret is recognized, so that a truncated secret is hidden, too.
	knownPart = 12
)

// secrets are texts that must not appear in any output: reports are published, and a server may repeat a request in its response.
type secrets []string

// secretsOf returns the secrets of a request: the token and the values of the query.
func secretsOf(token string, at *url.URL) secrets {
	var s secrets
	if token != "" {
		s = append(s, token, url.QueryEscape(token))
	}
	for _, values := range at.Query() {
		for _, value := range values {
			if len(value) >= leastQuerySecret {
				s = append(s, value, url.QueryEscape(value))
			}
		}
	}
	return s
}

// userinfo matches the user and the password of an address.
var userinfo = regexp.MustCompile(`://[^/?#\s]*@`)

// hide replaces the secrets in a text, and the users and passwords of addresses.
func (s secrets) hide(text string) string {
	var b strings.Builder
	for at := 0; at < len(text); {
		if n := s.length(text[at:]); n > 0 {
			b.WriteString("(hidden)")
			at += n
			continue
		}
		b.WriteByte(text[at])
		at++
	}
	return userinfo.ReplaceAllString(b.String(), "://xxxxx@")
}

// length returns the length of the longest secret, or prefix of one, with which a text begins; 0 if there is none or it is too short.
func (s secrets) length(text string) int {
	longest := 0
	for _, secret := range s {
		n := 0
		for n < min(len(secret), len(text)) && secret[n] == text[n] {
			n++
		}
		if n >= min(len(secret), knownPart) {
			longest = max(longest, n)
		}
	}
	return longest
}

// hideIn returns an error without the secrets.
func (s secrets) hideIn(err error) error {
	if standby, ok := errors.AsType[*standbyError](err); ok {
		return &standbyError{s.hide(standby.text)}
	}
	if err != nil {
		return errors.New(s.hide(err.Error()))
	}
	return nil
}

// withoutSecrets removes the user, password, query and fragment from a text that may be an address, so that a message can show it.
func withoutSecrets(text string) string {
	scheme, rest, isURL := strings.Cut(text, "://")
	if !isURL {
		scheme, rest = "", text
	}
	if !isURL && !strings.Contains(text, "@") {
		return text
	}
	at, err := url.Parse("//" + rest)
	if err != nil || strings.ContainsAny(scheme, ":@") || at.User == nil && strings.Contains(rest, "@") {
		return "(invalid address)"
	}
	if at.User != nil {
		at.User = url.User("xxxxx") // as URL.Redacted; a user may be a token
	}
	at.Scheme, at.RawQuery, at.ForceQuery, at.Fragment, at.RawFragment = scheme, "", false, "", ""
	return strings.TrimPrefix(at.String(), "//")
}
