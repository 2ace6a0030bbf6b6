package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const strictGrades = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: strict}
checks:
  - {id: latest_tag, severity: critical, weight: 1, forEach: spec.containers, violation: {path: image, operator: imageTag, value: latest}}
  - {id: no_probe, severity: high, weight: 1, forEach: spec.containers, violation: {path: livenessProbe, operator: absent}}
  - {id: no_image, severity: critical, weight: 10, forEach: spec.containers, violation: {path: image, operator: absent}}
grades: [{name: Healthy, min: 80, maxSeverity: medium}, {name: Stable, min: 70, maxSeverity: high}, {name: Degraded, min: 60}, {name: Critical, min: 0}]
`

// strictScan returns a scan of namespaces, given by the images of their containers. No container has a probe.
func strictScan(t *testing.T, images map[string]string) *Scan {
	t.Helper()
	b := newScan(loadTable(t, strictGrades))
	for namespace, image := range images {
		pod := []byte(`{"spec":{"containers":[{"name":"a","image":"` + image + `"}]}}`)
		if err := b.put(namespace, "pod", pod, new(Origin)); err != nil {
			t.Fatal(err)
		}
	}
	return b.done()
}

// TestGradeReason checks that reports name the severity that a grade does not allow.
func TestGradeReason(t *testing.T) {
	scan := strictScan(t, map[string]string{"a": "app:latest", "b": "app:latest", "c": "app:1"})
	want := []string{
		"Grade of the cluster: Healthy needs no critical or high violation; 5 are left.",
		"Grade of 3 namespaces: Healthy needs no critical or high violation.",
	}
	if diff := cmp.Diff(want, scan.gradeNotes()); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	for _, format := range []string{"table", "markdown", "html", "sarif", "junit", "github"} {
		f, err := FormatNamed(format)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(printed(t, f.Print, scan, Options{})); !strings.Contains(text, "Healthy needs no critical or high violation; 5 are left") {
			t.Errorf("%s does not say why the grade is lower:\n%s", format, text)
		}
	}
	var text bytes.Buffer
	if err := Explain(&text, scan, []string{"c"}, Options{}); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(text.String(), "\n"); !strings.Contains(lines[0], ", Stable: ") || lines[1] != "Healthy needs no critical or high violation; 1 is left." {
		t.Errorf("explained:\n%s", text.String())
	}
	text.Reset()
	if err := ExplainJSON(&text, scan, []string{"a"}, Options{}); err != nil {
		t.Fatal(err)
	}
	var explained struct {
		Namespaces []struct{ Grade, GradeReason string }
	}
	if err := json.Unmarshal(text.Bytes(), &explained); err != nil {
		t.Fatal(err)
	}
	if got := explained.Namespaces[0]; got.Grade != "Degraded" || got.GradeReason != "Healthy needs no critical or high violation; 2 are left" {
		t.Errorf("explained %+v", got)
	}
}

// TestNoGradeReason checks that there is no reason if the compliance decides the grade, or if there is no data.
func TestNoGradeReason(t *testing.T) {
	shop, _ := recorded(t)["shop"]()
	for name, scan := range map[string]*Scan{"by compliance": shop, "no data": strictScan(t, nil)} {
		if notes := scan.gradeNotes(); notes != nil {
			t.Errorf("%s: %q", name, notes)
		}
	}
}
