package rules

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const sha = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestEffectiveTag(t *testing.T) {
	tests := []struct {
		image, want string
		reference   bool
	}{
		{"nginx", "latest", true},
		{"nginx:latest", "latest", true},
		{"nginx:1.25", "1.25", true},
		{"reg:5000/app", "latest", true},
		{"reg:5000/app:latest", "latest", true},
		{"reg:5000/app:v1", "v1", true},
		{"app@" + sha, "", true},
		{"app:latest@" + sha, "", true},
		{"app:v1@" + sha, "", true},
		{"registry.example.com/team/app", "latest", true},
		{"Registry.Example.com/team/app:V1", "V1", true},
		{"localhost:5000", "5000", true}, // by the grammar a tag
		{"[2001:db8::1]:5000/app:v1", "v1", true},
		{"a__b/c--d/e.f:1", "1", true},
		{"", "", false},
		{":latest", "", false},
		{"nginx:", "", false},
		{"Nginx", "", false},
		{"nginx: latest", "", false},
		{"nginx:.1", "", false},
		{"nginx@latest", "", false},
		{"app@SHA512+b64u:" + strings.Repeat("0aF", 11), "", true},
		{"app@a.b_c-d1+e2:" + strings.Repeat("0", 32), "", true},
		{"app@sha256:" + strings.Repeat("0", 31), "", false},
		{"app@sha256:" + strings.Repeat("g", 32), "", false},
		{"app@1sha:" + strings.Repeat("0", 32), "", false},
		{"app@sha+:" + strings.Repeat("0", 32), "", false},
		{"app@sha+2:" + strings.Repeat("0", 32), "", false},
		{"app@sha++b:" + strings.Repeat("0", 32), "", false},
		{"app@sha!:" + strings.Repeat("0", 32), "", false},
		{"app@:" + strings.Repeat("0", 32), "", false},
		{"app@" + sha + "@" + sha, "", false},
		{"reg:5000/" + strings.Repeat("a", 255), "latest", true},
		{"reg:5000/" + strings.Repeat("a", 256), "", false},
		{"nginx@sha256:abc", "", false},
		{"reg:port/app", "", false},
		{"a/", "", false},
		{"/a", "", false},
		{"a//b", "", false},
		{"a_._b", "", false},
		{"a___b", "", false},
		{"a..b", "", false},
		{"a-", "", false},
		{"nginx:" + strings.Repeat("a", 128), strings.Repeat("a", 128), true},
		{"nginx:" + strings.Repeat("a", 129), "", false},
	}
	for _, test := range tests {
		t.Run(test.image, func(t *testing.T) {
			got, ok := effectiveTag(test.image)
			if got != test.want || ok != test.reference {
				t.Errorf("%q, %t; want %q, %t", got, ok, test.want, test.reference)
			}
		})
	}
}

// The grammar as the OCI distribution project writes it, put together from its parts.
var referenceGrammar = func() *regexp.Regexp {
	const (
		label     = `(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])`
		host      = `(?:` + label + `(?:\.` + label + `)*|\[(?:[a-fA-F0-9:]+)\])`
		domain    = host + `(?::[0-9]+)?`
		component = `[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*`
		path      = component + `(?:/` + component + `)*`
		tag       = `[\w][\w.-]{0,127}`
		digest    = `[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}`
	)
	return regexp.MustCompile(`^((?:` + domain + `/)?` + path + `)(?::(` + tag + `))?(?:@(` + digest + `))?$`)
}()

func TestEffectiveTagAgainstTheGrammar(t *testing.T) {
	part := rapid.SampledFrom([]string{"a", "b1", "Reg", "0", ".", "-", "_", "__", ":", "/", "@", "5000", "latest", "v1.2", "[::1]", "A", "é", " ", sha, "sha512+b:"})
	rapid.Check(t, func(t *rapid.T) {
		image := strings.Join(rapid.SliceOfN(part, 0, 9).Draw(t, "parts"), "")
		want, reference := "", false
		if m := referenceGrammar.FindStringSubmatch(image); m != nil {
			reference = true
			switch {
			case m[3] != "":
			case m[2] != "":
				want = m[2]
			default:
				want = "latest"
			}
		}
		if got, ok := effectiveTag(image); got != want || ok != reference {
			t.Fatalf("%q: %q, %t; the grammar says %q, %t", image, got, ok, want, reference)
		}
	})
}
