package enforce_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
)

// copyOf copies a file of the test beside which others can be written, and returns its path.
func copyOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, filepath.Base(path), string(b))
}

// readme reads a page of the repository.
func readme(t *testing.T, path string) string {
	t.Helper()
	root, err := binaries.Root()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
