//go:build linux

package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	secret = "serving"
	// agentHost is in the certificate, because the addresses of the pods are not known in advance.
	agentHost = product + "." + product + ".svc"
)

// closed upgrades to TLS and authorization. The kubelet probes both replicas over HTTPS without a token. Metrics and report require the
// token of an authorized account.
func closed(t *testing.T) {
	certificate, key := servingPair(t)
	pair := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: secret}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key},
	}
	if _, err := env.Admin.CoreV1().Secrets(product).Create(t.Context(), pair, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"reader", "stranger"} {
		kubectl(t, "", "-n", product, "create", "serviceaccount", name)
	}
	deploy(t, "upgrade", "--reset-then-reuse-values", "--set", "http.auth=true,http.tls.secretName="+secret)
	kubectl(t, "", "create", "clusterrolebinding", "reader", "--clusterrole", product+"-metrics-reader", "--serviceaccount", product+":reader")
	trust(t, certificate)
	eventually(t, "the new replicas alone are there", time.Minute, func() error { return probedByHTTPS(t) })
	eventually(t, "the leader publishes to who may read", time.Minute, func() error { return publishedTo(t, token(t, "reader")) })
	all, err := pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range all {
		for _, ask := range []struct {
			who, path, token string
			want             int
		}{
			{"anonymous", "/metrics", "", http.StatusUnauthorized},
			{"anonymous", "/api/v1/report", "", http.StatusUnauthorized},
			{"a made-up token", "/metrics", "made-up", http.StatusUnauthorized},
			{"an account without permission", "/metrics", token(t, "stranger"), http.StatusForbidden},
			{"an account without permission", "/api/v1/report", token(t, "stranger"), http.StatusForbidden},
			{"an account with permission", "/metrics", token(t, "reader"), http.StatusOK},
			{"the kubelet, which has no token", "/readyz", "", http.StatusOK},
		} {
			if status, body, err := getAs(pod, ask.path, ask.token); err != nil || status != ask.want {
				t.Errorf("%s asks %s for %s: %d %q (%v), want %d", ask.who, pod.Name, ask.path, status, body, err, ask.want)
			}
		}
	}
}

// servingPair makes a certificate, which is its own root, and its key.
func servingPair(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), DNSNames: []string{agentHost},
	}
	der, err1 := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	keyDER, err2 := x509.MarshalECPrivateKey(private)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

// trust makes the scraper trust only this certificate until the test ends.
func trust(t *testing.T, certificate []byte) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(certificate) {
		t.Fatal("the certificate is none")
	}
	scraper.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: agentHost}}
	t.Cleanup(func() { scraper.Transport = nil })
}

// probedByHTTPS is nil where two replicas are there, Ready, and probed by HTTPS.
func probedByHTTPS(t *testing.T) error {
	all, err := pods(t.Context())
	if err != nil {
		return err
	}
	for _, pod := range all {
		if probe := pod.Spec.Containers[0].ReadinessProbe.HTTPGet; probe.Scheme != corev1.URISchemeHTTPS || !isReady(pod) {
			return fmt.Errorf("%s is probed by %s, and Ready is %t", pod.Name, probe.Scheme, isReady(pod))
		}
	}
	if len(all) != 2 {
		return fmt.Errorf("%d replicas, want 2", len(all))
	}
	return nil
}

// publishedTo is nil where one replica shows scores to the bearer of the token, and the report beside them.
func publishedTo(t *testing.T, token string) error {
	all, err := pods(t.Context())
	if err != nil {
		return err
	}
	var reports, scores int
	for _, pod := range all {
		status, _, err := getAs(pod, "/api/v1/report", token)
		if err != nil {
			return err
		}
		if status == http.StatusOK {
			reports++
		}
		_, metrics, err := getAs(pod, "/metrics", token)
		if err != nil {
			return err
		}
		if strings.Contains(metrics, "\ncluster_health_score ") {
			scores++
		}
	}
	if reports != 1 || scores != 1 {
		return fmt.Errorf("%d of %d replicas have a report and %d have scores, want one", reports, len(all), scores)
	}
	return nil
}

// token is one that the API server issues to an account, as it does to a pod.
func token(t *testing.T, account string) string {
	t.Helper()
	hour := int64(3600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}
	answer, err := env.Admin.CoreV1().ServiceAccounts(product).CreateToken(t.Context(), account, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Token
}
