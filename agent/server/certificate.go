package server

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// certificatePeriod is how often, at the most, the files of a certificate are looked at: when somebody connects.
const certificatePeriod = time.Second

// cipherSuites are those of TLS 1.2: forward secrecy and authenticated encryption, without CBC. TLS 1.3 has no others.
var cipherSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// A Certificate is two files of PEM that may be renewed while the server runs. With both empty there is no TLS.
type Certificate struct {
	// CertFile has the certificate, and those between it and its root; KeyFile its private key.
	CertFile, KeyFile string
}

func (c Certificate) empty() bool { return c == Certificate{} }

// listen puts TLS over a listener, where there is a certificate. HTTP/1.1 alone is spoken: the permission to publish is
// bound to a connection's deadline.
func (c Certificate) listen(listener net.Listener, log *zap.Logger) (net.Listener, error) {
	if c.empty() {
		return listener, nil
	}
	pair := &keyPair{files: c, log: log}
	if err := pair.load(); err != nil {
		return nil, err
	}
	return tls.NewListener(listener, &tls.Config{
		MinVersion:   tls.VersionTLS12,
		CipherSuites: cipherSuites,
		NextProtos:   []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return pair.current(time.Now()), nil
		},
	}), nil
}

// A keyPair is the certificate in use. It follows its files, and keeps the last good pair.
type keyPair struct {
	files Certificate
	log   *zap.Logger

	mu        sync.Mutex
	looked    time.Time
	cert, key []byte // what the files held when they were last looked at
	loaded    *tls.Certificate
}

// current returns the certificate of the files.
func (p *keyPair) current(now time.Time) *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.looked) >= certificatePeriod {
		p.looked = now
		before := p.loaded
		if err := p.load(); err != nil {
			p.log.Error("the TLS certificate cannot be loaded; the last good one stays in use", zap.Error(err))
		} else if p.loaded != before {
			p.log.Info("the TLS certificate has changed", zap.Time("expires", p.loaded.Leaf.NotAfter))
		}
	}
	return p.loaded
}

// load takes over what is in the files. The two may be of two moments while they are replaced; then they do not fit, and
// the next look finds them whole. What was looked at before is no news, good or bad.
func (p *keyPair) load() error {
	cert, err := os.ReadFile(p.files.CertFile)
	if err != nil {
		return fmt.Errorf("read the TLS certificate: %w", err)
	}
	key, err := os.ReadFile(p.files.KeyFile)
	if err != nil {
		return fmt.Errorf("read the TLS private key: %w", err)
	}
	if p.loaded != nil && bytes.Equal(cert, p.cert) && bytes.Equal(key, p.key) {
		return nil
	}
	p.cert, p.key = cert, key
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("TLS certificate %s and key %s: %w", p.files.CertFile, p.files.KeyFile, err)
	}
	p.loaded = &pair
	return nil
}
