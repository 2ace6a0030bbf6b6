package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A recorder is a test that fails without an effect on the test around it.
type recorder struct {
	testing.TB
	message string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) { r.message = fmt.Sprintf(format, args...) }

func (r *recorder) Fatalf(format string, args ...any) { r.message = fmt.Sprintf(format, args...) }

func TestCompare(t *testing.T) {
	t.Setenv("UPDATE_GOLDEN", "")
	file := filepath.Join(t.TempDir(), "new", "report.txt")
	compare := func(got string) string {
		r := &recorder{TB: t}
		Compare(r, file, got)
		return r.message
	}
	if message := compare("a\n"); !strings.Contains(message, "UPDATE_GOLDEN=1") {
		t.Errorf("a missing file: %q, want how to write it", message)
	}

	t.Setenv("UPDATE_GOLDEN", "1")
	if message := compare("a\n"); message != "" {
		t.Errorf("the update failed: %s", message)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "a\n" {
		t.Errorf("the file has %q, %v", text, err)
	}

	t.Setenv("UPDATE_GOLDEN", "")
	if message := compare("a\n"); message != "" {
		t.Errorf("the same text fails: %s", message)
	}
	message := compare("b\n")
	for _, want := range []string{file, "UPDATE_GOLDEN=1", "a\n", "b\n"} {
		if !strings.Contains(strings.ReplaceAll(message, `\n`, "\n"), want) {
			t.Errorf("the message does not name %q:\n%s", want, message)
		}
	}
}
