package policies_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"sigs.k8s.io/yaml"
)

// TestPodSecurityFixtures compares the tables with the Pod Security Standards on the pods that these are tested by: those of the newest
// version, and with a long run those of all versions.
func TestPodSecurityFixtures(t *testing.T) {
	versions := pssVersion.String()
	if !testing.Short() {
		versions = "*"
	}
	tables, counts := pssTables(t), make(map[string]int)
	for _, f := range pssFixtures(t, versions) {
		text, err := json.Marshal(f.pod)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range tables {
			for _, difference := range p.differences(f.pod, text) {
				t.Errorf("%s: %s: %s", f.file, p.table.Name(), difference)
			}
			// The file says itself what the newest version answers.
			if f.version == pssVersion.String() && f.level == p.level && f.fails != (len(p.verdict.Violations) > 0) {
				t.Errorf("%s: %s has %d violations", f.file, p.table.Name(), len(p.verdict.Violations))
			}
		}
		counts[f.version]++
	}
	t.Logf("pods by version: %v", counts)
	if counts[pssVersion.String()] < 100 {
		t.Errorf("%d fixtures of version %s, want 100 or more", counts[pssVersion.String()], pssVersion)
	}
}

type pssFixture struct {
	file, version string
	level         api.Level
	fails         bool
	pod           *corev1.Pod
}

// pssFixtures reads the pods of a version from the module's folder: test/testdata/LEVEL/VERSION/pass and fail.
func pssFixtures(t *testing.T, version string) (fixtures []pssFixture) {
	t.Helper()
	folder, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/pod-security-admission").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	root := filepath.Join(strings.TrimSpace(string(folder)), "test", "testdata")
	next := api.MajorMinorVersion(pssVersion.Major(), pssVersion.Minor()+1)
	if _, err := os.Stat(filepath.Join(root, "restricted", next.String())); err == nil {
		t.Errorf("the module knows version %s: bring the tables up to date, and the version that they name", next)
	}
	files, err := filepath.Glob(filepath.Join(root, "*", version, "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(filepath.ToSlash(name), "/")
		f := pssFixture{file: name, level: api.Level(parts[0]), version: parts[1], fails: parts[2] == "fail", pod: new(corev1.Pod)}
		if err := yaml.UnmarshalStrict(text, f.pod); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, volume := range f.pod.Spec.Volumes {
			if volume.VolumeSource == (corev1.VolumeSource{}) { // the API server's default, which it sets before it asks
				f.pod.Spec.Volumes[i].EmptyDir = new(corev1.EmptyDirVolumeSource)
			}
		}
		fixtures = append(fixtures, f)
	}
	return fixtures
}
