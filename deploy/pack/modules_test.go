package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

// TestSameModules refuses a source that the linker did not see: its licences would be those of another binary.
func TestSameModules(t *testing.T) {
	const built = "h1:built"
	for _, test := range []struct {
		name     string
		recorded []*debug.Module
		change   func(source map[string]*Module)
		want     string
	}{
		{"the same", []*debug.Module{{Path: "example.com/a", Version: "v1.0.0", Sum: built}}, nil, ""},
		{"a replacement", []*debug.Module{
			{Path: "example.com/a", Version: "v0.9.0", Replace: &debug.Module{Path: "example.com/a", Version: "v1.0.0", Sum: built}},
		}, nil, ""},
		{"another version", []*debug.Module{{Path: "example.com/a", Version: "v1.1.0"}}, nil,
			"it has example.com/a v1.1.0, the source example.com/a v1.0.0"},
		{"a module that the source does not need", []*debug.Module{
			{Path: "example.com/a", Version: "v1.0.0"}, {Path: "example.com/b", Version: "v2.0.0"},
		}, nil, "the source does not need example.com/b v2.0.0"},
		{"a module that only the source needs", nil, nil, "it does not have example.com/a v1.0.0, which the source needs"},
		{"another main module", []*debug.Module{{Path: "example.com/a", Version: "v1.0.0"}},
			func(source map[string]*Module) { delete(source, "example.com/main") },
			"its main module example.com/main is not there"},
		{"another Go", []*debug.Module{{Path: "example.com/a", Version: "v1.0.0"}},
			func(source map[string]*Module) { source["std"].Version = "1.27.0" },
			"it is built with Go 1.26.1, and the source would be with 1.27.0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			source := map[string]*Module{
				"example.com/main": {Path: "example.com/main", Version: version},
				"example.com/a":    {Path: "example.com/a", Version: "v1.0.0"},
				"std":              {Path: "std", Version: "1.26.1"},
			}
			if test.change != nil {
				test.change(source)
			}
			binary := Binary{Arch: "amd64", Info: &debug.BuildInfo{
				GoVersion: "go1.26.1", Main: debug.Module{Path: "example.com/main"}, Deps: test.recorded,
			}}
			err := sameModules(binary, "SOURCE", source)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("error %v, want none", err)
			case test.want == "" && source["example.com/a"].Sum != built:
				t.Errorf("sum %q, want that of the binary, %q", source["example.com/a"].Sum, built)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), "the binary for amd64 is not built of the source in SOURCE: "+test.want)):
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

// TestFolderInsteadOfModule refuses a module that is replaced by a folder: no one else can find what is in it.
func TestFolderInsteadOfModule(t *testing.T) {
	p := &linkedPackage{Module: &linkedModule{Path: "example.com/a", Version: "v1.0.0", Replace: &linkedModule{Path: "../a"}}}
	_, err := linkage{}.module(p, version)
	if err == nil || !strings.Contains(err.Error(), "module example.com/a is replaced by the folder ../a") {
		t.Errorf("error %v, want that the module has no version", err)
	}
}

// TestBadSum checks that a sum that is not a SHA-256 is rejected.
func TestBadSum(t *testing.T) {
	for _, sum := range []string{"h1:", "h1:AAAA", "h1:not base64", "h2:VlbKKnNfV8bJzeqoa4cOKqO6bYr3WgKZxO8Z16+hsOM="} {
		c, err := component(Module{Path: "example.com/a", Version: "v1.0.0", Sum: sum}, "library")
		if err == nil || !strings.Contains(err.Error(), sum) || c.Hashes != nil {
			t.Errorf("%q: hashes %v, error %v", sum, c.Hashes, err)
		}
	}
}
