package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// clusterWithAgent returns the kubeconfig of an API server with one agent at an address, the leader.
func clusterWithAgent(t *testing.T, address string) (api *fakeapi.Forwarder, kubeconfig string) {
	t.Helper()
	api = fakeapi.NewForwarder()
	server := httptest.NewServer(api)
	t.Cleanup(func() {
		api.CloseAll()
		server.Close()
	})
	api.Put(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-devops", Name: "kube-devops-7d9f-x2x4z"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}, func(string) (net.Conn, error) { return net.Dial("tcp", address) })
	holder := "kube-devops-7d9f-x2x4z_abc"
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kube-devops-leader"}}
	lease.Spec.HolderIdentity = &holder
	if _, err := api.Leases.Create(lease); err != nil {
		t.Fatal(err)
	}
	return api, writeKubeconfig(t, server.URL)
}

// plugin runs the kubectl plugin.
func plugin(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err output
	code = execute(ctx, newPluginCommand(), args, strings.NewReader(""), &out, &err) //nolint:contextcheck // cobra passes the context
	return code, out.String(), err.String()
}

// TestGovernance queries an agent that serves a recording, through the port-forward of an API server.
func TestGovernance(t *testing.T) {
	waivers := filepath.Join(t.TempDir(), "waivers.yaml")
	text := `{apiVersion: kube-devops.io/v1, kind: Waivers, waivers: [{id: soon, reason: replaced soon, expires: 2999-01-31, check: latest_tag, namespace: legacy}]}`
	if err := os.WriteFile(waivers, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	agent := startAgent(t, "--replay", shop, "--waivers", waivers)
	agent.waitReady(t)
	defer agent.stop(t)
	_, kubeconfig := clusterWithAgent(t, agent.addr)
	ask := func(args ...string) string {
		t.Helper()
		code, stdout, stderr := plugin(t.Context(), append(args, "--kubeconfig", kubeconfig)...)
		if code != exitDone || stderr != "" {
			t.Fatalf("%s: code %d, %q", args, code, stderr)
		}
		return stdout
	}
	_, served := agent.get(t, "/api/v1/report")
	var report, scores, explained struct {
		Policy     any              `json:"policy"`
		Cluster    any              `json:"cluster"`
		Namespaces any              `json:"namespaces"`
		Namespace  map[string]any   `json:"namespace"`
		Violations []map[string]any `json:"violations"`
	}
	decode := func(text string, into any) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	decode(served, &report)
	decode(ask("score", "-o", "json"), &scores)
	for _, part := range [][2]any{{report.Policy, scores.Policy}, {report.Cluster, scores.Cluster}, {report.Namespaces, scores.Namespaces}} {
		if want, got := toJSON(t, part[0]), toJSON(t, part[1]); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	decode(ask("explain", "search", "-o", "json"), &explained)
	wanted := 0
	for _, v := range report.Violations {
		if v["namespace"] == "search" {
			wanted++
		}
	}
	if len(explained.Violations) != wanted || wanted == 0 || explained.Namespace["namespace"] != "search" {
		t.Errorf("explained %v with %d violations, want %d", explained.Namespace, len(explained.Violations), wanted)
	}
	for command, parts := range map[string][]string{
		"score":          {"Cluster: compliance ", "NAMESPACE", "search "},
		"explain search": {"Namespace search: compliance ", "FINDINGS, WORST FIRST", "HOW TO FIX", "latest_tag"},
		"waivers":        {" waived.", "WAIVED BY", "2999-01-31", "latest_tag "},
	} {
		text := ask(strings.Fields(command)...)
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("%s does not print %q:\n%s", command, part, text)
			}
		}
	}
	if code, _, stderr := plugin(t.Context(), "explain", "serch", "--kubeconfig", kubeconfig); code != exitFailed || stderr != "kube-devops: no pods in namespace \"serch\"; did you mean \"search\"?\n" {
		t.Errorf("code %d, %q", code, stderr)
	}
	if _, words, _ := plugin(t.Context(), "__complete", "explain", "--kubeconfig", kubeconfig, ""); !strings.Contains(words, "search\n") {
		t.Errorf("the shell completes %q", words)
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestGovernanceErrors checks that each error of the agent becomes one line that says what is missing.
func TestGovernanceErrors(t *testing.T) {
	status, text := 0, ""
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	defer agent.Close()
	api, kubeconfig := clusterWithAgent(t, agent.Listener.Addr().String())
	for _, test := range []struct {
		status int
		text   string
		want   string
	}{
		{http.StatusForbidden, "forbidden", "your user lacks the permission: get on the non-resource URL /api/v1/report and on /metrics"},
		{http.StatusServiceUnavailable, "this replica does not hold the lease\n", "the agent has no data at the moment: this replica does not hold the lease"},
		{http.StatusNotFound, "", "the agent does not serve /api/v1/report: upgrade the agent, or set its port with --port"},
		{http.StatusInternalServerError, "a\nb", `the agent returned status 500 for /api/v1/report: a b`},
		{http.StatusOK, `{"policy":{}`, "not a report: the JSON ends early: unexpected EOF"},
		{http.StatusOK, `[]`, `not a report: "{" is missing`},
		{http.StatusOK, `{"version":2,"policy":{},"cluster":{},"namespaces":[]}`, "not a report: its version is 2, this program reads version 1: upgrade it"},
	} {
		status, text = test.status, test.text
		if code, stdout, stderr := plugin(t.Context(), "score", "--kubeconfig", kubeconfig); code != exitFailed || stdout != "" || stderr != "kube-devops: "+test.want+"\n" {
			t.Errorf("code %d, %q, want %q", code, stderr, test.want)
		}
	}
	api.Deny("portforward")
	if code, _, stderr := plugin(t.Context(), "open", "--no-browser", "--kubeconfig", kubeconfig); code != exitFailed || !strings.Contains(stderr, "your user lacks the permission: create and get on pods/portforward in namespace kube-devops") {
		t.Errorf("code %d, %q", code, stderr)
	}
	for flags, want := range map[string]string{
		"--port 70000":           "--port must be from 1 to 65535, got 70000",
		"--request-timeout 0s":   "--request-timeout must be greater than 0, got 0s",
		"--namespace=":           "--namespace and --lease-name must not be empty",
		"--agent-server-name x":  "--agent-server-name needs --agent-ca",
		"--agent-ca /no/such/ca": "--agent-ca: open /no/such/ca: no such file or directory",
	} {
		if code, _, stderr := plugin(t.Context(), append([]string{"score", "--kubeconfig", kubeconfig}, strings.Fields(flags)...)...); code != exitFailed || !strings.Contains(stderr, want) {
			t.Errorf("%s: code %d, %q", flags, code, stderr)
		}
	}
}

// TestGovernanceOpen checks that the command prints a URL that serves the pages of the agent until the command is stopped.
func TestGovernanceOpen(t *testing.T) {
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "page "+r.URL.Path) }))
	defer agent.Close()
	_, kubeconfig := clusterWithAgent(t, agent.Listener.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr output
	ended := make(chan int, 1)
	go func() {
		//nolint:contextcheck // cobra passes the context
		ended <- execute(ctx, newPluginCommand(), []string{"open", "--no-browser", "--kubeconfig", kubeconfig}, strings.NewReader(""), &stdout, &stderr)
	}()
	waitFor(t, "the URL", func() bool { return strings.HasSuffix(stdout.String(), "\n") })
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	url := strings.TrimSpace(stdout.String())
	base, _, _ := strings.Cut(url, "?")
	for _, page := range []string{url, base + "waivers"} {
		response, err := client.Get(page)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusOK || string(text) != "page "+response.Request.URL.Path {
			t.Errorf("%s: %d %q", page, response.StatusCode, text)
		}
	}
	cancel()
	if code := <-ended; code != exitDone || !strings.Contains(stderr.String(), "serving the pages of kube-devops/kube-devops-7d9f-x2x4z; press Ctrl-C to stop") {
		t.Errorf("code %d, %q", code, stderr.String())
	}
}

func TestPluginArgs(t *testing.T) {
	for program, want := range map[string]string{
		"/usr/bin/kubectl-governance":         "true [score]",
		"kubectl-governance.exe":              "true [score]",
		"bin/kubectl_complete-governance":     "true [__complete score]",
		"kube-devops":                         "false [score]",
		"kubectl-governance-old/kube-devops":  "false [score]",
		"/opt/kubectl-governance.d/something": "false [score]",
	} {
		isPlugin, args := pluginArgs(program, []string{"score"})
		if got := strings.Join([]string{map[bool]string{true: "true", false: "false"}[isPlugin], "[" + strings.Join(args, " ") + "]"}, " "); got != want {
			t.Errorf("%s: got %s, want %s", program, got, want)
		}
	}
}
