//go:build linux

package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
)

// viewer is the account of the user of the plugin.
const viewer = "viewer"

// plugin runs kubectl governance with a kubeconfig: the plugin is found by its name in the PATH.
func plugin(ctx context.Context, kubeconfig string, args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := pluginCommand(ctx, kubeconfig, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func pluginCommand(ctx context.Context, kubeconfig string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(env.bin, "kubectl"), append([]string{"governance", "--kubeconfig", kubeconfig}, args...)...)
	cmd.Env = []string{"PATH=" + env.path("plugins") + ":" + os.Getenv("PATH"), "HOME=" + env.dir}
	return cmd
}

// kubeconfigOf is a kubeconfig of an account, by a token of an hour.
func kubeconfigOf(t *testing.T, account string) string {
	t.Helper()
	config := api.NewConfig()
	config.Clusters["node"] = &api.Cluster{Server: "https://127.0.0.1", CertificateAuthority: env.path("apiserver.crt")}
	config.AuthInfos[account] = &api.AuthInfo{Token: token(t, account)}
	config.Contexts["node"] = &api.Context{Cluster: "node", AuthInfo: account}
	config.CurrentContext = "node"
	path := filepath.Join(t.TempDir(), account+".kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// documentedRights are the roles and bindings of deploy/README.md, for the account instead of the group of developers.
func documentedRights(t *testing.T) string {
	t.Helper()
	root, err := binaries.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)<!-- rights of kubectl governance -->\n```yaml\n(.*?)```").FindSubmatch(text)
	if found == nil {
		t.Fatal("deploy/README.md does not have the rights of kubectl governance")
	}
	group := "{kind: Group, name: developers, apiGroup: rbac.authorization.k8s.io}"
	account := fmt.Sprintf("{kind: ServiceAccount, name: %s, namespace: %s}", viewer, product)
	if strings.Count(string(found[1]), group) != 3 {
		t.Fatalf("the rights are not bound to %s:\n%s", group, found[1])
	}
	return strings.ReplaceAll(string(found[1]), group, account)
}

// installPlugin makes the program the plugin of kubectl, and gives the viewer the documented rights.
func installPlugin(t *testing.T) {
	if err := os.MkdirAll(env.path("plugins"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(env.path("kube-devops"), env.path("plugins/kubectl-governance")); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "", "-n", product, "create", "serviceaccount", viewer)
	kubectl(t, documentedRights(t), "apply", "-f", "-")
}

// asksByPlugin asks the leader as a user with the documented rights and no others, over a real port-forward.
func asksByPlugin(t *testing.T) {
	installPlugin(t)
	user := kubeconfigOf(t, viewer)
	var scores, report map[string]any
	eventually(t, "the plugin prints the scores of the leader", 20*time.Second, func() error {
		out, stderr, err := plugin(t.Context(), user, "score", "-o", "json")
		if err != nil {
			return fmt.Errorf("%w: %s", err, stderr)
		}
		return json.Unmarshal([]byte(out), &scores)
	})
	lead, standby, err := leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, body, err := get(lead, "/api/v1/report")
	if err := errors.Join(err, json.Unmarshal([]byte(body), &report)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"policy", "cluster", "namespaces"} {
		if !reflect.DeepEqual(scores[part], report[part]) {
			t.Errorf("%s: the plugin prints %v, the leader has %v", part, scores[part], report[part])
		}
	}
	for command, want := range map[string]string{
		"score":             "NAMESPACE ",
		"explain shop":      "HOW TO FIX",
		"waivers":           " waived.",
		"score --port 8080": "Cluster: compliance ",
	} {
		begun := time.Now()
		out, stderr, err := plugin(t.Context(), user, strings.Fields(command)...)
		if err != nil || !strings.Contains(out, want) || stderr != "" {
			t.Errorf("kubectl governance %s: %v\n%s%s", command, err, out, stderr)
		}
		t.Logf("kubectl governance %s: %s", command, time.Since(begun).Round(time.Millisecond))
	}
	for flags, want := range map[string]string{
		"--port 81":                "connection refused",
		"--pod " + standby[0].Name: "the agent has no data at the moment",
		"--lease-name other":       "your user lacks the permission: get on leases.coordination.k8s.io other in namespace kube-devops or default",
		"--namespace default":      "your user lacks the permission: get on pods in namespace default",
	} {
		if _, stderr, err := plugin(t.Context(), user, append([]string{"score"}, strings.Fields(flags)...)...); err == nil || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("kubectl governance score %s: %v, %q, want %q", flags, err, stderr, want)
		}
	}
	if _, stderr, err := plugin(t.Context(), env.path("admin.kubeconfig"), "score", "--lease-name", "other"); err == nil || !strings.Contains(stderr, "there is no Lease other in namespace kube-devops or default") {
		t.Errorf("no Lease: %v, %q", err, stderr)
	}
	lackingRights(t, user)
}

// lackingRights takes the rights away one by one. Each error names the right.
func lackingRights(t *testing.T, user string) {
	rights := documentedRights(t)
	says := func(what, want string) {
		t.Helper()
		eventually(t, what, 20*time.Second, func() error {
			out, stderr, err := plugin(t.Context(), user, "score")
			if want == "" && err == nil {
				return nil
			}
			if want == "" || err == nil || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
				return fmt.Errorf("%w: %q %q, want %q", err, out, stderr, want)
			}
			return nil
		})
	}
	for _, test := range []struct{ what, with, without, want string }{
		{"no Lease", "resources: [leases]", "resources: [none]", "lacks the permission: get on leases.coordination.k8s.io kube-devops-leader in namespace kube-devops or default"},
		{"no pods", "resources: [pods]", "resources: [none]", "lacks the permission: get on pods in namespace kube-devops"},
		{"no port-forward", "resources: [pods/portforward]", "resources: [none]", "lacks the permission: create and get on pods/portforward in namespace kube-devops"},
		// An API server before WebSockets needs create alone, and so do the older clients.
		{"SPDY alone", "resources: [pods/portforward], verbs: [create, get]", "resources: [pods/portforward], verbs: [create]", ""},
	} {
		changed := strings.Replace(rights, test.with, test.without, 1)
		if changed == rights {
			t.Fatalf("the rights have no %q:\n%s", test.with, rights)
		}
		kubectl(t, changed, "apply", "-f", "-")
		says(test.what, test.want)
	}
	kubectl(t, rights, "apply", "-f", "-")
	says("all rights again", "")
}

// An openPage is kubectl governance open, and a browser.
type openPage struct {
	url     string
	browser *http.Client
}

// open runs kubectl governance open until the test ends.
func open(t *testing.T, user string) *openPage {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := pluginCommand(ctx, user, "open", "--no-browser")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		cancel()
		_ = cmd.Wait()
		t.Fatalf("no URL: %s", stderr.String())
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &openPage{strings.TrimSpace(line), &http.Client{Jar: jar, Timeout: 10 * time.Second}}
}

// get requests the page of the URL, or another one of it.
func (p *openPage) get(path string) (int, string, error) {
	url := p.url
	if path != "" {
		base, _, _ := strings.Cut(url, "/?")
		url = base + path
	}
	res, err := p.browser.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// openSurvives keeps the page open while the leader is deleted: it shows the next leader's, without another command.
func openSurvives(t *testing.T) {
	page := open(t, kubeconfigOf(t, viewer))
	if status, text, err := page.get(""); err != nil || status != http.StatusOK || !strings.Contains(text, "<html") {
		t.Fatalf("the page: %d %.200q %v", status, text, err)
	}
	lead, _, err := leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, "", "-n", product, "delete", "pod", lead.Name)
	begun := time.Now()
	eventually(t, "the page of the next leader", 30*time.Second, func() error {
		status, text, err := page.get("/api/v1/report")
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("%d %.200q %w", status, text, err)
		}
		return nil
	})
	t.Logf("the report of the next leader after %s", time.Since(begun).Round(time.Millisecond))
	kubectl(t, "", "-n", product, "rollout", "status", "deployment/"+product, "--timeout=60s")
}

// guardedPlugin asks an agent that wants TLS and a token. The user's own token is sent to it.
func guardedPlugin(t *testing.T) {
	user := kubeconfigOf(t, viewer)
	eventually(t, "the plugin sends the token of the user", 20*time.Second, func() error {
		out, stderr, err := plugin(t.Context(), user, "score")
		if err != nil || !strings.Contains(out, "Cluster: compliance ") {
			return fmt.Errorf("%w: %s%s", err, out, stderr)
		}
		return nil
	})
	if status, text, err := open(t, user).get(""); err != nil || status != http.StatusOK || !strings.Contains(text, "<html") {
		t.Errorf("the page: %d %.200q %v", status, text, err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte(kubectl(t, "", "-n", product, "get", "secret", secret, "-o", "go-template={{index .data \"tls.crt\" | base64decode}}")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := plugin(t.Context(), user, "score", "--agent-ca", ca); err != nil {
		t.Errorf("with the CA of the agent: %v %s", err, stderr)
	}
	if _, stderr, err := plugin(t.Context(), user, "score", "--agent-ca", env.path("apiserver.crt")); err == nil || !strings.Contains(stderr, "certificate") {
		t.Errorf("with another CA: %v %q", err, stderr)
	}
	kubectl(t, "", "delete", "clusterrolebinding", "governance-viewer")
	eventually(t, "the user may not read the page any more", 90*time.Second, func() error {
		_, stderr, err := plugin(t.Context(), user, "score")
		if want := "your user lacks the permission: get on the non-resource URL /api/v1/report"; err == nil || !strings.Contains(stderr, want) {
			return fmt.Errorf("%w: %q", err, stderr)
		}
		return nil
	})
}
