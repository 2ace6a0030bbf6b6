package fleet

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLoad(t *testing.T) {
	members, err := Load("/etc/fleet/fleet.yaml", []byte(`
apiVersion: kube-devops.io/v1
kind: Fleet
timeout: 5s
clusters:
  - {name: prod, url: https://kd.example.com/base/, tokenFile: prod.token, caFile: /ca.pem, timeout: 30s}
  - {name: stored, url: "https://bucket.example.com/prod.json?x=1", page: "https://kd.example.com", maxAge: 0s}
  - {name: dev, file: dev.json}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Member{
		{
			Name: "prod", URL: "https://kd.example.com/base/api/v1/report", Page: "https://kd.example.com/base/", TokenFile: "/etc/fleet/prod.token",
			CAFile: "/ca.pem", Timeout: 30 * time.Second, MaxAge: DefaultMaxAge,
		},
		{Name: "stored", URL: "https://bucket.example.com/prod.json?x=1", Page: "https://kd.example.com", Timeout: 5 * time.Second},
		{Name: "dev", File: "/etc/fleet/dev.json", Timeout: 5 * time.Second, MaxAge: DefaultMaxAge},
	}
	if diff := cmp.Diff(want, members); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

// TestLoadErrors checks that each error names its line.
func TestLoadErrors(t *testing.T) {
	head := "apiVersion: kube-devops.io/v1\nkind: Fleet\nclusters:\n"
	for text, want := range map[string]string{
		"kind: Fleet\nclusters: []\n":                                    `f.yaml:1: missing field "apiVersion" in a fleet`,
		head + "- {url: https://a}\n":                                    `f.yaml:4: missing field "name" in a cluster`,
		head + "- {name: a, url: https://a, token: x}\n":                 `f.yaml:4: unknown field "token" in a cluster`,
		head + "- {name: a}\n":                                           `f.yaml:4: a: set a file or a url`,
		head + "- {name: a, file: b, url: https://a}\n":                  `f.yaml:4: a: set a file or a url, not both`,
		head + "- {name: a, file: b, tokenFile: c}\n":                    `f.yaml:4: a: a token and a CA need a url, not a file`,
		head + "- {name: a, url: ftp://a}\n":                             `f.yaml:4: a: the url must be an http or https URL`,
		head + "- {name: a, url: 'https://u:secret@a'}\n":                `f.yaml:4: a: the url contains a password: put a token into a file, and set tokenFile`,
		head + "- {name: a, url: http://a, tokenFile: t}\n":              `f.yaml:4: a: a token must not be sent unencrypted: use https`,
		head + "- {name: a, url: http://a, caFile: t}\n":                 `f.yaml:4: a: a CA needs an https url`,
		head + "- {name: a, url: https://a, page: 'javascript:alert()'}": `f.yaml:4: a: page must be an http or https URL without a password`,
		head + "- {name: 'a b', file: c}\n":                              `f.yaml:4: name "a b" must consist of at most 253 letters, digits and ._:/@- characters`,
		head + "- {name: a, file: c, timeout: soon}\n":                   `f.yaml:4: timeout must be a duration such as 10s or 24h, got "soon"`,
		head + "- {name: a, file: c, timeout: 0s}\n":                     `f.yaml:4: a: timeout must be greater than 0, got 0s`,
		head + "- {name: a, file: c, maxAge: -1h}\n":                     `f.yaml:4: a: maxAge must be 0 or greater, got -1h0m0s`,
	} {
		_, err := Load("f.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestParseMember(t *testing.T) {
	for text, want := range map[string]Member{
		"a=dev.json":              {Name: "a", File: "dev.json"},
		"a=dir/x=y.json":          {Name: "a", File: "dir/x=y.json"},
		"a=https://kd:8443":       {Name: "a", URL: "https://kd:8443/api/v1/report", Page: "https://kd:8443/"},
		"a/b@c=http://[::1]:8080": {Name: "a/b@c", URL: "http://[::1]:8080/api/v1/report", Page: "http://[::1]:8080/"},
	} {
		want.Timeout, want.MaxAge = DefaultTimeout, DefaultMaxAge
		m, err := ParseMember(text)
		if err == nil {
			err = m.Complete()
		}
		if diff := cmp.Diff(want, m); err != nil || diff != "" {
			t.Errorf("%s: %v %s", text, err, diff)
		}
	}
	for _, text := range []string{
		"", "a", "a=", "=x", "https://user:secret@host/", "https://secret@host", "https://host/?token=secret", "https://user:secret@host/x=y",
		"user:secret@host/x", "https://user:sec/secret@host", "a b://user:secret@host", "https://user:12#secret@host", "https://\x7f:secret@host",
		"a=https://user:secret@host", "a=https://user:\x7fsecret@host", "user:secret@a b=c",
	} {
		m, err := ParseMember(text)
		if err == nil {
			err = m.Complete()
		}
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
	}
	if _, err := ParseMember("https://user:secret@host/x?y#z"); err == nil || err.Error() != `"https://xxxxx@host/x" must be NAME=FILE or NAME=URL` {
		t.Errorf("got %v", err)
	}
	if err := Check([]Member{{Name: "a"}, {Name: "b"}, {Name: "a"}}); err == nil || err.Error() != "cluster a is listed twice: each cluster needs a unique name" {
		t.Errorf("got %v", err)
	}
}
