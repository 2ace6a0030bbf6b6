package dump

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// write makes files, each of the text {}, and their folders, in a folder of the test.
func write(t *testing.T, names ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range names {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// pathsOf are the files that were found, those in folders with a star.
func pathsOf(found Found) string {
	var paths []string
	for _, f := range found.Files {
		if f.Found {
			f.Path += "*"
		}
		paths = append(paths, f.Path)
	}
	return strings.Join(paths, " ")
}

func TestFind(t *testing.T) {
	write(t, "b.json", "d/a.YAML", "d/z.yml.gz", "d/e/x.jsonl", "d/e/x.ndjson.zst", "d/README.md", "d/.hidden.json", "d/.git/x.json", "d/secret.txt",
		"empty/x.txt", "a[1].json")
	if err := os.Symlink("d/e", "link"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		paths []string
		want  string
		bare  []string
		err   string
	}{
		{[]string{"b.json", "-"}, "b.json -", nil, ""},
		{[]string{"d"}, "d/a.YAML* d/e/x.jsonl* d/e/x.ndjson.zst* d/z.yml.gz*", nil, ""},
		{[]string{"d/README.md", "d/.git"}, "d/README.md d/.git/x.json*", nil, ""},
		{[]string{"./b.json", "b.json", "*.json"}, "./b.json a[1].json*", nil, ""},
		{[]string{"a[1].json"}, "a[1].json", nil, ""},
		{[]string{"link"}, "link/x.jsonl* link/x.ndjson.zst*", nil, ""},
		{[]string{"d*/*.yml.gz"}, "d/z.yml.gz*", nil, ""},
		{[]string{"d*"}, "d/a.YAML* d/e/x.jsonl* d/e/x.ndjson.zst* d/z.yml.gz*", nil, ""},
		{[]string{"empty", "b.json"}, "b.json", []string{"empty"}, ""},
		{[]string{"none.json", "*.yaml", "[", "b.json"}, "b.json", nil, "read none.json: no such file or directory\nread *.yaml: no file matches the pattern\n" +
			"read [: is neither a file nor a valid pattern: syntax error in pattern"},
	} {
		found := Find(tt.paths, nil)
		err := errors.Join(found.Errors...)
		for _, f := range found.Files {
			if f.Path != "-" && f.Size != 2 {
				t.Errorf("%s has %d bytes", f.Path, f.Size)
			}
		}
		if got := pathsOf(found); got != tt.want || tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err) {
			t.Errorf("%q:\ngot  %s, %v\nwant %s, %s", tt.paths, got, err, tt.want, tt.err)
		}
		if diff := cmp.Diff(tt.bare, found.EmptyFolders); diff != "" {
			t.Errorf("%q: bare folders (-want +got):\n%s", tt.paths, diff)
		}
	}
}

// TestFindUnreadable: a fault names the file or folder that has it, and hides nothing that lies beside it. A
// link that leads nowhere is a fault where it was named, and is left out in a folder.
func TestFindUnreadable(t *testing.T) {
	write(t, "d/a.json", "d/closed/x.json", "d/open/z.yaml")
	if err := errors.Join(os.Symlink("none.yaml", "d/b.yaml"), os.Symlink("loop.yaml", "d/loop.yaml"), os.Symlink("none", "d/README"), os.Chmod("d/closed", 0)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod("d/closed", 0o700) }) // else it cannot be removed
	want := []string{"read none.json: no such file or directory", "read d/b.yaml: no such file or directory", "read d/closed: permission denied"}
	names := "d/a.json* d/open/z.yaml*"
	if os.Geteuid() == 0 { // who may read everything
		want = slices.Delete(want, 2, 3)
		names = "d/a.json* d/closed/x.json* d/open/z.yaml*"
	}
	for _, path := range []string{"d", "d*"} {
		found := Find([]string{"none.json", "d/b.yaml", path}, nil)
		var errs []string
		for _, err := range found.Errors {
			errs = append(errs, err.Error())
		}
		if diff := cmp.Diff(want, errs); diff != "" || pathsOf(found) != names {
			t.Errorf("%s: %s; faults (-want +got):\n%s", path, pathsOf(found), diff)
		}
		if diff := cmp.Diff(Skipped{2, "d/b.yaml"}, found.DanglingLinks); diff != "" {
			t.Errorf("%s: dangling links (-want +got):\n%s", path, diff)
		}
		if found := Find([]string{path}, []string{"closed"}); len(found.Errors) > 0 {
			t.Errorf("%s: a folder that is excluded is read: %v", path, found.Errors)
		}
	}
	if found := Find([]string{"d/*.yaml"}, nil); found.DanglingLinks.Count != 2 || len(found.Errors) > 0 {
		t.Errorf("a pattern: %+v", found)
	}
}

// TestChartTemplates: the templates folder beside a Chart.yaml holds templates, however deep, and whichever of its folders
// was named. Another folder of that name does not.
func TestChartTemplates(t *testing.T) {
	write(t, "c/Chart.yaml", "c/values.yaml", "c/templates/a.yaml", "c/templates/web/b.yaml", "c/templates/NOTES.txt", "c/charts/sub/Chart.yaml",
		"c/charts/sub/templates/c.yaml", "c/crds/d.yaml", "c/templates-old/e.yaml", "app/templates/f.yaml")
	for path, want := range map[string]struct {
		files string
		left  Skipped
	}{
		".":                 {"app/templates/f.yaml* c/Chart.yaml* c/charts/sub/Chart.yaml* c/crds/d.yaml* c/templates-old/e.yaml* c/values.yaml*", Skipped{3, "c/charts/sub/templates/c.yaml"}},
		"c/templates":       {"", Skipped{2, "c/templates/a.yaml"}},
		"c/templates/web":   {"", Skipped{1, "c/templates/web/b.yaml"}},
		"c/templates/../..": {"c/templates/../../app/templates/f.yaml*", Skipped{3, ""}},
		"app/templates":     {"app/templates/f.yaml*", Skipped{}},
		"c/templates/*":     {"c/templates/NOTES.txt* c/templates/a.yaml*", Skipped{1, "c/templates/web/b.yaml"}},
	} {
		found := Find([]string{path}, nil)
		if path == "c/templates/../.." {
			if found.ChartTemplates.Count != 3 {
				t.Errorf("%s: %+v", path, found.ChartTemplates)
			}
			continue
		}
		if got := pathsOf(found); got != want.files || found.ChartTemplates != want.left || len(found.EmptyFolders) > 0 {
			t.Errorf("%s: files %q, want %q; templates %+v, want %+v; bare %q", path, got, want.files, found.ChartTemplates, want.left, found.EmptyFolders)
		}
	}
	t.Chdir("c/templates")
	if found := Find([]string{"."}, nil); found.ChartTemplates.Count != 2 {
		t.Errorf("from within: %+v", found)
	}
}

func TestExclude(t *testing.T) {
	write(t, "a.yaml", "charts/x/b.yaml", "charts/c.yaml", "test/d.yaml", "lib/test/e.yaml", "lib/test/deep/f.yaml", "lib/g.yaml", "lib/h.json")
	all := "a.yaml charts/c.yaml charts/x/b.yaml lib/g.yaml lib/h.json lib/test/deep/f.yaml lib/test/e.yaml test/d.yaml"
	for _, tt := range []struct{ globs, excluded string }{
		{"charts", "charts/c.yaml charts/x/b.yaml"},
		{"./charts/", "charts/c.yaml charts/x/b.yaml"},
		{"charts/**", "charts/c.yaml charts/x/b.yaml"},
		{"charts/*", "charts/c.yaml charts/x/b.yaml"},
		{"charts/*.yaml", "charts/c.yaml"},
		{"test", "test/d.yaml"},
		{"**/test", "lib/test/deep/f.yaml lib/test/e.yaml test/d.yaml"},
		{"**/test/*.yaml", "lib/test/e.yaml test/d.yaml"},
		{"lib/**/*.yaml", "lib/g.yaml lib/test/deep/f.yaml lib/test/e.yaml"},
		{"**/[d-f].yaml", "lib/test/deep/f.yaml lib/test/e.yaml test/d.yaml"},
		{"**/[!a-f].yaml", "lib/g.yaml"},
		{"**/*.json charts", "charts/c.yaml charts/x/b.yaml lib/h.json"},
		{"**", all},
		{"*", all},
		{"**/**/deep/**/**", "lib/test/deep/f.yaml"},
	} {
		found := Find([]string{"."}, strings.Fields(tt.globs))
		var want []string
		excluded := strings.Fields(tt.excluded)
		for _, name := range strings.Fields(all) {
			if !slices.Contains(excluded, name) {
				want = append(want, name+"*")
			}
		}
		if got := pathsOf(found); got != strings.Join(want, " ") || found.Excluded != (Skipped{len(excluded), excluded[0]}) || found.UnusedPatterns != nil || found.EmptyFolders != nil {
			t.Errorf("%s: files %s, want %s; %+v", tt.globs, got, strings.Join(want, " "), found)
		}
	}
	// A pattern is one of the folder that was named; a file that was named is not affected, and a pattern without use is known.
	found := Find([]string{"lib", "a.yaml"}, []string{"test", "*.yaml", "lib", "no/such"})
	if got := pathsOf(found); got != "lib/h.json* a.yaml" {
		t.Errorf("files %s", got)
	}
	if diff := cmp.Diff([]string{"lib", "no/such"}, found.UnusedPatterns); diff != "" {
		t.Errorf("unused (-want +got):\n%s", diff)
	}
	if found := Find([]string{"a.yaml"}, []string{"*.yaml"}); pathsOf(found) != "a.yaml" || found.UnusedPatterns != nil {
		t.Errorf("a file alone: %+v", found)
	}
}

func TestCheckGlobs(t *testing.T) {
	if err := CheckGlobs([]string{"a", "**/b", "a/**/[a-c]*/", "./x"}); err != nil {
		t.Error(err)
	}
	for glob, want := range map[string]string{
		"[": "syntax error in pattern", "a/[/b": "syntax error in pattern", "": "the pattern is empty", "./": "the pattern is empty", "a/../b": "leaves the folder", "/a": "is absolute",
	} {
		if err := CheckGlobs([]string{"ok", glob}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--exclude ") {
			t.Errorf("%q: %v, want %s", glob, err, want)
		}
	}
	// However many ** a pattern has, it takes no more than a moment.
	if newGlob(strings.Repeat("**/a/", 200) + "b").matches(slices.Repeat([]string{"a"}, 2000)) {
		t.Error("a pattern matches what it does not")
	}
}
