package celtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"
)

// A Binary is the built kube-devops.
type Binary struct {
	Path string
	Dir  string // for its input
}

func (b Binary) run(now time.Time, args ...string) ([]byte, error) {
	command := exec.Command(b.Path, args...)
	command.Env = []string{"HOME=" + b.Dir}
	if !now.IsZero() {
		command.Env = append(command.Env, "SOURCE_DATE_EPOCH="+strconv.FormatInt(now.Unix(), 10))
	}
	var out, errors bytes.Buffer
	command.Stdout, command.Stderr = &out, &errors
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, errors.Bytes())
	}
	return out.Bytes(), nil
}

// Export exports a table, given by its name or file, as a policy that audits every request. It leaves out checks that CEL cannot express.
func (b Binary) Export(table string) (*admissionregistrationv1.ValidatingAdmissionPolicy, error) {
	text, err := b.ExportText(table)
	if err != nil {
		return nil, err
	}
	return Parse(text)
}

// ExportText returns the YAML of Export, with the binding.
func (b Binary) ExportText(table string) (string, error) {
	text, err := b.run(time.Time{}, "policy", "export", "vap", "--policy", table, "--action", "audit", "--partial")
	return string(text), err
}

// Parse returns the first policy of an export.
func Parse(export string) (*admissionregistrationv1.ValidatingAdmissionPolicy, error) {
	for _, document := range strings.Split(export, "\n---\n") {
		policy := new(admissionregistrationv1.ValidatingAdmissionPolicy)
		if err := yaml.Unmarshal([]byte(document), policy); err != nil {
			return nil, err
		}
		if policy.Kind == "ValidatingAdmissionPolicy" {
			return policy, nil
		}
	}
	return nil, fmt.Errorf("the export has no policy")
}

// Scan returns the violations that no waiver accepts, by object name and check, in the form of an exported policy.
func (b Binary) Scan(table string, now time.Time, objects []Request) (map[string]map[string][]string, error) {
	var list struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Items      []any  `json:"items"`
	}
	list.APIVersion, list.Kind = "v1", "List"
	for _, of := range objects {
		list.Items = append(list.Items, of.Object)
	}
	text, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(b.Dir, "objects.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	out, err := b.run(now, "scan", "--policy", table, "--allow-empty", "-o", "json", file)
	if err != nil {
		return nil, err
	}
	var report struct {
		Violations []struct {
			Pod, Workload, Check, Container, Subject, Path string
			Waiver                                         json.RawMessage
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return nil, err
	}
	violations := make(map[string]map[string][]string)
	for _, v := range report.Violations {
		if len(v.Waiver) > 0 {
			continue
		}
		name := v.Pod
		if _, of, isTemplate := strings.Cut(v.Pod, "/"); isTemplate {
			name = of
		}
		if violations[name] == nil {
			violations[name] = make(map[string][]string)
		}
		violations[name][v.Check] = append(violations[name][v.Check], entry(v.Container, v.Subject, v.Path))
	}
	return violations, nil
}

var index = regexp.MustCompile(`\.[0-9]+`)

// entry returns a violation in the form of an exported policy, in which a subject without a name has the path of its list.
func entry(container, subject, path string) string {
	if subject == "" {
		return container
	}
	if strings.HasSuffix("."+path, "."+subject) && index.MatchString(subject) {
		subject = index.ReplaceAllString(subject, "")
	}
	return container + "/" + strings.ReplaceAll(subject, "\n", " ")
}
