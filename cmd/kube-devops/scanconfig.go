package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/suggest"
)

const (
	configName = ".kube-devops.yaml"
	configKind = "ScanConfig"
	// maxConfig is how many bytes a configuration may have.
	maxConfig = 64 << 10
)

// notInConfig are the flags that a configuration may not set, and why.
var notInConfig = map[string]string{
	"config":     "it names the file itself",
	"help":       "it is for the command line",
	"cluster":    "a repository must not choose which cluster is read",
	"context":    "a repository must not choose which cluster is read",
	"kubeconfig": "a repository must not choose which cluster is read",
}

// plainFlags hold texts that name no file. The value of any other flag for texts is taken for a path, so that a new flag
// does not open files outside of the repository.
var plainFlags = []string{"namespace", "check", "explain", "exclude", "color", "output"}

// A scanConfig is a file that sets flags of scan. It may come from a pull request of a stranger: it is named whenever it is
// used, reads no file outside of its repository, and writes none.
type scanConfig struct {
	name    string // as it is printed
	folder  string // in which it lies, and from which its paths start
	root    string // the repository, or the folder where there is none
	applied []string
}

// configure sets the flags that a configuration has, and the command line does not have.
func configure(cmd *cobra.Command, file string) error {
	c, err := findConfig(file, cmd.Flags().Changed("config"))
	if c == nil || err != nil {
		return err
	}
	text, err := c.read()
	if err == nil {
		err = c.apply(cmd.Flags(), text)
	}
	if err != nil {
		return fmt.Errorf("%w (--config none ignores the file)", err)
	}
	sets := "no flags"
	if len(c.applied) > 0 {
		sets = strings.Join(c.applied, ", ")
	}
	stderr := cmd.ErrOrStderr()
	printLine(stderr, screenOf(stderr, colorNever).width, fmt.Sprintf("%s sets %s; --config none ignores it", dump.OneLine(c.name), sets))
	return nil
}

// findConfig is the configuration that --config names, or that lies in the working directory or above it in the same
// repository; nil where there is none.
func findConfig(file string, named bool) (*scanConfig, error) {
	switch {
	case file == "none":
		return nil, nil
	case named && file == "":
		return nil, usageError{errors.New("--config is empty: name a file, or none")}
	case named:
		return newConfig(file)
	}
	at, err := os.Getwd()
	if err != nil {
		return nil, nil //nolint:nilerr // without a working directory there is no file in it
	}
	root := repositoryOf(at)
	for {
		name := filepath.Join(at, configName)
		if _, err := os.Lstat(name); err == nil {
			return newConfig(name)
		}
		if at == root {
			return nil, nil
		}
		at = filepath.Dir(at)
	}
}

// newConfig finds out where a file lies.
func newConfig(file string) (*scanConfig, error) {
	absolute, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dump.OneLine(file), bare(err))
	}
	folder := filepath.Dir(absolute)
	c := &scanConfig{name: relativeTo(absolute), folder: folder}
	if c.root, err = filepath.EvalSymlinks(repositoryOf(folder)); err != nil {
		return nil, fmt.Errorf("read %s: %w", dump.OneLine(file), bare(err))
	}
	return c, nil
}

// repositoryOf is the folder with .git in it, from a folder upwards; the folder itself where there is none.
func repositoryOf(folder string) string {
	for at := folder; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			return folder
		}
	}
}

// relativeTo is a path from the working directory, where it lies in that.
func relativeTo(absolute string) string {
	if at, err := os.Getwd(); err == nil {
		if relative, err := filepath.Rel(at, absolute); err == nil {
			return relative
		}
	}
	return absolute
}

func (c *scanConfig) read() ([]byte, error) {
	name := filepath.Join(c.folder, filepath.Base(c.name))
	if _, err := c.inside(name); err != nil {
		return nil, fmt.Errorf("read %s: %w", dump.OneLine(c.name), err)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dump.OneLine(c.name), bare(err))
	}
	if !info.Mode().IsRegular() { // a pipe would be waited for
		return nil, fmt.Errorf("read %s: not a regular file", dump.OneLine(c.name))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dump.OneLine(c.name), bare(err))
	}
	defer func() { _ = f.Close() }() // it is only read
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dump.OneLine(c.name), bare(err))
	}
	if len(text) > maxConfig {
		return nil, fmt.Errorf("read %s: larger than %d KiB", dump.OneLine(c.name), maxConfig>>10)
	}
	return text, nil
}

// inside is a path without links, which must not lead out of the repository.
func (c *scanConfig) inside(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", bare(err)
	}
	relative, err := filepath.Rel(c.root, real)
	if err != nil || !filepath.IsLocal(relative) {
		return "", errors.New("a link leads out of the repository")
	}
	return real, nil
}

// apply sets the flags.
func (c *scanConfig) apply(flags *pflag.FlagSet, text []byte) error {
	root, err := c.parse(text)
	if err != nil {
		return err
	}
	changed := make(map[string]bool) // on the command line
	flags.Visit(func(f *pflag.Flag) { changed[f.Name] = true })
	keys := configKeys(flags)
	seen := map[string]bool{"apiVersion": true, "kind": true}
	var errs []error
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		switch {
		case key.Value == "apiVersion" || key.Value == "kind":
			continue
		case seen[key.Value]:
			errs = append(errs, c.fault(key, "duplicate key %q", key.Value))
			continue
		case keys[key.Value] == "":
			errs = append(errs, c.unknown(key, keys))
			continue
		}
		seen[key.Value] = true
		name := keys[key.Value]
		if reason, refused := notInConfig[name]; refused {
			errs = append(errs, c.fault(key, "%s cannot be set here: %s", key.Value, reason))
		} else if !changed[name] {
			errs = append(errs, c.set(flags, flags.Lookup(name), key, value))
			c.applied = append(c.applied, key.Value)
		}
	}
	return errors.Join(errs...)
}

// parse reads the text as one mapping of the right kind, without anchors: nothing in it is larger than it looks.
func (c *scanConfig) parse(text []byte) (*yaml.Node, error) {
	var document, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %s", dump.OneLine(c.name), dump.OneLine(strings.TrimPrefix(err.Error(), "yaml: ")))
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: not a mapping: it must begin with apiVersion: %s and kind: %s", dump.OneLine(c.name), rules.APIVersion, configKind)
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one document", dump.OneLine(c.name))
	}
	root := document.Content[0]
	if err := c.refuseAnchors(root); err != nil {
		return nil, err
	}
	for key, want := range map[string]string{"apiVersion": rules.APIVersion, "kind": configKind} {
		if got := valueOf(root, key); got != want {
			return nil, fmt.Errorf("%s: %s is %q, must be %s", dump.OneLine(c.name), key, got, want)
		}
	}
	return root, nil
}

func (c *scanConfig) refuseAnchors(node *yaml.Node) error {
	if node.Anchor != "" || node.Kind == yaml.AliasNode {
		return c.fault(node, "anchors and aliases are not allowed: write the value out")
	}
	for _, child := range node.Content {
		if err := c.refuseAnchors(child); err != nil {
			return err
		}
	}
	return nil
}

func valueOf(mapping *yaml.Node, key string) string {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1].Value
		}
	}
	return ""
}

func (c *scanConfig) fault(at *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s: line %d: %s", dump.OneLine(c.name), at.Line, dump.OneLine(fmt.Sprintf(format, args...)))
}

func (c *scanConfig) unknown(key *yaml.Node, keys map[string]string) error {
	hint, best := "", 4 // a key that differs by more is another one
	for _, known := range slices.Sorted(func(yield func(string) bool) {
		for known, name := range keys {
			if _, refused := notInConfig[name]; !refused && !yield(known) {
				return
			}
		}
	}) {
		if distance := suggest.Distance(strings.ToLower(key.Value), strings.ToLower(known)); distance < best {
			hint, best = fmt.Sprintf("; did you mean %q?", known), distance
		}
	}
	return c.fault(key, "unknown key %q%s", key.Value, hint)
}

// configKeys are the keys of a configuration, each with its flag.
func configKeys(flags *pflag.FlagSet) map[string]string {
	keys := make(map[string]string)
	flags.VisitAll(func(f *pflag.Flag) { keys[camelCase(f.Name)] = f.Name })
	return keys
}

// camelCase is the key of a flag: failUnder of fail-under.
func camelCase(flag string) string {
	words := strings.Split(flag, "-")
	for i, word := range words[1:] {
		words[i+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}

// set sets one flag.
func (c *scanConfig) set(flags *pflag.FlagSet, flag *pflag.Flag, key, value *yaml.Node) error {
	list, isList := ungathered(flag.Value).(pflag.SliceValue)
	_, isOutput := ungathered(flag.Value).(*outputFlags)
	elements := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		if !isList && !isOutput {
			return c.fault(value, "%s takes one value, not a list", key.Value)
		}
		elements = value.Content
	}
	var texts []string
	for _, element := range elements {
		text, err := c.text(flag, key, element)
		if err != nil {
			return err
		}
		texts = append(texts, text)
	}
	if isList { // which takes each element as it stands, with its commas
		if err := list.Replace(texts); err != nil {
			return c.fault(value, "%s: %v", key.Value, err)
		}
		flag.Changed = true
		return nil
	}
	for i, text := range texts {
		if err := flags.Set(flag.Name, text); err != nil {
			if cause := errors.Unwrap(err); cause != nil {
				err = cause
			}
			return c.fault(elements[i], "%s: %v", key.Value, err)
		}
	}
	return nil
}

// text is the value of a flag, of which it makes a path that stays in the repository where it is one.
func (c *scanConfig) text(flag *pflag.Flag, key, value *yaml.Node) (string, error) {
	switch {
	case value.Kind != yaml.ScalarNode || value.Tag == "!!null":
		return "", c.fault(value, "%s is not a text, a number, true or false", key.Value)
	case flag.Name == "output" && strings.Contains(value.Value, "="):
		return "", c.fault(value, "%s: %q names a file: only formats are allowed here; write the file on the command line", key.Value, value.Value)
	case !holdsPath(flag) || flag.Name == "policy" && slices.Contains(policies.Names(), value.Value):
		return value.Value, nil
	case value.Value == "" || value.Value == "-" || !filepath.IsLocal(value.Value):
		return "", c.fault(value, "%s: %q is not a path within the folder of this file", key.Value, value.Value)
	}
	path := filepath.Join(c.folder, value.Value)
	if _, err := c.inside(path); err != nil {
		return "", c.fault(value, "%s: %q: %v", key.Value, value.Value, err)
	}
	return relativeTo(path), nil
}

// holdsPath reports whether the value of a flag may be the path of a file.
func holdsPath(flag *pflag.Flag) bool {
	return strings.HasPrefix(flag.Value.Type(), "string") && !slices.Contains(plainFlags, flag.Name)
}
