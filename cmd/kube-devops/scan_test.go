package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
)

// runScan runs scan and returns its exit code and output.
func runScan(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err output
	code = run(t.Context(), append([]string{"scan"}, args...), strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

const (
	badPod  = `{"kind":"Pod","metadata":{"name":"a","namespace":"shop","uid":"u"},"spec":{"containers":[{"name":"c","image":"i:latest"}]}}`
	goodPod = `{"kind":"Pod","metadata":{"name":"b","namespace":"shop","uid":"v"},"spec":{"containers":[{"name":"c","image":"i:1","livenessProbe":{},"readinessProbe":{}}]}}`
)

// excludedOfShop is the warning about the excluded namespaces of shop.json.
const excludedOfShop = "kube-devops: warning: 6 pods in 1 namespace excluded by the policy: kube-system (kube-*)\n"

// TestScanIsTheReportOfAReplay: a scan has the scores and violations that an agent serves for the same recording.
func TestScanIsTheReportOfAReplay(t *testing.T) {
	for _, file := range []string{shop, "../../testdata/dumps/shop-watch.json", "../../testdata/dumps/edge.json"} {
		a := startAgent(t, "--replay", file)
		a.waitReady(t)
		_, body := a.get(t, "/api/v1/report")
		a.stop(t)
		code, stdout, stderr := runScan(t, "", file, "-o", "json")
		if code != exitDone {
			t.Fatalf("%s: code %d: %s", file, code, stderr)
		}
		var live, scanned map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal([]byte(body), &live), json.Unmarshal([]byte(stdout), &scanned)); err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"policy", "cluster", "namespaces"} {
			if diff := cmp.Diff(string(live[part]), string(scanned[part])); diff != "" {
				t.Errorf("%s: %s (-replay +scan):\n%s", file, part, diff)
			}
		}
		var before, after []map[string]any
		if err := errors.Join(json.Unmarshal(live["violations"], &before), json.Unmarshal(scanned["violations"], &after)); err != nil {
			t.Fatal(err)
		}
		for _, v := range after { // what only a scan reports
			delete(v, "workload")
			delete(v, "file")
			delete(v, "line")
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%s: violations (-replay +scan):\n%s", file, diff)
		}
	}
}

func TestScanExitCodes(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.json")
	if code, _, stderr := runScan(t, strings.Replace(badPod, `"i:latest"`, `"i:1"`, 1), "-", "-o", "json="+old); code != exitDone {
		t.Fatal(stderr)
	}
	waivers := filepath.Join(dir, "w.yaml")
	if err := os.WriteFile(waivers, []byte("apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers: [{id: w, reason: r, expires: 2099-01-01, pod: a}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"-", 0, ""},
		{"- --fail-on critical", 0, ""},
		{"- --fail-on high", 1, "kube-devops: --fail-on high: 1 violation\n"},
		{"- --fail-on medium", 1, "kube-devops: --fail-on medium: 3 violations\n"},
		{"- --fail-on any", 1, "kube-devops: --fail-on any: 3 violations\n"},
		{"- --fail-on any --waivers " + waivers, 0, ""},
		{"- --fail-on any --check missing_readiness", 1, "kube-devops: --fail-on any: 1 violation\n"},
		{"- --fail-under 50", 0, ""},
		{"- --fail-under 50.1", 1, "kube-devops: --fail-under 50.1: the compliance of the cluster is 50 %\n"},
		{"- --max-score 5", 0, ""},
		{"- --max-score 4.9", 1, "kube-devops: --max-score 4.9: the score of the cluster is 5\n"},
		{"- --max-score 1 --fail-on high", 1, "kube-devops: --fail-on high: 1 violation\nkube-devops: --max-score 1: the score of the cluster is 5\n"},
		{"- --baseline " + old, 1, "kube-devops: --baseline " + old + ": 1 new violation\n"},
		{"- --fail-on high --baseline " + old, 1, "kube-devops: --fail-on high: 1 new violation\n"},
		{"- --fail-on critical --baseline " + old, 0, ""},
		{"- --check missing_liveness --baseline " + old, 0, ""},
		{"- --namespace other", 2, "kube-devops: no pods that count: --namespace other matches no pods that count (the input has pods in shop)\n"},
		{"- --check latest", 2, "kube-devops: --check: policy default has no check \"latest\"; did you mean latest_tag?\n"},
		{"- --policy default --policy testdata/extends/part.yaml --max-score 5", 1, "kube-devops: --max-score 5: the score of the cluster is 5.5\n"},
		{"- --policy default,testdata/extends/part.yaml --max-score 5", 1, "kube-devops: --max-score 5: the score of the cluster is 5.5\n"},
		{"- --policy testdata/extends/team.yaml --check missing_readiness", 2, "kube-devops: --check: policy team disables check \"missing_readiness\"\n"},
		{"- --policy default,", 2, "kube-devops: --policy has an empty entry: name a file or a built-in table (see kube-devops scan --help)\n"},
		{"- --policy testdata/extends/team.yaml", 0, "kube-devops: warning: testdata/extends/team.yaml:19: waiver probes: check missing_readiness is disabled: the waiver accepts no violation of it\n"},
		{"- --explain shop", 0, ""},
	} {
		code, stdout, stderr := runScan(t, badPod+goodPod, strings.Fields(tt.args)...)
		if code != tt.code || stderr != tt.stderr || (stdout == "") != (tt.code == 2) {
			t.Errorf("scan %s: code %d, want %d; stderr %q, want %q; %d bytes on stdout", tt.args, code, tt.code, stderr, tt.stderr, len(stdout))
		}
	}
}

func TestScanErrors(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.json")
	if err := os.WriteFile(broken, []byte(`{"kind":"List","items":[`+badPod+`,{"kind":"Po`), 0o600); err != nil {
		t.Fatal(err)
	}
	const help = " (see kube-devops scan --help)"
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"missing argument: name files, folders or patterns to scan, - for standard input, or --cluster" + help}},
		{[]string{"none.json"}, []string{"read none.json: no such file or directory"}},
		{[]string{dir + "/*.yaml"}, []string{"no file matches the pattern"}},
		{[]string{broken}, []string{"read " + broken + ": item 2, byte "}},
		{[]string{"-"}, []string{"read stdin: the input is empty"}},
		{[]string{"-", "-"}, []string{"- is given twice: standard input can be read only once" + help}},
		{[]string{""}, []string{"an argument is empty: name what to scan" + help}},
		{[]string{shop, "-o", "tabel"}, []string{`did you mean "table"?`}},
		{[]string{shop, "-o", "json="}, []string{`missing file name after "json="` + help}},
		{[]string{shop, "-o", "json", "-o", "yaml"}, []string{"two reports go to standard output: write one of them to a file, for example -o json=FILE" + help}},
		{[]string{shop, "-o", "json=x", "-o", "yaml=x"}, []string{"two reports go to x" + help}},
		{[]string{shop, "-o", "json=./x", "-o", "yaml=y/../x"}, []string{"two reports go to y/../x, which is the same file as ./x" + help}},
		{[]string{shop, "-o", "json", "-o", "yaml=/dev/stdout"}, []string{"two reports go to standard output: write one of them to a file, for example -o json=FILE" + help}},
		{[]string{shop, "-o", "json=/dev/stderr", "-o", "yaml=/dev/fd/2"}, []string{"two reports go to /dev/fd/2, which is the same file as /dev/stderr" + help}},
		{[]string{shop, "-o", "json=/dev/stdin"}, []string{`"json=/dev/stdin" is standard input; name a file to write to` + help}},
		{[]string{shop, "-o", "json=/dev/fd/987"}, []string{"6 pods in 1 namespace excluded by the policy: kube-system (kube-*)", "write /dev/fd/987: bad file descriptor"}},
		{[]string{"none.json", "-o", "json=" + dir + "/no/x", "-o", "yaml=" + broken + "/x"}, []string{"write " + dir + "/no/x: no such file or directory", "write " + broken + "/x: not a directory"}},
		{[]string{broken, "-o", "json=" + dir + "/./broken.json"}, []string{"write " + dir + "/./broken.json: the scan reads this file (" + broken + "): write the report to another file"}},
		{[]string{dir, "-o", "json=" + broken}, []string{"write " + broken + ": the scan reads this file (" + broken + "): write the report to another file"}},
		{[]string{shop, "--top", "x"}, []string{`--top: "x" is not an integer` + help}},
		{[]string{shop, "--baseline", shop}, []string{"baseline " + shop + ": byte "}},
		{[]string{shop, "-o", "yaml", "--explain", "x"}, []string{"two reports go to standard output"}},
		{[]string{shop, "--explain", "chekout"}, []string{"excluded by the policy", "checkout"}},
		{[]string{shop, "--explain", ""}, []string{"--explain is empty: name a namespace or a pattern" + help}},
		{[]string{shop, "--baseline", "", "--waivers", "", "--check", "", "--namespace", ""}, []string{"--waivers is empty: name a file" + help,
			"--baseline is empty: name a file" + help, "--check is empty: name a check" + help, "--namespace is empty: name a namespace or a pattern" + help}},
		{[]string{shop, "-o", "json=-"}, []string{`"json=-": omit =- to print on standard output` + help}},
		{[]string{shop, "--fail-on", "worst"}, []string{`"worst" is not one of critical, high, medium, low, any` + help}},
		{[]string{shop, "--fail-under", "101"}, []string{"--fail-under must be from 0 to 100, got 101" + help}},
		{[]string{shop, "--fail-under", "NaN"}, []string{"--fail-under must be from 0 to 100, got NaN" + help}},
		{[]string{shop, "--max-score", "-1"}, []string{"--max-score must be 0 or greater, got -1" + help}},
		{[]string{shop, "--top", "-1", "--namespace", "["}, []string{`--namespace "[" is not a pattern of a name, such as shop or team-*` + help, "--top must be 0 or greater, got -1" + help}},
		{[]string{shop, "--policy", "none.yaml"}, []string{"load policy: open none.yaml: no such file or directory (a policy is a file or a built-in table: default, extended, pss-baseline, pss-restricted, recommended)"}},
		{[]string{shop, "--waivers", "none.yaml"}, []string{"load policy: open none.yaml: no such file or directory"}},
		{[]string{shop, "--baseline", "none.json"}, []string{"load baseline: open none.json: no such file or directory"}},
		{[]string{shop, "-o", "json=" + dir}, []string{"write " + dir + ": is a directory"}},
		{[]string{shop, "-o", "json=" + dir + "/no/x"}, []string{"write " + dir + "/no/x: no such file or directory"}},
	} {
		code, stdout, stderr := runScan(t, "", tt.args...)
		lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
		if code != exitFailed || stdout != "" || len(lines) != len(tt.want) {
			t.Errorf("scan %q: code %d, stdout %q, stderr:\n%s", tt.args, code, stdout, stderr)
			continue
		}
		for i, want := range tt.want {
			if !strings.HasPrefix(lines[i], "kube-devops: ") || !strings.Contains(lines[i], want) {
				t.Errorf("scan %q: line %d is %q; want %q in it", tt.args, i+1, lines[i], want)
			}
		}
	}
}

func TestScanKeepsGoing(t *testing.T) {
	code, stdout, stderr := runScan(t, badPod+`{"kind":"Pod"}`+goodPod, "-", "--keep-going", "-o", "json", "--fail-on", "any")
	want := "kube-devops: --fail-on any: 3 violations\n" +
		"kube-devops: left out: stdin: item 2, byte 123: metadata.name of the \"Pod\" is missing\n" +
		"kube-devops: the report is incomplete: 1 input left out\n"
	if code != exitFailed || stderr != want || !strings.Contains(stdout, `"incomplete": ["stdin: item 2,`) {
		t.Errorf("code %d, stderr:\n%s\nstdout:\n%s", code, stderr, stdout)
	}
}

func TestScanWarnsOfRepeatedPods(t *testing.T) {
	code, _, stderr := runScan(t, `{"kind":"PodList","items":[`+badPod+`,`+badPod+`]}`, "-")
	if want := "kube-devops: warning: 1 duplicate pod; the last one wins: shop/a in stdin\n"; code != exitDone || stderr != want {
		t.Errorf("code %d, stderr %q", code, stderr)
	}
}

// TestScanWarnsOfManifestsWithoutContainers: a misspelled field must not look like a clean manifest.
func TestScanWarnsOfManifestsWithoutContainers(t *testing.T) {
	manifests := `{kind: Deployment, metadata: {name: web}, spec: {template: {spec: {contaniers: [{name: a, image: "a:latest"}]}}}}
---
{kind: Pod, metadata: {name: none}, spec: {containers: []}}
---
{kind: Pod, metadata: {name: one}, spec: {containers: [{nome: a, image: "a:1"}]}}
---
{kind: Pod, metadata: {name: two}, spec: {containers: [{name: a, image: "a:1"}]}}
`
	code, stdout, stderr := runScan(t, "# manifests\n---\n"+manifests, "-")
	want := "kube-devops: warning: 2 manifests without a container image left out as patches; the first is default/Deployment/web in stdin: " +
		"render patches first (kustomize build . | kube-devops scan -), or check the spelling of spec.containers\n" +
		"kube-devops: warning: 1 manifest has no container with a name: default/one in stdin: check the spelling of spec.containers\n"
	if code != exitDone || stderr != want || !strings.Contains(stdout, "Left out 2 objects: patches 2.\n") {
		t.Errorf("code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
}

func TestScanOfNamespacesByCommas(t *testing.T) {
	_, both, _ := runScan(t, "", shop, "-o", "json", "--namespace", "legacy,search")
	_, each, _ := runScan(t, "", shop, "-o", "json", "--namespace", "legacy", "--namespace", "search")
	if both != each || !strings.Contains(both, `"namespaces":2,`) {
		t.Errorf("with a comma:\n%s\none by one:\n%s", both, each)
	}
}

// TestScanReplacesFiles: a report is written completely or not at all, and links to it are kept.
func TestScanReplacesFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := errors.Join(os.WriteFile("old.json", []byte("old"), 0o600), os.Symlink("old.json", "link.json")); err != nil {
		t.Fatal(err)
	}
	args := []string{"-", "-o", "table", "-o", "json=link.json"}
	for _, f := range report.Formats()[1:] {
		args = append(args, "-o", f.Name+"=new."+f.Name)
	}
	code, stdout, stderr := runScan(t, badPod, args...)
	if code != exitDone || !strings.Contains(stdout, "NAMESPACE") {
		t.Fatalf("code %d, stderr %q, stdout %q", code, stderr, stdout)
	}
	if info, err := os.Lstat("link.json"); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(".")
	if err != nil || len(entries) != 2+len(report.Formats())-1 {
		t.Errorf("%v in the folder, %v", entries, err)
	}
	_, direct, _ := runScan(t, badPod, "-", "-o", "json")
	for _, name := range []string{"old.json", "new.json"} {
		if text, err := os.ReadFile(name); err != nil || string(text) != direct {
			t.Errorf("%s differs from standard output: %v", name, err)
		}
	}
	failed := errors.New("disk full")
	_, err = replaceFile("old.json", func(w io.Writer) error {
		_, _ = io.WriteString(w, "half")
		return failed
	})
	if text, _ := os.ReadFile("old.json"); !errors.Is(err, failed) || string(text) != direct {
		t.Errorf("%v; the file is %q", err, text)
	}
	if after, _ := os.ReadDir("."); len(after) != len(entries) {
		t.Errorf("%v in the folder", after)
	}
	if _, err := replaceFile(os.DevNull, func(w io.Writer) error { _, err := w.Write([]byte("x")); return err }); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Errorf("%s is %v, %v", os.DevNull, info.Mode(), err)
	}
}

// TestScanKeepsItsInput: a report must not replace the file that standard input is redirected from.
func TestScanKeepsItsInput(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("pods.json", []byte(badPod), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("pods.json")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read
	var stdout, stderr output
	code := run(t.Context(), []string{"scan", "-", "-o", "json=pods.json"}, f, &stdout, &stderr)
	if want := "kube-devops: write pods.json: the scan reads this file (standard input): write the report to another file\n"; code != exitFailed || stderr.String() != want {
		t.Errorf("code %d, %q", code, stderr.String())
	}
	if text, err := os.ReadFile("pods.json"); err != nil || string(text) != badPod {
		t.Errorf("%v; the file is %q", err, text)
	}
}

// TestScanReportsAllMissingInputs: all missing inputs are reported at once, and --keep-going scans the others.
func TestScanReportsAllMissingInputs(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(os.Mkdir("d", 0o700), os.Mkdir("empty", 0o700), os.WriteFile("d/a.json", []byte(badPod), 0o600), os.Symlink("gone.yaml", "d/b\n::error::y.yaml")); err != nil {
		t.Fatal(err)
	}
	lines := []string{`n\n::error::x.yaml: no such file or directory`, "empty: the folder has no manifests or dumps: the names of files must end with .json, .jsonl, .ndjson, .yaml, .yml, optionally followed by .gz or .zst"}
	var all, leftOut string
	for _, line := range lines {
		all += "kube-devops: read " + line + "\n"
		leftOut += "kube-devops: left out: " + line + "\n"
	}
	if code, stdout, stderr := runScan(t, "", "d", "empty", "n\n::error::x.yaml"); code != exitFailed || stdout != "" || stderr != all {
		t.Errorf("code %d, stdout %q, stderr:\n%s", code, stdout, stderr)
	}
	code, stdout, stderr := runScan(t, "", "d", "empty", "n\n::error::x.yaml", "--keep-going", "-o", "json")
	if want := `kube-devops: warning: 1 dangling link left out: d/b\n::error::y.yaml` + "\n" + leftOut + "kube-devops: the report is incomplete: 2 inputs left out\n"; code != exitFailed || stderr != want || !strings.Contains(stdout, `"pods":1`) {
		t.Errorf("code %d, stdout:\n%s\nstderr:\n%s\nwant:\n%s", code, stdout, stderr, want)
	}
	if code, stdout, stderr := runScan(t, "", "empty", "--keep-going"); code != exitFailed || stdout != "" || strings.Count(stderr, "\n") != 1 {
		t.Errorf("no input: code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// TestBaselineWiderThanTheScan: violations outside the scan, or in input that could not be read, are not resolved.
func TestBaselineWiderThanTheScan(t *testing.T) {
	t.Chdir(t.TempDir())
	other := strings.ReplaceAll(badPod, `"shop"`, `"other"`)
	if code, _, stderr := runScan(t, badPod+other, "-", "-o", "json=old.json"); code != exitDone {
		t.Fatal(stderr)
	}
	old, err := os.ReadFile("old.json")
	if err != nil {
		t.Fatal(err)
	}
	var gzipped bytes.Buffer
	z := gzip.NewWriter(&gzipped)
	if _, err := z.Write(old); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), os.WriteFile("old.json.gz", gzipped.Bytes(), 0o600), os.WriteFile("marked.json", append([]byte("\xef\xbb\xbf"), old...), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ stdin, args, want string }{
		{badPod, "--baseline old.json", `"resolved":3,`},
		{badPod, "--baseline old.json.gz", `"resolved":3,`},
		{badPod, "--baseline marked.json", `"resolved":3,`},
		{badPod + other, "--baseline old.json --namespace shop", `"resolved":0,"resolvedViolations":[]`},
		{goodPod + other, "--baseline old.json --namespace sh*", `"resolved":3,`},
		{badPod + other, "--baseline old.json --check latest_tag", `"resolved":0,"resolvedViolations":[]`},
		{goodPod + other, "--baseline old.json --check latest_tag", `"resolved":1,`},
		{goodPod + `{"kind":"Pod"}`, "--baseline old.json --keep-going", `"new":0,"resolved":null,"resolvedViolations":[]`},
	} {
		if _, stdout, stderr := runScan(t, tt.stdin, append(strings.Fields(tt.args), "-", "-o", "json")...); !strings.Contains(stdout, tt.want) {
			t.Errorf("%s: %q is missing in:\n%s%s", tt.args, tt.want, stdout, stderr)
		}
	}
	_, stdout, _ := runScan(t, goodPod+`{"kind":"Pod"}`, "--baseline", "old.json", "--keep-going", "-")
	if want := "Against old.json: 0 new violations; resolved violations are unknown, because some inputs could not be read.\n"; !strings.Contains(stdout, want) {
		t.Errorf("%q is missing in:\n%s", want, stdout)
	}
}

// brokenPipe is an output whose reader has closed it.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestBrokenPipe(t *testing.T) {
	for _, format := range report.Formats() {
		var stderr bytes.Buffer
		code := run(t.Context(), []string{"scan", shop, "-o", format.Name}, nil, brokenPipe{}, &stderr)
		if code != exitBrokenPipe || stderr.String() != excludedOfShop {
			t.Errorf("%s: code %d, stderr %q", format.Name, code, stderr.String())
		}
	}
}

// TestBrokenPipeOfAFile: the other reports are still written.
func TestBrokenPipeOfAFile(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }() // unread
	_ = r.Close()                    // nothing was written
	code, stdout, stderr := runScan(t, "", shop, "-o", fmt.Sprintf("ndjson=/dev/fd/%d", w.Fd()), "-o", "table")
	if code != exitBrokenPipe || stderr != excludedOfShop || !strings.Contains(stdout, "NAMESPACE") {
		t.Errorf("code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
}

func TestInterrupted(t *testing.T) {
	for _, args := range [][]string{{"scan", "-"}, {"policy", "diff", "default", "recommended", "-"}} {
		t.Run(args[0], func(t *testing.T) { interrupted(t, args) })
	}
}

// interrupted cancels a command while it reads a dump from standard input.
func interrupted(t *testing.T, args []string) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		var stdout, stderr output
		code := make(chan int)
		go func() { code <- run(ctx, args, r, &stdout, &stderr) }()
		if _, err := io.WriteString(w, badPod); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the command waits for more input
		cancel()
		if got := <-code; got != exitInterrupted || stdout.String()+stderr.String() != "" {
			t.Errorf("code %d, stdout %q, stderr %q", got, stdout.String(), stderr.String())
		}
		_ = w.Close() // ends the goroutine that still reads
	})
}

func TestProgressBar(t *testing.T) {
	for read, want := range map[int64]string{
		0: "[..............................]   0 % of 200 MB", 100_000_000: "[###############...............]  50 % of 200 MB",
		999_000_000: "[##############################] 100 % of 200 MB",
	} {
		if got := progressLine(read, 200_000_000); strings.ReplaceAll(got, " ", ".") != strings.ReplaceAll(want, " ", ".") {
			t.Errorf("%q, want %q", got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var to output
		bar := &progressBar{}
		bar.start(&to, 100<<20)
		bar.read.Add(50 << 20)
		<-time.After(progressAfter / 2) // of the fake clock
		synctest.Wait()
		if to.String() != "" {
			t.Errorf("a short scan shows %q", to.String())
		}
		<-time.After(progressAfter)
		synctest.Wait()
		if !strings.Contains(to.String(), " 50 %") {
			t.Errorf("the bar shows %q", to.String())
		}
		bar.stop()
		if !strings.HasSuffix(to.String(), "\r\x1b[K") {
			t.Errorf("the bar is not removed: %q", to.String())
		}
	})
	var to output
	bar := (&scanOptions{}).progressBar(&to, []dump.File{{Path: "x", Size: 1 << 40}}, nil)
	bar.stop()
	if bar.ended != nil || to.String() != "" {
		t.Errorf("without a terminal: %q", to.String())
	}
}
