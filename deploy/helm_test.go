package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const chart = "chart"

// What TestMain builds: the command helm, at the version that go.mod pins, and the agent.
var helmBinary, agentBinary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "deploy-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		helmBinary, agentBinary = filepath.Join(dir, "helm"), filepath.Join(dir, "kube-devops")
		err = errors.Join(build(".", helmBinary, "helm.sh/helm/v4/cmd/helm"), build("..", agentBinary, "./cmd/kube-devops"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(dir, out, pkg string) error {
	cmd := exec.Command("go", "build", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, output)
	}
	return nil
}

// helm runs helm without a cluster and without anything of the user's, and returns what it said.
func helm(ctx context.Context, home string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, helmBinary, args...)
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s%s", stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// render is the chart with the flags given, as text.
func render(t *testing.T, flags ...string) string {
	t.Helper()
	out, err := helm(t.Context(), t.TempDir(), append([]string{"template", "kube-devops", chart, "--namespace", "kube-devops"}, flags...)...)
	if err != nil {
		t.Fatalf("helm template %q: %v", flags, err)
	}
	return out
}

// A document is one object of what Helm has rendered, and the template that it comes from.
type document struct {
	template, text string
	unstructured.Unstructured
}

// documents splits what Helm has rendered.
func documents(t *testing.T, rendered string) []document {
	t.Helper()
	const source = "# Source: kube-devops/templates/"
	var all []document
	for part := range strings.SplitSeq("\n"+rendered, "\n---\n") {
		name, text, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(part), source), "\n")
		if !ok {
			continue
		}
		d := document{template: name, text: strings.TrimSpace(text) + "\n"}
		if err := yaml.UnmarshalStrict([]byte(d.text), &d.Object); err != nil {
			t.Fatalf("%s renders no YAML: %v\n%s", name, err, text)
		}
		all = append(all, d)
	}
	return all
}

// object is the one object of a kind and name.
func object(t *testing.T, all []document, kind, name string) map[string]any {
	t.Helper()
	for _, d := range all {
		if d.GetKind() == kind && d.GetName() == name {
			return d.Object
		}
	}
	t.Fatalf("no %s %s is rendered", kind, name)
	return nil
}

func kinds(all []document) []string {
	var names []string
	for _, d := range all {
		names = append(names, d.GetKind()+"/"+d.GetName())
	}
	return names
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
