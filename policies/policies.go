// Package policies holds the built-in policy tables and the schema of a Pod, and opens a table by its name or its file, with all that it
// extends. It must not know what a table says: that is in package rules.
package policies

import (
	"embed"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/schema"
	"github.com/kube-devops/kube-devops/rules/suggest"
)

//go:embed *.yaml
var shipped embed.FS

//go:embed pod.schema.json
var podSchema []byte

// PodSchema returns the schema of a Pod.
var PodSchema = sync.OnceValue(func() *schema.Schema {
	pods, err := schema.Parse(podSchema)
	if err != nil {
		panic(fmt.Sprintf("the embedded schema of a Pod: %v", err))
	}
	return pods
})

// Default is the name of the table that is used by default.
const Default = "default"

// Names returns the names of the built-in tables, sorted.
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

// Shipped returns the text of a built-in table; false when there is none with the name.
func Shipped(name string) ([]byte, bool) {
	text, err := shipped.ReadFile(name + ".yaml")
	return text, err == nil
}

// Open loads built-in tables, by their names, and tables in files, with all that they extend. Several are one table that extends them
// all, and has the name of the last one.
func Open(filesOrNames ...string) (*rules.Table, error) {
	sources, err := Resolve(Read, filesOrNames...)
	if err != nil {
		return nil, err
	}
	return rules.LoadAll(sources...)
}

// OpenWithWaivers is Open, and adds the waivers of a file unless its name is empty.
func OpenWithWaivers(filesOrNames []string, waivers string) (*rules.Table, error) {
	sources, err := Resolve(Read, filesOrNames...)
	if err != nil {
		return nil, err
	}
	return LoadWithWaivers(sources, waivers)
}

// LoadWithWaivers merges tables, and adds the waivers of a file unless its name is empty.
func LoadWithWaivers(sources []rules.Source, waivers string) (*rules.Table, error) {
	table, err := rules.LoadAll(sources...)
	if err != nil || waivers == "" {
		return table, err
	}
	text, err := ReadFile(waivers)
	if err != nil {
		return nil, err
	}
	return table.WithWaivers(waivers, text)
}

// NotFound adds to the error of a table that does not exist what its name most likely means.
func NotFound(fileOrName string, err error) error {
	if hint := suggest.DidYouMean(filepath.Base(fileOrName), Names()); hint != "" {
		return fmt.Errorf("%w%s", err, hint)
	}
	for _, extension := range []string{".yaml", ".yml"} {
		if _, missing := os.Stat(fileOrName + extension); fileOrName != "" && missing == nil {
			return fmt.Errorf("%w (did you mean %q?)", err, fileOrName+extension)
		}
	}
	return fmt.Errorf("%w (a policy is a file or a built-in table: %s)", err, strings.Join(Names(), ", "))
}

// ReadFile returns the text of a table, of waivers or of policy tests. It reads at most one byte more than such a file may have.
func ReadFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // closing a file that was only read loses nothing
	return io.ReadAll(io.LimitReader(file, rules.MaxBytes+1))
}
