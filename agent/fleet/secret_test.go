package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestSecrets checks that answers do not contain a token or query that a server repeats, and that the link to a page has no query.
func TestSecrets(t *testing.T) {
	token := "eyJhbGciOiJSUzI1NiJ9." + strings.Repeat("abc+/", 100) + "=="
	file := write(t, "token", token)
	repeat := func(status int, before string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			sent := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			_, _ = fmt.Fprint(w, before, sent, " ", url.QueryEscape(sent), " ", r.URL.RawQuery, " ", r.URL.Query().Get("sig"))
		}
	}
	handle := http.NewServeMux()
	handle.Handle("/echo/", repeat(500, "bad https://user:password@x/ "))
	handle.Handle("/cut/", repeat(500, strings.Repeat("a ", 190)))
	handle.Handle("/standby/", repeat(503, standbyText))
	handle.Handle("/report/", repeat(200, "<"))
	handle.HandleFunc("/moved/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "https://user:password@elsewhere/"+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		w.WriteHeader(302)
	})
	server := httptest.NewServer(handle)
	defer server.Close()
	var members []Member
	for i, path := range []string{"echo", "cut", "standby", "report", "moved"} {
		members = append(members, Member{Name: fmt.Sprint("m", i), URL: server.URL + "/" + path + "?sig=signature+of+mine&v=1#frag-ment", TokenFile: file})
	}
	answers, _ := readAll(t, members...)
	for i, got := range answers {
		for _, secret := range []string{"eyJ", "abc", "2BF", "2F", "signature", "password"} {
			if strings.Contains(got.Reason, secret) {
				t.Errorf("%s: %s", members[i].URL, got.Reason)
			}
		}
		if got.State == Current || !strings.Contains(got.Reason, "(hidden)") && i != 3 {
			t.Errorf("%s: %+v", members[i].URL, got)
		}
		if page := members[i].Page; strings.ContainsAny(page, "?#") || !strings.HasPrefix(page, server.URL) {
			t.Errorf("the page is %s", page)
		}
	}
	if want := "status 500 bad https://xxxxx@x/ (hidden) (hidden) sig=(hidden)&v=1 (hidden)"; answers[0].Reason != want {
		t.Errorf("got  %s\nwant %s", answers[0].Reason, want)
	}
}

// TestMalformedRedirect checks that an error does not repeat the secrets of a redirect's address.
func TestMalformedRedirect(t *testing.T) {
	for location, want := range map[string]string{
		"https://user:password@elsewhere/\x1b[31m?t=1": "the header of the response is not valid",
		"https://user:password@elsewhere/%zz?t=1":      "the server redirects to another address: use that address",
		"https://user:password@elsewhere/x?t=1":        "the server redirects to https://elsewhere/x: use that address",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack() // a ResponseWriter replaces control characters
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 302 Found\r\nLocation: "+location+"\r\nContent-Length: 0\r\n\r\n")
			_ = conn.Close()
		}))
		answers, _ := readAll(t, Member{Name: "a", URL: server.URL})
		server.Close()
		if got := answers[0].Reason; got != want {
			t.Errorf("%q: got %q, want %q", location, got, want)
		}
	}
}

// TestUnknownCA checks that the error names the flag.
func TestUnknownCA(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	other := write(t, "ca.pem", newCA(t))
	answers, _ := readAll(t, Member{Name: "none", URL: server.URL}, Member{Name: "other", URL: server.URL, CAFile: other})
	for i, want := range []string{
		"set the file with the CA of the server: --ca-file none=FILE, or caFile in the configuration",
		other + " does not contain the CA of the server's certificate (--ca-file, caFile)",
	} {
		if got := answers[i].Reason; !strings.HasSuffix(got, want) || !strings.Contains(got, "unknown authority") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// newCA returns a new CA certificate, which has not signed any other certificate.
func newCA(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
}
