// Package golden compares what a test made with a file in the repository, and writes the file when the environment says
// UPDATE_GOLDEN=1. Only tests import it, and it imports nothing else of this module.
package golden

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Updating reports whether golden files are to be written rather than compared.
func Updating() bool { return os.Getenv("UPDATE_GOLDEN") == "1" }

// Compare fails the test when the file differs from got, and shows the difference. With UPDATE_GOLDEN=1 it writes the file.
func Compare(t testing.TB, file, got string) {
	t.Helper()
	want, err := os.ReadFile(file)
	if err == nil && string(want) == got {
		// A file that is up to date is not written again: tests of other packages may read it at the same time.
		return
	}
	if Updating() {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatalf("%v; to write it, run the test with UPDATE_GOLDEN=1", err)
	}
	t.Errorf("%s differs; to update it, run the test with UPDATE_GOLDEN=1 and review the change (-want +got):\n%s",
		file, cmp.Diff(string(want), got))
}
