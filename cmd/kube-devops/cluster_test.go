package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// serveShop starts an API server with the pods of shop.json in pages of five. It returns a kubeconfig with the context c.
func serveShop(t *testing.T) (kubeconfig string, requests func() []string) {
	t.Helper()
	var recording struct{ Items []map[string]any }
	text, err := os.ReadFile(shop)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &recording); err != nil {
		t.Fatal(err)
	}
	const page = 5
	asked := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		namespace, _ := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/pods")
		items := []map[string]any{} // an API server does not send null
		for _, item := range recording.Items {
			if r.URL.Path == "/api/v1/pods" || item["metadata"].(map[string]any)["namespace"] == namespace {
				items = append(items, item)
			}
		}
		if namespace == "legacy" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `{"kind":"Status","status":"Failure","reason":"Forbidden","code":403,"message":"pods is forbidden"}`)
			return
		}
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		list := map[string]any{"kind": "PodList", "apiVersion": "v1", "metadata": map[string]any{}, "items": items[from:min(from+page, len(items))]}
		if from+page < len(items) {
			list["metadata"] = map[string]any{"continue": strconv.Itoa(from + page), "remainingItemCount": len(items) - from - page}
		}
		_ = json.NewEncoder(w).Encode(list) // the client may have gone
	}))
	t.Cleanup(server.Close)
	return writeKubeconfig(t, server.URL), func() (all []string) {
		for len(asked) > 0 {
			all = append(all, <-asked)
		}
		return all
	}
}

// TestScanOfACluster: a scan of a cluster has the result of a scan of its recording.
func TestScanOfACluster(t *testing.T) {
	kubeconfig, requests := serveShop(t)
	for _, namespaces := range [][]string{nil, {"-n", "search,payments"}, {"-n", "pay*"}} {
		args := append([]string{"-q", "--cluster", "--kubeconfig", kubeconfig, "-o", "json"}, namespaces...)
		code, live, stderr := runScan(t, "", args...)
		if code != exitDone || stderr != "" {
			t.Fatalf("%q: code %d, stderr %q", namespaces, code, stderr)
		}
		_, recorded, _ := runScan(t, "", append([]string{shop, "-o", "json"}, namespaces...)...)
		var of [2]struct {
			Cluster, Namespaces json.RawMessage
			Violations          []map[string]any
		}
		for i, text := range []string{live, recorded} {
			if err := json.Unmarshal([]byte(text), &of[i]); err != nil {
				t.Fatal(err)
			}
			for _, v := range of[i].Violations {
				delete(v, "file")
			}
		}
		if diff := cmp.Diff(of[0], of[1]); diff != "" {
			t.Errorf("%q (-cluster +recording):\n%s", namespaces, diff)
		}
		asked := slices.Compact(requests())
		want := []string{"/api/v1/pods"}
		if slices.Contains(namespaces, "search,payments") {
			want = []string{"/api/v1/namespaces/payments/pods", "/api/v1/namespaces/search/pods"}
		}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("%q (-want +asked):\n%s", namespaces, diff)
		}
	}
}

func TestScanOfAClusterErrors(t *testing.T) {
	kubeconfig, _ := serveShop(t)
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "") // these tests may run in a pod
	const help = " (see kube-devops scan --help)"
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}`)
	}))
	t.Cleanup(empty.Close)
	for _, tt := range []struct{ args, want string }{
		{"--cluster " + shop, `--cluster and "` + shop + `" are mutually exclusive: scan either the cluster or files` + help},
		{"- --context c", "--context needs --cluster" + help},
		{"- --kubeconfig c", "--kubeconfig needs --cluster" + help},
		{"--cluster", "no cluster: not in a pod, and no kubeconfig; name one with --kubeconfig, or scan a recording"},
		{"--cluster --context c", "no cluster: not in a pod, and no kubeconfig; name one with --kubeconfig, or scan a recording"},
		{"--cluster --context d --kubeconfig " + kubeconfig, `read the kubeconfig: --kubeconfig ` + kubeconfig + ` has no context "d"; did you mean "c"?`},
		{"--cluster --kubeconfig " + writeKubeconfig(t, unreachable), "read context c (https://127.0.0.1:1): list pods in all namespaces: the API server cannot be reached: dial tcp 127.0.0.1:1: connect: connection refused"},
		{"--cluster -n legacy --keep-going --kubeconfig " + kubeconfig, "list pods in namespace legacy: forbidden: the account needs the verb list on the resource pods: pods is forbidden"},
		{"--cluster -n nowhere --kubeconfig " + kubeconfig, `): no pods in namespace "nowhere"; --allow-empty accepts that` + "\n"},
		{"--cluster -n nowhere,neither --kubeconfig " + kubeconfig, `): no pods in namespaces "neither", "nowhere"; --allow-empty accepts that` + "\n"},
		{"--cluster --kubeconfig " + writeKubeconfig(t, empty.URL), "): no pods in the cluster; --allow-empty accepts that\n"},
		{"--cluster -n no* --kubeconfig " + writeKubeconfig(t, empty.URL), "): no pods in the cluster; --allow-empty accepts that\n"},
	} {
		code, stdout, stderr := runScan(t, "", strings.Fields(tt.args)...)
		if code != exitFailed || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, tt.want) {
			t.Errorf("scan %s: code %d, stdout %q, stderr:\n%s\nwant %s", tt.args, code, stdout, stderr, tt.want)
		}
	}
}

// TestReportOfACluster: a report names the context and not a file, and with --enforce it says that templates are not read.
func TestReportOfACluster(t *testing.T) {
	kubeconfig, _ := serveShop(t)
	inFolder(t, map[string]string{"table.yaml": enforcing})
	const templates = "Admission is evaluated for pods only, not for pod templates"
	for _, enforce := range []bool{false, true} {
		args := []string{"--cluster", "--kubeconfig", kubeconfig, "-n", "search", "--policy", "table.yaml", "-q", "-o", "table", "-o", "markdown=report.md", fmt.Sprint("--enforce=", enforce)}
		_, stdout, stderr := runScan(t, "", args...)
		markdown, err := os.ReadFile("report.md")
		if err != nil {
			t.Fatalf("%v, %s", err, stderr)
		}
		for format, text := range map[string]string{"table": stdout, "markdown": string(markdown)} {
			if !strings.Contains(text, "Read context c: 5 pods.") || strings.Contains(text, "1 file") || strings.Contains(text, templates) != enforce {
				t.Errorf("--enforce=%t, %s:\n%s", enforce, format, text)
			}
		}
	}
	if code, stdout, stderr := runScan(t, "", "--cluster", "--kubeconfig", kubeconfig, "-n", "nowhere", "--allow-empty"); code != exitDone || !strings.Contains(stdout, "Read context c: 0 pods.") {
		t.Errorf("--allow-empty: code %d, %q:\n%s", code, stderr, stdout)
	}
}

// TestKubeconfigOrder: --kubeconfig, then KUBECONFIG, then the pod, then the home directory.
func TestKubeconfigOrder(t *testing.T) {
	home, kubeconfig := t.TempDir(), writeKubeconfig(t, "https://user:password@env.example:1/path?token=secret")
	if err := os.MkdirAll(filepath.Join(home, ".kube"), 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(writeKubeconfig(t, "https://127.0.0.1:2"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".kube", "config"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, tt := range []struct{ env, flag, want string }{
		{"", "", "https://127.0.0.1:2"},
		{kubeconfig, "", "https://env.example:1/path"},
		{kubeconfig, writeKubeconfig(t, unreachable), unreachable},
		{"/nowhere" + string(filepath.ListSeparator) + kubeconfig, "", "https://env.example:1/path"},
	} {
		t.Setenv("KUBECONFIG", tt.env)
		args := []string{"--leader-elect=false"}
		if tt.flag != "" {
			args = append(args, "--kubeconfig", tt.flag)
		}
		a := startAgent(t, args...)
		first := a.log(t)[0]
		if first["msg"] != "cluster" || first["server"] != tt.want || first["context"] != "c" {
			t.Errorf("%+v: the first line of the log is %v", tt, first)
		}
		if strings.Contains(a.stderr.String(), "password") {
			t.Errorf("the log has credentials:\n%s", a.stderr.String())
		}
		a.stop(t)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "1")
	t.Setenv("KUBECONFIG", "")
	if code, _, stderr := runScan(t, "", "--cluster"); code != exitFailed || !strings.Contains(stderr, "in-cluster configuration") {
		t.Errorf("in a pod without a token: code %d, %q", code, stderr)
	}
	t.Setenv("KUBECONFIG", "/nowhere")
	if code, _, stderr := runScan(t, "", "--cluster"); code != exitFailed || !strings.Contains(stderr, "KUBECONFIG=/nowhere: no such file or directory") {
		t.Errorf("a missing KUBECONFIG: code %d, %q", code, stderr)
	}
}

// TestInterruptedScanOfACluster: an interrupt ends a scan that waits for the API server.
func TestInterruptedScanOfACluster(t *testing.T) {
	asked := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	var stdout, stderr output
	if code := run(ctx, []string{"scan", "--cluster", "--kubeconfig", writeKubeconfig(t, server.URL)}, nil, &stdout, &stderr); code != exitInterrupted || stdout.String()+stderr.String() != "" {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
	}
}
