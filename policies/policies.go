// Package policies holds the policy tables that ship with kube-devops, and finds a table by its name or its file.
package policies

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/kube-devops/kube-devops/rules"
)

//go:embed *.yaml
var shipped embed.FS

// Default is the name of the table that is used when none is asked for.
const Default = "default"

// Names lists the tables that ship, sorted.
func Names() []string {
	files, err := fs.Glob(shipped, "*.yaml")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(file, ".yaml")
	}
	return files
}

// Open loads a table: the one that ships under the name, else the one in the file of that name.
func Open(fileOrName string) (*rules.Table, error) {
	file, text, err := Read(fileOrName)
	if err != nil {
		return nil, err
	}
	return rules.Load(file, text)
}

// Read returns the text of a table, and the name to use for it in messages.
func Read(fileOrName string) (file string, text []byte, err error) {
	if text, err := shipped.ReadFile(fileOrName + ".yaml"); err == nil {
		return fileOrName + ".yaml", text, nil
	}
	text, err = os.ReadFile(fileOrName)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("%w (neither a file, nor one of the tables that ship: %s)", err, strings.Join(Names(), ", "))
	}
	return fileOrName, text, err
}
