package server

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"go.uber.org/zap"
)

// certificatePeriod is the minimum time between two reads of the certificate's files, which connections trigger.
const certificatePeriod = time.Second

// cipherSuites are those of TLS 1.2 with forward secrecy and authenticated encryption, without CBC. Those of TLS 1.3 all are.
var cipherSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// A Certificate is two PEM files, which may be renewed while the server runs. If both are empty the server does not use TLS.
type Certificate struct {
	// CertFile holds the certificate and its intermediates, KeyFile the private key.
	CertFile, KeyFile string
}

func (c Certificate) empty() bool { return c == Certificate{} }

// listen adds TLS to a listener if there is a certificate. It offers only HTTP/1.1, because the leader gate sets the deadline
// of the whole connection.
func (c Certificate) listen(listener net.Listener, log *zap.Logger) (net.Listener, error) {
	if c.empty() {
		return listener, nil
	}
	pair := &keyPair{files: c, log: log}
	if err := pair.load(); err != nil {
		return nil, err
	}
	return tls.NewListener(fairListener{listener}, &tls.Config{
		MinVersion:   tls.VersionTLS12,
		CipherSuites: cipherSuites,
		NextProtos:   []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return pair.current(time.Now()), nil
		},
	}), nil
}

// A keyPair is the certificate in use. It follows its files, and keeps the last valid pair.
type keyPair struct {
	files Certificate
	log   *zap.Logger

	mu        sync.Mutex
	checked   time.Time
	cert, key []byte // the content of the files when they were last read
	loaded    *tls.Certificate
}

// current returns the certificate of the files.
func (p *keyPair) current(now time.Time) *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.checked) >= certificatePeriod {
		p.checked = now
		before := p.loaded
		if err := p.load(); err != nil {
			p.log.Error("the TLS certificate cannot be loaded; the last good one stays in use", zap.Error(err))
		} else if p.loaded != before {
			p.log.Info("the TLS certificate has changed", zap.Time("expires", p.loaded.Leaf.NotAfter))
		}
	}
	return p.loaded
}

// load loads the files if they have changed since the last call, whether that succeeded or not. While the files are being
// replaced they may not match each other; the next call finds the complete pair.
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

// A fairListener accepts a connection only after the goroutines that are ready to run have run. Without it the server
// accepts a burst of connections faster than it can make their TLS handshakes: the handshakes fill the scheduler's queue, and
// the connection limit closes connections, probes among them, before they are read. With it the burst waits in the kernel's
// accept queue of this address, in order, and does not delay other addresses. Plain HTTP has no handshakes, and is better off
// without: there a burst would only wait for the answers to the requests before it.
type fairListener struct{ net.Listener }

func (l fairListener) Accept() (net.Conn, error) {
	runtime.Gosched()
	return l.Listener.Accept()
}
