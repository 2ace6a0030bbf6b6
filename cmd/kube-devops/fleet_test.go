package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/election"
	"github.com/kube-devops/kube-devops/agent/page/browsertest"
	"github.com/kube-devops/kube-devops/rules/golden"
)

// fleetFiles writes the reports of clusters to a new folder, and makes it the working directory. SOURCE_DATE_EPOCH sets the times.
func fleetFiles(t *testing.T) {
	t.Helper()
	shop, err := filepath.Abs(shop)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("empty", []byte(`{"apiVersion": "v1", "kind": "List", "items": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("policy.yaml", []byte(fromTable), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1900000000")
	now := time.Unix(1900000000, 0)
	for name, made := range map[string]struct {
		age  time.Duration
		args []string
	}{
		"east":    {5 * time.Second, []string{shop}},
		"west":    {3 * time.Hour, []string{shop, "-n", "checkout"}},
		"strict":  {time.Minute, []string{shop, "--policy", "policy.yaml"}},
		"old":     {72 * time.Hour, []string{shop}},
		"nothing": {time.Hour, []string{"empty", "--allow-empty"}},
	} {
		file := name + ".json"
		if code, _, stderr := runScan(t, "", append(made.args, "-q", "-o", "json="+file)...); code != exitDone {
			t.Fatalf("%s: %s", name, stderr)
		}
		if err := os.Chtimes(file, now, now.Add(-made.age)); err != nil {
			t.Fatal(err)
		}
	}
}

func runFleet(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err output
	code = run(t.Context(), append([]string{"fleet"}, args...), strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

// TestFleet prints a fleet in each format. Clusters that are not current must be marked, and must not be included in the numbers of the fleet.
func TestFleet(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	fleetFiles(t)
	all := []string{"east=east.json", "west=west.json", "strict=strict.json", "old=old.json", "nothing=nothing.json", "gone=gone.json"}
	for format, file := range map[string]string{"table": "fleet.txt", "json": "fleet.json", "html": "fleet.html"} {
		code, stdout, stderr := runFleet(t, append(all, "-o", format)...)
		if code != exitFailed || stderr != "kube-devops: the fleet is incomplete: 3 clusters are not current\n" {
			t.Errorf("%s: code %d, %q", format, code, stderr)
		}
		golden.Compare(t, filepath.Join(here, "testdata", "fleet", file), stdout)
	}
}

// TestFleetAccessibility runs axe-core on the page of a fleet with clusters in all states, and of a fleet without problems.
func TestFleetAccessibility(t *testing.T) {
	axe := browsertest.Axe(t)
	fleetFiles(t)
	_, mixed, _ := runFleet(t, "east=east.json", "strict=strict.json", "old=old.json", "nothing=nothing.json", "gone=gone.json", "url=http://127.0.0.1:1", "-o", "html")
	_, current, _ := runFleet(t, "west=west.json", "-o", "html")
	pages := http.NewServeMux()
	for path, page := range map[string]string{"/mixed": mixed, "/current": current} {
		pages.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) })
	}
	server := httptest.NewServer(pages)
	defer server.Close()
	browsertest.Accessible(t, axe, map[string]string{"mixed": server.URL + "/mixed", "current": server.URL + "/current"})
}

func TestFleetExitCodes(t *testing.T) {
	fleetFiles(t)
	for args, want := range map[string]string{
		"west=west.json":                                  "0 ",
		"east=east.json west=west.json":                   "0 ",
		"east=east.json west=west.json --fail-under 50":   "0 ",
		"east=east.json west=west.json --fail-under 70":   "1 kube-devops: --fail-under 70: the compliance of east is 60.53 %\n",
		"east=east.json west=west.json --same-policy":     "0 ",
		"east=east.json strict=strict.json --same-policy": "1 kube-devops: --same-policy: the policies of the clusters differ\n",
		"west=west.json old=old.json":                     "2 kube-devops: the fleet is incomplete: 1 cluster is not current\n",
		"west=west.json old=old.json --max-age 0":         "0 ",
		"west=west.json nothing=nothing.json":             "2 kube-devops: the fleet is incomplete: 1 cluster is not current\n",
		"east=east.json gone=gone.json --fail-under 70":   "2 kube-devops: --fail-under 70: the compliance of east is 60.53 %\nkube-devops: the fleet is incomplete: 1 cluster is not current\n",
		"":                                "2 kube-devops: missing argument: name clusters as NAME=FILE or NAME=URL, or a file with --config (see kube-devops fleet --help)\n",
		"west":                            "2 kube-devops: \"west\" must be NAME=FILE or NAME=URL (see kube-devops fleet --help)\n",
		"west=west.json west=east.json":   "2 kube-devops: cluster west is listed twice: each cluster needs a unique name\n",
		"west=https://x --token-file y=z": "2 kube-devops: --token-file \"y=z\": no argument names the cluster y (see kube-devops fleet --help)\n",
		"west=http://x.example --token-file west=z --max-age -1h": "2 kube-devops: --max-age must be 0 or greater, got -1h0m0s (see kube-devops fleet --help)\nkube-devops: west: maxAge must be 0 or greater, got -1h0m0s (see kube-devops fleet --help)\nkube-devops: west: a token must not be sent unencrypted: use https (see kube-devops fleet --help)\n",
		"--config no.yaml": "2 kube-devops: read no.yaml: no such file or directory\n",
		"west=west.json --config west.json --fail-under 101 --top 1": "2 kube-devops: unknown flag: --top (see kube-devops fleet --help)\n",
	} {
		code, _, stderr := runFleet(t, strings.Fields(args)...)
		if got := fmt.Sprintf("%d %s", code, stderr); got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", args, got, want)
		}
	}
}

// TestFleetOfAgents reads an agent, a standby and an agent that does not respond, with a configuration file.
func TestFleetOfAgents(t *testing.T) {
	agent := startAgent(t, "--replay", shop)
	agent.waitReady(t)
	defer agent.stop(t)
	standby := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refused := election.NotLeaderError{Leader: "kube-devops-1_abc", Reason: "this replica does not hold the lease"}
		http.Error(w, refused.Error(), http.StatusServiceUnavailable)
	}))
	defer standby.Close()
	config := filepath.Join(t.TempDir(), "fleet.yaml")
	text := fmt.Sprintf("apiVersion: kube-devops.io/v1\nkind: Fleet\ntimeout: 5s\nclusters:\n- {name: live, url: 'http://%s'}\n- {name: standby, url: '%s'}\n- {name: gone, url: 'http://127.0.0.1:1'}\n", agent.addr, standby.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := runFleet(t, "--config", config, "-o", "json")
	var found struct {
		Clusters []struct {
			Cluster, State, Reason, Page string
			Compliance                   *float64
		}
	}
	if err := json.Unmarshal([]byte(stdout), &found); err != nil || code != exitFailed {
		t.Fatalf("code %d, %v, %q", code, err, stderr)
	}
	var report struct{ Cluster struct{ Compliance float64 } }
	_, served := agent.get(t, "/api/v1/report")
	if err := json.Unmarshal([]byte(served), &report); err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, c := range found.Clusters {
		got += fmt.Sprintf("%s %s %q\n", c.Cluster, c.State, c.Reason)
		if (c.Compliance == nil) != (c.State != "current") {
			t.Errorf("%s has the compliance %v", c.Cluster, c.Compliance)
		}
		if c.Cluster == "live" && (c.Compliance == nil || *c.Compliance != report.Cluster.Compliance || c.Page != "http://"+agent.addr+"/") {
			t.Errorf("live: %+v, want the compliance %g", c, report.Cluster.Compliance)
		}
	}
	want := `gone away "dial tcp 127.0.0.1:1: connect: connection refused"
live current ""
standby standby "this replica does not hold the lease; the leader is kube-devops-1_abc"
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestFleetIsReproducible checks that SOURCE_DATE_EPOCH limits the times of files and responses, so that the same reports give the same bytes.
func TestFleetIsReproducible(t *testing.T) {
	fleetFiles(t)
	text, err := os.ReadFile("west.json")
	if err != nil {
		t.Fatal(err)
	}
	date := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", date)
		_, _ = w.Write(text)
	}))
	defer server.Close()
	for _, format := range []string{"table", "json", "html"} {
		var outputs []string
		for _, at := range []time.Time{time.Unix(1900000001, 0), time.Unix(1950000000, 0)} {
			date = at.UTC().Format(http.TimeFormat)
			if err := os.Chtimes("west.json", at, at); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := runFleet(t, "file=west.json", "url="+server.URL, "old=old.json", "-o", format, "--max-age", "0")
			if code != exitDone {
				t.Fatalf("code %d, %s", code, stderr)
			}
			outputs = append(outputs, stdout)
		}
		if outputs[0] != outputs[1] {
			t.Errorf("two days give\n%s\nand\n%s", outputs[0], outputs[1])
		}
		if format == "json" && (strings.Count(outputs[0], `"time": "2030-03-17T17:46:40Z"`) != 2 || !strings.Contains(outputs[0], `"time": "2030-03-14T17:46:40Z"`)) {
			t.Errorf("the times are not those of SOURCE_DATE_EPOCH and of the file:\n%s", outputs[0])
		}
	}
}

// TestFleetHostile checks that a huge or endless report needs little memory and ends.
func TestFleetHostile(t *testing.T) {
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"version":1,"policy":{"name":"`)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("a", 1<<16)); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	code, stdout, _ := runFleet(t, "a="+endless.URL, "-o", "json")
	if code != exitFailed || !strings.Contains(stdout, `not a report: \"policy\": an element is larger than 1048576 bytes`) {
		t.Errorf("code %d, %s", code, stdout)
	}
	nonsense := filepath.Join(t.TempDir(), "nonsense.json")
	if err := os.WriteFile(nonsense, []byte(`{"version":1,"policy":{},"cluster":{"compliance":-5,"pods":1},"namespaces":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ = runFleet(t, "a="+nonsense, "-o", "json")
	for _, want := range []string{`"state": "away"`, `"reason": "not a report: \"cluster\": compliance is -5"`, `"compliance": null`} {
		if code != exitFailed || !strings.Contains(stdout, want) {
			t.Errorf("code %d, %s\nwant %s", code, stdout, want)
		}
	}
	login := filepath.Join(t.TempDir(), "login.json")
	if err := os.WriteFile(login, []byte("<!DOCTYPE html>"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stdout, _ = runFleet(t, "a="+login); !strings.HasSuffix(stdout, "\na is away: not a report: the response is HTML; is it a login page?\n") {
		t.Error(stdout)
	}
	deep := filepath.Join(t.TempDir(), "deep.json")
	if err := os.WriteFile(deep, []byte(`{"x":`+strings.Repeat("[", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stdout, _ = runFleet(t, "a="+deep, "-o", "json"); !strings.Contains(stdout, "it is nested too deeply") {
		t.Error(stdout)
	}
}
