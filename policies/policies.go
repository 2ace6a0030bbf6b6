// Package policies holds the policy tables that ship with kube-devops, and finds a table by its name or its file.
package policies

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/schema"
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

// Shipped returns the text of the table that ships under a name; false where there is none.
func Shipped(name string) ([]byte, bool) {
	text, err := shipped.ReadFile(name + ".yaml")
	return text, err == nil
}

// Open loads a table: the one that ships under the name, else the one in the file of that name.
func Open(fileOrName string) (*rules.Table, error) {
	if text, ok := Shipped(fileOrName); ok {
		return rules.Load(fileOrName+".yaml", text)
	}
	text, err := ReadFile(fileOrName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w (a policy is a file, or one of the tables that ship: %s)", err, strings.Join(Names(), ", "))
	}
	if err != nil {
		return nil, err
	}
	return rules.Load(fileOrName, text)
}

// OpenWithWaivers is Open, with the waivers of a file beside the table; without where the file's name is empty.
func OpenWithWaivers(fileOrName, waivers string) (*rules.Table, error) {
	table, err := Open(fileOrName)
	if err != nil || waivers == "" {
		return table, err
	}
	text, err := ReadFile(waivers)
	if err != nil {
		return nil, err
	}
	return table.WithWaivers(waivers, text)
}

// ReadFile returns the text of a table, of waivers or of policy tests. Of a file that is larger than those may be it reads
// no more than shows that it is.
func ReadFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // what was only read loses nothing
	return io.ReadAll(io.LimitReader(file, rules.MaxBytes+1))
}
