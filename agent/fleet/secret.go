package fleet

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

const (
	// leastQuerySecret is the length from which a value of a query counts as a secret, such as a signature. A shorter one may be a
	// part of any word.
	leastQuerySecret = 8
	// knownPart is how much of a secret is recognized, so that one that is cut off is hidden too.
	knownPart = 12
)

// secrets are texts that no output may have: outputs are published, and servers repeat what they were sent.
type secrets []string

// secretsOf returns the secrets of a request: its token, and the values of its query.
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

// userinfo is the user and the password in an address.
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

// length is how much of a secret a text begins with; 0 if it is too little.
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

// hideIn is an error without the secrets.
func (s secrets) hideIn(err error) error {
	if standby, ok := errors.AsType[*standbyError](err); ok {
		return &standbyError{s.hide(standby.text)}
	}
	if err != nil {
		return errors.New(s.hide(err.Error()))
	}
	return nil
}

// withoutSecrets is an address, or what may be meant as one, as a message may show it: without user, password, query and fragment.
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
		return "(an address that is not valid)"
	}
	if at.User != nil {
		at.User = url.User("xxxxx") // as URL.Redacted; a user may be a token
	}
	at.Scheme, at.RawQuery, at.ForceQuery, at.Fragment, at.RawFragment = scheme, "", false, "", ""
	return strings.TrimPrefix(at.String(), "//")
}
