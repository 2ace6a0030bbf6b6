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

// now is when all objects are created.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

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
			compare(t, binary, table, r, 1000, versions()...)
		})
	}
}

func TestRandomTables(t *testing.T) {
	binary := build(t)
	s := seed(t)
	tables := 40
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

// literals are the words of a table.
func literals(table string) []string {
	words := literal.FindAllString(table, -1)
	slices.Sort(words)
	return slices.Compact(words)
}

// compare compares an exported policy with the verdicts of a scan, for random objects.
func compare(t *testing.T, binary Binary, table string, r *Random, n int, versions ...*version.Version) {
	t.Helper()
	policy, err := binary.Export(table)
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
	var objects []Request
	for i := range n {
		objects = append(objects, r.Object(i))
	}
	want, err := binary.Scan(table, r.Now, objects)
	if err != nil {
		t.Fatal(err)
	}
	wrong, violations := 0, 0
	for i, of := range objects {
		// Up to 1.36 the API server evaluates unstructured objects, later typed ones.
		if i%2 == 0 {
			fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(of.Object)
			if err != nil {
				t.Fatal(err)
			}
			of.Object = &unstructured.Unstructured{Object: fields}
		}
		c := compiled[i/2%len(compiled)]
		got, err := c.Evaluate(of)
		text := ""
		switch {
		case err != nil:
			text = err.Error()
		default:
			text = difference(c, got, want[of.Name])
		}
		for _, ids := range got.Violations {
			violations += len(ids)
		}
		if text != "" {
			if wrong++; wrong <= 5 {
				object, _ := json.Marshal(of.Object)
				t.Errorf("object %d: %s\n%s", i, text, object)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d objects differ", wrong, n)
	}
	t.Logf("%d objects, %d violations", n, violations)
}

// difference compares the violations of an exported policy with those of a scan; empty when they are equal.
func difference(p *Policy, got Result, want map[string][]string) string {
	violations := got.Violations
	if !got.Matched || got.Skipped {
		violations = nil
	}
	var all []string
	for _, check := range p.Checks() {
		if !slices.Equal(violations[check], want[check]) {
			all = append(all, fmt.Sprintf("check %s: exported %q, scanned %q", check, violations[check], want[check]))
		}
	}
	refused := false
	for _, check := range p.Checks() {
		refused = refused || len(want[check]) > 0
	}
	if got.Matched && got.Admitted == refused {
		all = append(all, fmt.Sprintf("admitted: %t, with the message %q", got.Admitted, got.Message))
	}
	return strings.Join(all, "\n")
}
