package celtest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/version"
)

func build(t testing.TB) Binary {
	t.Helper()
	b := Binary{Path: os.Getenv("KUBE_DEVOPS"), Dir: t.TempDir()}
	if b.Path == "" {
		b.Path = filepath.Join(b.Dir, "kube-devops")
		command := exec.Command("go", "build", "-o", b.Path, "./cmd/kube-devops")
		command.Dir = "../../.."
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
	}
	return b
}

func seed(t testing.TB) uint64 {
	s := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", s)
	return s
}

// now is the creation time of all objects.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestShippedTables compares the built-in tables, with the functions of each supported version of Kubernetes.
func TestShippedTables(t *testing.T) {
	binary := build(t)
	s := seed(t)
	for _, table := range []string{"default", "recommended", "pss-baseline", "pss-restricted", "extended"} {
		t.Run(table, func(t *testing.T) {
			text, err := os.ReadFile("../../../policies/" + table + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			r := &Random{Rand: Seeded(s, 0), Texts: literals(string(text)), Now: now}
			compare(t, binary, table, r, 150, versions()...)
		})
	}
}

// TestForms compares forms that rarely decide a verdict in random tables.
func TestForms(t *testing.T) {
	compare(t, build(t), "testdata/forms.yaml", &Random{Rand: Seeded(seed(t), 0), Now: now}, 400, versions()...)
}

// TestRandomTables compares random tables of all forms. The environment variable TABLES sets their number.
func TestRandomTables(t *testing.T) {
	binary := build(t)
	s := seed(t)
	tables := 30
	if n, err := strconv.Atoi(os.Getenv("TABLES")); err == nil {
		tables = n
	}
	for i := range tables {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			r := &Random{Rand: Seeded(s, uint64(i)), Now: now}
			text := Table(r, fmt.Sprintf("random-%d", i))
			file := filepath.Join(binary.Dir, "table.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			r.Texts = literals(text)
			compare(t, binary, file, r, 50, Oldest, Newest)
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

func versions() []*version.Version {
	var all []*version.Version
	for minor := Oldest.Minor(); minor <= Newest.Minor(); minor++ {
		all = append(all, version.MajorMinor(1, minor))
	}
	return all
}

var literal = regexp.MustCompile(`[^\s{}\[\],"':]+`)

// literals returns the words of a table.
func literals(table string) []string {
	words := literal.FindAllString(table, -1)
	slices.Sort(words)
	return slices.Compact(words)
}

// A compared is an exported policy with random objects, and the verdicts of a scan.
type compared struct {
	export  string
	objects []Request
	want    map[string]map[string][]string
}

func newCompared(binary Binary, table string, r *Random, n int) (*compared, error) {
	c := new(compared)
	for i := range n {
		c.objects = append(c.objects, r.Object(i))
	}
	var err error
	if c.export, err = binary.ExportText(table); err == nil {
		c.want, err = binary.Scan(table, r.Now, c.objects)
	}
	return c, err
}

// compare compares an exported policy with the verdicts of a scan, for random objects.
func compare(t *testing.T, binary Binary, table string, r *Random, n int, versions ...*version.Version) {
	t.Helper()
	of, err := newCompared(binary, table, r, n)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := Parse(of.export)
	if err != nil {
		t.Fatal(err)
	}
	var compiled []*Policy
	for _, v := range versions {
		c, err := Compile(v, policy)
		if err != nil {
			t.Fatal(err)
		}
		compiled = append(compiled, c)
	}
	wrong, violations := 0, 0
	for i, object := range of.objects {
		for _, ids := range of.want[object.Name] {
			violations += len(ids)
		}
		if text := difference(compiled[i/2%len(compiled)], object, i, of.want); text != "" {
			if wrong++; wrong <= 3 {
				object, _ := json.Marshal(object.Object)
				t.Errorf("object %d: %s\n%s", i, text, object)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d objects differ", wrong, n)
	}
	t.Logf("%d objects, %d violations", n, violations)
}

// difference describes how the violations of an exported policy differ from those of a scan; empty if they are equal. Up to Kubernetes 1.36, the
// API server evaluates unstructured objects, and later typed objects. The number of the object selects the kind.
func difference(p *Policy, of Request, number int, want map[string]map[string][]string) string {
	if number%2 == 0 {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(of.Object)
		if err != nil {
			return err.Error()
		}
		of.Object = &unstructured.Unstructured{Object: fields}
	}
	got, err := p.Evaluate(of)
	if err != nil {
		return err.Error()
	}
	violations := got.Violations
	if !got.Matched || got.Skipped {
		violations = nil
	}
	var all []string
	refused := false
	for _, check := range p.Checks() {
		scanned := want[of.Name][check]
		refused = refused || len(scanned) > 0
		if !slices.Equal(violations[check], scanned) {
			all = append(all, fmt.Sprintf("check %s: exported %q, scanned %q", check, violations[check], scanned))
		}
	}
	if got.Matched && got.Admitted == refused {
		all = append(all, fmt.Sprintf("admitted: %t, with the message %q", got.Admitted, got.Message))
	}
	return strings.Join(all, "\n")
}
