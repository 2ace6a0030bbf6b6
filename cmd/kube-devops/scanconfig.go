package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
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
	configName    = ".kube-devops.yaml"
	configKind    = "ScanConfig"
	maxConfigSize = 64 << 10
)

// notInConfig are the flags that a configuration file must not set, with the reason.
var notInConfig = map[string]string{
	"config":     "it names the file itself",
	"help":       "it is for the command line",
	"cluster":    "a repository must not choose which cluster is read",
	"context":    "a repository must not choose which cluster is read",
	"kubeconfig": "a repository must not choose which cluster is read",
}

// notPaths are the text flags whose value is not a path. The value of any other text flag is checked as a path, so that a new
// flag cannot open files outside the repository by mistake.
var notPaths = []string{"namespace", "check", "explain", "exclude"}

// A scanConfig is a file that sets flags of scan. It may come from an untrusted pull request, so it is named whenever it is
// used, reads no file outside its repository, and writes none.
type scanConfig struct {
	name    string   // for messages
	folder  string   // paths in the file are relative to it
	root    *os.Root // the repository; without one, the folder
	applied []string // keys
}

// configure sets the flags that the configuration file sets and the command line does not.
func configure(cmd *cobra.Command, file string) error {
	path, err := findConfig(file, cmd.Flags().Changed("config"))
	if path == "" || err != nil {
		return err
	}
	c := scanConfig{name: relativePath(path), folder: filepath.Dir(path)}
	if c.root, err = os.OpenRoot(repositoryOf(c.folder)); err != nil {
		return fmt.Errorf("read %s: %w", dump.OneLine(c.name), bare(err))
	}
	defer func() { _ = c.root.Close() }() // only read
	text, err := c.read(path)
	if err != nil {
		err = fmt.Errorf("read %s: %w", dump.OneLine(c.name), bare(err))
	} else {
		err = c.apply(cmd.Flags(), text)
	}
	if err != nil {
		return fmt.Errorf("%w (--config none ignores the file)", err)
	}
	set := "no flags"
	if len(c.applied) > 0 {
		set = strings.Join(c.applied, ", ")
	}
	printLine(cmd.ErrOrStderr(), fmt.Sprintf("%s sets %s; --config none ignores it", c.name, set))
	return nil
}

// findConfig returns the absolute path of the file that --config names, or of the one in the working directory or a parent
// within the repository. It returns "" if there is none.
func findConfig(file string, named bool) (string, error) {
	switch {
	case file == "none":
		return "", nil
	case named && file == "":
		return "", usageError{errors.New("--config is empty: name a file, or none")}
	case named:
		return filepath.Abs(file)
	}
	folder, err := os.Getwd()
	if err != nil {
		return "", nil //nolint:nilerr // there is no configuration file without a working directory
	}
	root := repositoryOf(folder)
	for {
		path := filepath.Join(folder, configName)
		if _, err := os.Lstat(path); err == nil {
			return path, nil
		}
		if folder == root {
			return "", nil
		}
		folder = filepath.Dir(folder)
	}
}

// repositoryOf returns the nearest folder with .git, from a folder upwards; the folder itself if there is none.
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

// relativePath returns a path relative to the working directory.
func relativePath(absolute string) string {
	if at, err := os.Getwd(); err == nil {
		if relative, err := filepath.Rel(at, absolute); err == nil {
			return relative
		}
	}
	return absolute
}

func (c *scanConfig) read(path string) ([]byte, error) {
	relative, info, err := c.stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // opening a pipe blocks
		return nil, errors.New("not a regular file")
	case info.Size() > maxConfigSize:
		return nil, fmt.Errorf("larger than %d KiB", maxConfigSize>>10)
	}
	return c.root.ReadFile(relative)
}

// stat fails if a path is outside the repository, or if a link leads out of it. relative is the path in the repository.
func (c *scanConfig) stat(path string) (relative string, info os.FileInfo, err error) {
	if relative, err = filepath.Rel(c.root.Name(), path); err != nil {
		return "", nil, err
	}
	info, err = c.root.Stat(relative)
	return relative, info, err
}

// apply sets the flags.
func (c *scanConfig) apply(flags *pflag.FlagSet, text []byte) error {
	root, err := c.parse(text)
	if err != nil {
		return err
	}
	onCommandLine := make(map[string]bool)
	flags.Visit(func(f *pflag.Flag) { onCommandLine[f.Name] = true })
	keys := configKeys(flags)
	var errs []error
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		name, known := keys[key.Value]
		reason, refused := notInConfig[name]
		switch {
		case key.Value == "apiVersion" || key.Value == "kind":
		case !known:
			names := slices.Sorted(maps.Keys(keys))
			errs = append(errs, c.errorAt(key, "unknown key %q%s", key.Value, suggest.DidYouMean(key.Value, names)))
		case refused:
			errs = append(errs, c.errorAt(key, "%s cannot be set here: %s", key.Value, reason))
		case !onCommandLine[name]:
			errs = append(errs, c.set(flags, flags.Lookup(name), key, value))
			c.applied = append(c.applied, key.Value)
		}
	}
	return errors.Join(errs...)
}

// parse reads the text as one mapping of the right kind.
func (c *scanConfig) parse(text []byte) (*yaml.Node, error) {
	var root, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&root); err != nil && !errors.Is(err, io.EOF) {
		return nil, c.yamlError(err)
	}
	if len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: must be a mapping with apiVersion: %s and kind: %s", dump.OneLine(c.name), rules.APIVersion, configKind)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one document", dump.OneLine(c.name))
	}
	values := make(map[string]any)
	if err := root.Decode(&values); err != nil { // finds duplicate keys, too
		return nil, c.yamlError(err)
	}
	for key, want := range map[string]string{"apiVersion": rules.APIVersion, "kind": configKind} {
		if values[key] != want {
			return nil, fmt.Errorf("%s: %s must be %s", dump.OneLine(c.name), key, want)
		}
	}
	return root.Content[0], nil
}

func (c *scanConfig) yamlError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if several, ok := errors.AsType[*yaml.TypeError](err); ok {
		text = strings.Join(several.Errors, "; ")
	}
	return fmt.Errorf("%s: %s", dump.OneLine(c.name), dump.OneLine(text))
}

func (c *scanConfig) errorAt(node *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s: line %d: %s", dump.OneLine(c.name), node.Line, dump.OneLine(fmt.Sprintf(format, args...)))
}

// configKeys maps the keys of a configuration file, such as failUnder, to flags.
func configKeys(flags *pflag.FlagSet) map[string]string {
	keys := make(map[string]string)
	flags.VisitAll(func(f *pflag.Flag) {
		words := strings.Split(f.Name, "-")
		for i, word := range words[1:] {
			words[i+1] = strings.ToUpper(word[:1]) + word[1:]
		}
		keys[strings.Join(words, "")] = f.Name
	})
	return keys
}

// set sets one flag.
func (c *scanConfig) set(flags *pflag.FlagSet, flag *pflag.Flag, key, value *yaml.Node) error {
	list, isList := unwrapped(flag.Value).(pflag.SliceValue)
	elements := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		if !isList && flag.Name != "output" {
			return c.errorAt(value, "%s takes one value, not a list", key.Value)
		}
		elements = value.Content
	}
	var texts []string
	for _, element := range elements {
		text, err := c.text(flag, key, element)
		if err == nil && !isList {
			err = c.setText(flags, flag, key, element, text)
		}
		if err != nil {
			return err
		}
		texts = append(texts, text)
	}
	if isList { // Set would split the elements at commas
		flag.Changed = true
		return list.Replace(texts)
	}
	return nil
}

func (c *scanConfig) setText(flags *pflag.FlagSet, flag *pflag.Flag, key, value *yaml.Node, text string) error {
	err := flags.Set(flag.Name, text)
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		err = errors.New(strings.TrimPrefix(valueError(flag, text, invalid.Unwrap()).Error(), "--"+flag.Name))
		return c.errorAt(value, "%s%v", key.Value, err)
	}
	return err
}

// text returns the value of a flag. A path must be inside the repository.
func (c *scanConfig) text(flag *pflag.Flag, key, value *yaml.Node) (string, error) {
	switch {
	case value.Kind != yaml.ScalarNode || value.Tag == "!!null":
		return "", c.errorAt(value, "%s must be a string, a number, true or false", key.Value)
	case flag.Name == "output" && strings.Contains(value.Value, "="):
		return "", c.errorAt(value, "%s: %q names a file: only formats are allowed here; name the file on the command line", key.Value, value.Value)
	case !isPath(flag) || flag.Name == "policy" && slices.Contains(policies.Names(), value.Value):
		return value.Value, nil
	case value.Value == "" || value.Value == "-" || !filepath.IsLocal(value.Value):
		return "", c.errorAt(value, "%s: %q is not a path below the folder of this file", key.Value, value.Value)
	}
	path := filepath.Join(c.folder, value.Value)
	if _, _, err := c.stat(path); err != nil {
		return "", c.errorAt(value, "%s: %q: %v", key.Value, value.Value, bare(err))
	}
	return relativePath(path), nil
}

// isPath reports whether the value of a flag may be the path of a file.
func isPath(flag *pflag.Flag) bool {
	return strings.HasPrefix(flag.Value.Type(), "string") && !slices.Contains(notPaths, flag.Name)
}
