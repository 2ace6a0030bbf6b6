package e2e_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
)

// TestAccess checks authentication and authorization of clients with a real API server. With the roles of the chart, the agent serves
// only permitted clients. Without one of its own two permissions it serves none, logs which one is missing, and recovers.
func TestAccess(t *testing.T) {
	auth := applyAuth(t)
	cert, key := servingPair(t)
	agent := startAgent(t, "agent", liveArgs(append(quickLease, "--metrics-auth", "--tls-cert-file", cert, "--tls-private-key-file", key)...)...)
	client := trusting(t, cert)

	// The kubelet probes health without a token.
	waitFor(t, "ready", 30*time.Second, func() error { return status(client, agent, "/readyz", "", 200) })
	for name, ask := range map[string]struct {
		path, token string
		want        int
	}{
		"no token":           {"/metrics", "", 401},
		"an unknown token":   {"/metrics", "made-up", 401},
		"an account without": {"/metrics", token(t, "stranger"), 403},
		// Every account may get /api/* by the ClusterRole system:discovery.
		"the report, without":  {"/api/v1/report", token(t, "stranger"), 403},
		"the agent's own":      {"/metrics", token(t, env.installation.Name), 403},
		"an account with":      {"/metrics", token(t, "reader"), 200},
		"health, with nothing": {"/healthz", "", 200},
	} {
		if err := status(client, agent, ask.path, ask.token, ask.want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	waitFor(t, "the report is there for who may read it", 30*time.Second, func() error {
		return status(client, agent, "/api/v1/report", token(t, "reader"), 200)
	})
	for _, resource := range []string{"tokenreviews", "subjectaccessreviews"} {
		t.Run("without "+resource, func(t *testing.T) {
			setAuth(t, auth, resource)
			fresh := token(t, "reader")
			waitFor(t, "all clients are rejected", 20*time.Second, func() error {
				fresh = token(t, "reader")
				return status(client, agent, "/metrics", fresh, 503)
			})
			waitFor(t, "one line says what is missing", 5*time.Second, func() error {
				return says(agent, `cannot create resource "`+resource+`"`)
			})
			setAuth(t, auth, "")
			waitFor(t, "it heals", 20*time.Second, func() error { return status(client, agent, "/metrics", fresh, 200) })
		})
	}
	newCert, newKey := servingPair(t)
	for from, to := range map[string]string{newCert: cert, newKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	renewed := trusting(t, cert)
	waitFor(t, "the renewed certificate is served", 10*time.Second, func() error { return status(renewed, agent, "/healthz", "", 200) })
}

// applyAuth grants the agent and the account reader the permissions of http.auth in the chart. It returns the rules of the agent.
func applyAuth(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	ctx := t.Context()
	helm, err := binaries.Helm(ctx, env.dir)
	if err != nil {
		t.Fatal(err)
	}
	root, err := binaries.Root()
	if err != nil {
		t.Fatal(err)
	}
	manifests := template(t, helm, filepath.Join(root, "deploy", "chart"), "--show-only", "templates/25-auth.yaml", "--set", "http.auth=true,http.tls.secretName=tls")
	if _, err := env.Kubectl(ctx, bytes.NewReader(manifests), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := env.Kubectl(context.WithoutCancel(ctx), bytes.NewReader(manifests), "delete", "--wait=false", "-f", "-"); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"reader", "stranger"} {
		newAccount(t, name)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: env.installation.Name + "-reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: env.installation.Name + "-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "reader", Namespace: env.installation.Name}},
	}
	if _, err := env.Admin.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Admin.RbacV1().ClusterRoleBindings().Delete(context.WithoutCancel(ctx), binding.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	role, err := env.Admin.RbacV1().ClusterRoles().Get(ctx, env.installation.Name+"-auth", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return role.Rules
}

// setAuth grants the agent these rules without the one for a resource.
func setAuth(t *testing.T, all []rbacv1.PolicyRule, but string) {
	t.Helper()
	role, err := env.Admin.RbacV1().ClusterRoles().Get(t.Context(), env.installation.Name+"-auth", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	role.Rules = nil
	for _, rule := range all {
		if rule.Resources[0] != but {
			role.Rules = append(role.Rules, rule)
		}
	}
	if _, err := env.Admin.RbacV1().ClusterRoles().Update(t.Context(), role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// token returns a new token of a ServiceAccount.
func token(t *testing.T, account string) string {
	t.Helper()
	answer, err := env.Admin.CoreV1().ServiceAccounts(env.installation.Name).CreateToken(t.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Token
}

// servingPair writes a new certificate of localhost and its key, and returns their paths.
func servingPair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	certificate := &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// trusting returns a client that trusts only one certificate, and opens a connection for each request.
func trusting(t *testing.T, cert string) *http.Client {
	t.Helper()
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"},
	}}
}

// status returns an error if the response to a request, with an optional token, does not have the wanted status.
func status(client *http.Client, agent *blackbox.Agent, path, token string, want int) error {
	request, err := http.NewRequest(http.MethodGet, "https://"+agent.Addr+path, nil)
	if err != nil {
		return err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != want {
		return fmt.Errorf("GET %s: %s %.200q, want %d", path, response.Status, strings.TrimSpace(string(body)), want)
	}
	return nil
}
