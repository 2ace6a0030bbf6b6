package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

const configHead = "apiVersion: kube-devops.io/v1\nkind: ScanConfig\n"

// repository changes to a new repository with a pod.
func repository(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	all := map[string]string{".git/HEAD": "", "pods/a.json": badPod, "team/strict.yaml": strictPolicy}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

const strictPolicy = "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: strict}\nchecks: [{id: any_pod, weight: 1, violation: {path: kind, operator: exists}}]\n"

func TestScanConfig(t *testing.T) {
	for name, tt := range map[string]struct {
		config, in, args string
		code             int
		stderr           string
		stdout           string
	}{
		"a threshold": {config: "failOn: high\n", args: "pods", code: exitCrossed,
			stderr: "kube-devops: .kube-devops.yaml sets failOn; --config none ignores it\nkube-devops: --fail-on high: 1 violation\n"},
		"the command line wins": {config: "failOn: high\nfailUnder: 0\n", args: "pods --fail-on critical",
			stderr: "kube-devops: .kube-devops.yaml sets failUnder; --config none ignores it\n"},
		"none": {config: "failOn: high\nx: [\n", args: "pods --config none"},
		"from a folder below": {config: "failOn: high\n", in: "pods", args: ".", code: exitCrossed,
			stderr: "kube-devops: ../.kube-devops.yaml sets failOn; --config none ignores it\nkube-devops: --fail-on high: 1 violation\n"},
		"a policy by its path": {config: "policy: team/strict.yaml\noutput: json\n", in: "pods", args: ".", stdout: `"name":"strict"`,
			stderr: "kube-devops: ../.kube-devops.yaml sets policy, output; --config none ignores it\n"},
		"a policy that ships": {config: "policy: recommended\noutput: [json]\n", args: "pods", stdout: `"name":"recommended"`,
			stderr: "kube-devops: .kube-devops.yaml sets policy, output; --config none ignores it\n"},
		"several policies": {config: "policy: [default, team/strict.yaml]\noutput: [json]\n", in: "pods", args: ".", stdout: `"missing_readiness":1,"any_pod":1`,
			stderr: "kube-devops: ../.kube-devops.yaml sets policy, output; --config none ignores it\n"},
		"other policies on the command line": {config: "policy: [default, team/strict.yaml]\n", args: "pods --policy recommended -o json", stdout: `"name":"recommended"`,
			stderr: "kube-devops: .kube-devops.yaml sets no flags; --config none ignores it\n"},
		"lists": {config: "exclude: ['**/*.json', \"a,b\"]\ncheck:\n- latest_tag\nallowEmpty: true\noutput: json\n", args: "pods", stdout: `"pods":0`,
			stderr: "kube-devops: .kube-devops.yaml sets exclude, check, allowEmpty, output; --config none ignores it\n" +
				"kube-devops: warning: 1 file left out by --exclude: pods/a.json\nkube-devops: warning: --exclude a,b matches nothing\n"},
		"nothing": {args: "pods", stderr: "kube-devops: .kube-devops.yaml sets no flags; --config none ignores it\n"},
	} {
		t.Run(name, func(t *testing.T) {
			repository(t, map[string]string{".kube-devops.yaml": configHead + tt.config})
			if tt.in != "" {
				t.Chdir(tt.in)
			}
			code, stdout, stderr := runScan(t, "", strings.Fields(tt.args)...)
			if code != tt.code || stderr != tt.stderr || !strings.Contains(stdout, tt.stdout) {
				t.Errorf("code %d, want %d; stderr:\n%s\nwant:\n%s\nstdout:\n%s", code, tt.code, stderr, tt.stderr, stdout)
			}
		})
	}
}

// TestScanConfigLocation: outside a repository only the working directory is searched, and --config names any file.
func TestScanConfigLocation(t *testing.T) {
	repository(t, map[string]string{".kube-devops.yaml": configHead + "failOn: high\n", "other.yaml": configHead + "failOn: critical\n"})
	if code, _, stderr := runScan(t, "", "pods", "--config", "other.yaml"); code != exitDone || !strings.HasPrefix(stderr, "kube-devops: other.yaml sets failOn;") {
		t.Errorf("code %d, %s", code, stderr)
	}
	if code, _, stderr := runScan(t, "", "pods", "--config", ""); code != exitFailed || !strings.Contains(stderr, "--config is empty") {
		t.Errorf("code %d, %s", code, stderr)
	}
	if code, _, stderr := runScan(t, "", "pods", "--config", "gone.yaml"); code != exitFailed || !strings.Contains(stderr, "read gone.yaml: no such file or directory") {
		t.Errorf("code %d, %s", code, stderr)
	}
	if err := os.RemoveAll(".git"); err != nil {
		t.Fatal(err)
	}
	t.Chdir("pods")
	if code, _, stderr := runScan(t, "", "."); code != exitDone || stderr != "" {
		t.Errorf("a file above: code %d, %s", code, stderr)
	}
}

// TestScanConfigErrors: an error or an attack ends the scan with one line and without a report.
func TestScanConfigErrors(t *testing.T) {
	for config, want := range map[string]string{
		"failon: high\n":                                `.kube-devops.yaml: line 3: unknown key "failon" (did you mean "failOn"?)`,
		"top: 5\nfail-under: 80\n":                      `.kube-devops.yaml: line 4: unknown key "fail-under" (did you mean "failUnder"?)`,
		"nonsense: 80\n":                                `.kube-devops.yaml: line 3: unknown key "nonsense" (--config`,
		"metadata: {name: x}\n":                         `unknown key "metadata"`,
		"config: x\n":                                   `line 3: config cannot be set here: it names the file itself`,
		"failOn: worst\n":                               `line 3: failOn: "worst" is not one of critical, high, medium, low, any`,
		"failOn: [high, low]\n":                         "line 3: failOn takes one value, not a list",
		"failOn: {a: b}\n":                              "line 3: failOn must be a string, a number, true or false",
		"failOn: null\n":                                "line 3: failOn must be a string, a number, true or false",
		"keepGoing: maybe\n":                            "line 3: keepGoing must be true or false, got \"maybe\"",
		"top: 1\ntop: 2\n":                              `line 4: mapping key "top" already defined at line 3`,
		"output: json=/etc/x\n":                         `line 3: output: "json=/etc/x" names a file: only formats are allowed here; name the file on the command line`,
		"output: [json, sarif=x]\n":                     `line 3: output: "sarif=x" names a file`,
		"policy: ../x.yaml\n":                           `line 3: policy: "../x.yaml" is not a path below the folder of this file`,
		"policy: [default, ../x.yaml]\n":                `line 3: policy: "../x.yaml" is not a path below the folder of this file`,
		"policy: team/../../x.yaml\n":                   "is not a path below the folder",
		"waivers: /etc/passwd\n":                        `line 3: waivers: "/etc/passwd" is not a path below the folder of this file`,
		"baseline: '-'\n":                               `baseline: "-" is not a path`,
		"policy: ''\n":                                  `policy: "" is not a path`,
		"policy: out/passwd\n":                          `line 3: policy: "out/passwd": path escapes from parent`,
		"waivers: team/none.yaml\n":                     `line 3: waivers: "team/none.yaml": no such file or directory`,
		"exclude: &a [x]\ncheck: *a\n":                  "line 4: check must be a string, a number, true or false",
		"exclude: ['[']\n":                              `--exclude "[": syntax error in pattern`,
		"check: [\n":                                    ".kube-devops.yaml: ",
		"---\napiVersion: x\n":                          ".kube-devops.yaml: more than one document",
		"#" + strings.Repeat("x", maxConfigSize) + "\n": "read .kube-devops.yaml: larger than 64 KiB",
		"\"a\\n::error::b\": 1\n":                       `unknown key "a\n::error::b"`,
	} {
		repository(t, map[string]string{".kube-devops.yaml": configHead + config})
		if err := os.Symlink("/etc", "out"); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := runScan(t, "", "pods")
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%q: code %d, stdout %q, stderr %q; want %q", config, code, stdout, stderr, want)
		}
	}
	for text, want := range map[string]string{
		"":                                "must be a mapping with apiVersion: kube-devops.io/v1 and kind: ScanConfig",
		"- a\n":                           "must be a mapping",
		"kind: ScanConfig\n":              "apiVersion must be kube-devops.io/v1",
		"apiVersion: kube-devops.io/v1\n": "kind must be ScanConfig",
	} {
		repository(t, map[string]string{".kube-devops.yaml": text})
		if code, _, stderr := runScan(t, "", "pods"); code != exitFailed || !strings.Contains(stderr, want) {
			t.Errorf("%q: code %d, stderr %q; want %q", text, code, stderr, want)
		}
	}
	repository(t, nil)
	if err := os.Symlink("/etc/passwd", ".kube-devops.yaml"); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runScan(t, "", "pods"); code != exitFailed || !strings.Contains(stderr, "read .kube-devops.yaml: path escapes from parent") || strings.Contains(stderr, "root") {
		t.Errorf("a link: code %d, stderr %q", code, stderr)
	}
}

// TestScanConfigPaths: a new text flag is checked as a path unless it is added to notPaths.
func TestScanConfigPaths(t *testing.T) {
	flags := newScanCommand().Flags()
	var paths []string
	flags.VisitAll(func(f *pflag.Flag) {
		if _, refused := notInConfig[f.Name]; !refused && isPath(f) {
			paths = append(paths, f.Name)
		}
	})
	if want := []string{"baseline", "policy", "waivers"}; !slices.Equal(paths, want) {
		t.Errorf("flags that hold paths are %q, want %q", paths, want)
	}
	if got := configKeys(flags)["failUnder"]; got != "fail-under" {
		t.Errorf("the key failUnder is the flag %q", got)
	}
}
