package policytest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// FileName is the usual name of a file of test cases. Such a file is run whatever it declares.
const FileName = "tests.yaml"

// find returns a file, or the files of test cases in a folder and below.
func find(arg string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(arg, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && (path == arg || isTest(path)) {
			files = append(files, filepath.Clean(path))
		}
		return err
	})
	var path *fs.PathError
	if errors.As(err, &path) {
		return nil, fmt.Errorf("read %s: %w", path.Path, path.Err)
	}
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s: no file of kind %s found in the folder or below", arg, Kind)
	}
	return files, err
}

// declares finds the kind of a policy test at the beginning of a line, in a text that cannot be read as a whole.
var declares = regexp.MustCompile(`(?m)^["']?kind["']?[ \t]*:[ \t]*["']?` + Kind + `\b`)

// isTest reports whether a file in a folder holds test cases. A broken one that says so does, too: its error would go unnoticed.
func isTest(file string) bool {
	name := filepath.Base(file)
	if name == FileName {
		return true
	}
	if strings.HasPrefix(name, ".") || !slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(name))) {
		return false
	}
	text, err := policies.ReadFile(file)
	if err != nil || !bytes.Contains(text, []byte(Kind)) {
		return false // most files are pods, which need not be parsed
	}
	kind := rules.KindOf(text)
	return kind == Kind || kind == "" && declares.Match(text)
}
