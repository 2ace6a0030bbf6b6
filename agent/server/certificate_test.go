package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// newPair makes a certificate of 127.0.0.1 with a serial number, and its key, in PEM.
func newPair(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// pairFiles writes a pair into files of a directory.
func pairFiles(t *testing.T, dir string, cert, key []byte) Certificate {
	t.Helper()
	files := Certificate{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	for path, text := range map[string][]byte{files.CertFile: cert, files.KeyFile: key} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestTLS: every page is served with TLS, and none without.
func TestTLS(t *testing.T) {
	cert, key := newPair(t, 7)
	o := options()
	o.Publish = granted
	o.Certificate = pairFiles(t, t.TempDir(), cert, key)
	addr, stop := start(t, o)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, ForceAttemptHTTP2: true,
	}
	for path, want := range map[string]string{
		"/healthz": "OK", "/readyz": "READY", "/metrics": processText + scoresText, "/api/v1/report": reportText,
	} {
		response, err := (&http.Client{Transport: transport}).Get("https://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(body) != want || response.Proto != "HTTP/1.1" {
			t.Errorf("%s: %s %q (%v), want HTTP/1.1 %q", path, response.Proto, body, err, want)
		}
	}
	transport.CloseIdleConnections()
	if got, err := fetch("GET", "http://"+addr+"/healthz"); err == nil && got.Status != http.StatusBadRequest {
		t.Errorf("without TLS: %+v, want a refusal", got)
	}
	_, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: "localhost", MaxVersion: tls.VersionTLS11})
	if err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestCertificateFollowsItsFiles renews, breaks and repairs a certificate.
func TestCertificateFollowsItsFiles(t *testing.T) {
	dir := t.TempDir()
	cert1, key1 := newPair(t, 1)
	cert2, key2 := newPair(t, 2)
	core, logs := observer.New(zap.InfoLevel)
	pair := &keyPair{files: pairFiles(t, dir, cert1, key1), log: zap.New(core)}
	if err := pair.load(); err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	for _, step := range []struct {
		name      string
		cert, key []byte // nil: the files are taken away
		later     time.Duration
		serial    int64
		log       string // the lines that are new, by their messages
	}{
		{"unchanged", cert1, key1, certificatePeriod, 1, ""},
		{"within the period", cert2, key2, certificatePeriod / 2, 1, ""},
		{"renewed", cert2, key2, certificatePeriod, 2, "the TLS certificate has changed\n"},
		{"half replaced", cert1, key2, certificatePeriod, 2, "the TLS certificate cannot be loaded; the last good one stays in use\n"},
		{"still half replaced, logged once", cert1, key2, certificatePeriod, 2, ""},
		{"complete", cert1, key1, certificatePeriod, 1, "the TLS certificate has changed\n"},
		{"not PEM", []byte("nonsense"), key1, certificatePeriod, 1, "the TLS certificate cannot be loaded; the last good one stays in use\n"},
		{"gone", nil, nil, certificatePeriod, 1, "the TLS certificate cannot be loaded; the last good one stays in use\n"},
		{"back", cert2, key2, certificatePeriod, 2, "the TLS certificate has changed\n"},
	} {
		now = now.Add(step.later)
		if step.cert == nil {
			for _, path := range []string{pair.files.CertFile, pair.files.KeyFile} {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			pairFiles(t, dir, step.cert, step.key)
		}
		if got := pair.current(now).Leaf.SerialNumber.Int64(); got != step.serial {
			t.Errorf("%s: certificate %d, want %d", step.name, got, step.serial)
		}
		var said bytes.Buffer
		for _, line := range logs.TakeAll() {
			said.WriteString(line.Message + "\n")
		}
		if said.String() != step.log {
			t.Errorf("%s: logged %q, want %q", step.name, said.String(), step.log)
		}
	}
}

// TestInvalidCertificate: the server does not start, and releases its address.
func TestInvalidCertificate(t *testing.T) {
	cert, key := newPair(t, 1)
	_, otherKey := newPair(t, 2)
	whole := pairFiles(t, t.TempDir(), cert, key)
	for name, test := range map[string]struct {
		files Certificate
		want  string
	}{
		"no certificate":    {Certificate{CertFile: "absent", KeyFile: whole.KeyFile}, "read the TLS certificate: open absent"},
		"no key":            {Certificate{CertFile: whole.CertFile, KeyFile: "absent"}, "read the TLS private key: open absent"},
		"another's key":     {pairFiles(t, t.TempDir(), cert, otherKey), "private key does not match public key"},
		"the two exchanged": {pairFiles(t, t.TempDir(), key, cert), "tls: "},
	} {
		o := options()
		o.Certificate = test.files
		o.Listen = "127.0.0.1:0"
		_, err := New(o)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", name, err, test.want)
		}
	}
}

// TestCipherSuites: TLS 1.2 clients that offer only CBC are refused.
func TestCipherSuites(t *testing.T) {
	cert, key := newPair(t, 1)
	o := options()
	o.Certificate = pairFiles(t, t.TempDir(), cert, key)
	addr, _ := start(t, o)
	handshake := func(suites ...uint16) error {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: suites})
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if !strings.Contains(suite.Name, "ECDSA") {
			continue // not for this certificate
		}
		err := handshake(suite.ID)
		if weak := strings.Contains(suite.Name, "_CBC_") || suite.Insecure; (err != nil) != weak {
			t.Errorf("%s: error %v, want a refusal: %t", suite.Name, err, weak)
		}
	}
	if err := handshake(); err != nil {
		t.Errorf("a client with the usual suites: %v", err)
	}
}
