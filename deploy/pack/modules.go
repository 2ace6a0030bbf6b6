package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// std is the path of Go's standard library, which the go command names as no module.
const std = "std"

// A Module is one that has packages in a binary: the main one, one that it requires, or Go's standard library.
type Module struct {
	Path, Version string
	// Sum is its hash in go.sum, h1:... The main module and the standard library have none.
	Sum string
	// Imports are the references of the modules whose packages its packages import, sorted.
	Imports []string
	// Texts are the licences, notices and patent grants above its packages in the binary.
	Texts []Text
}

// Ref is the package URL of the module, and its reference in an SBOM.
func (m Module) Ref() string { return moduleRef(m.Path, m.Version) }

// ReadModules reads from source, the folder of the main module, which modules have packages in the binary. The main module
// comes first and has the version of the image; the others are sorted by their references. It fails if the linker recorded
// others: then the binary was built of other sources.
func ReadModules(binary Binary, version, source string) ([]Module, error) {
	linked, err := list(binary, source)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*Module)
	for _, p := range linked.packages {
		key := p.module()
		if found[key] != nil {
			continue
		}
		if found[key], err = linked.module(p, version); err != nil {
			return nil, err
		}
	}
	if err := sameModules(binary, source, found); err != nil {
		return nil, err
	}
	for key, module := range found {
		if module.Imports, err = linked.imports(key, found); err != nil {
			return nil, err
		}
		if module.Texts, err = readTexts(linked.root(key), linked.folders(key)); err != nil {
			return nil, fmt.Errorf("licence of %s %s: %w", module.Path, module.Version, err)
		}
	}
	modules := make([]Module, 0, len(found))
	for key, module := range found {
		if key != binary.Info.Main.Path {
			modules = append(modules, *module)
		}
	}
	slices.SortFunc(modules, func(a, b Module) int { return strings.Compare(a.Ref(), b.Ref()) })
	return append([]Module{*found[binary.Info.Main.Path]}, modules...), nil
}

// sameModules compares the modules of the source with those that the linker wrote into the binary, and takes over their
// sums.
func sameModules(binary Binary, source string, found map[string]*Module) error {
	other := func(format string, args ...any) error {
		return fmt.Errorf("the binary for %s is not built of the source in %s: %s", binary.Arch, source, fmt.Sprintf(format, args...))
	}
	if found[binary.Info.Main.Path] == nil {
		return other("its main module %s is not there", binary.Info.Main.Path)
	}
	known := map[string]bool{std: true, binary.Info.Main.Path: true}
	for _, recorded := range binary.Info.Deps {
		module := found[recorded.Path]
		known[recorded.Path] = true
		if recorded.Replace != nil {
			recorded = recorded.Replace
		}
		switch {
		case module == nil:
			return other("the source does not need %s %s", recorded.Path, recorded.Version)
		case module.Path != recorded.Path || module.Version != recorded.Version:
			return other("it has %s %s, the source %s %s", recorded.Path, recorded.Version, module.Path, module.Version)
		}
		module.Sum = recorded.Sum
	}
	for _, path := range slices.Sorted(maps.Keys(found)) {
		if !known[path] {
			return other("it does not have %s %s, which the source needs", found[path].Path, found[path].Version)
		}
	}
	if version := strings.TrimPrefix(binary.Info.GoVersion, "go"); found[std] != nil && found[std].Version != version {
		return other("it is built with Go %s, and the source would be with %s", version, found[std].Version)
	}
	return nil
}

// A linkage is what the go command says of the packages in a binary.
type linkage struct {
	goroot, goversion string
	packages          map[string]*linkedPackage
}

// A linkedPackage is what `go list` prints.
type linkedPackage struct {
	ImportPath, Dir string
	Imports         []string
	// ImportMap has the imports that stand for other paths: those that the standard library vendors.
	ImportMap map[string]string
	Module    *linkedModule
}

type linkedModule struct {
	Path, Version, Dir string
	Main               bool
	Replace            *linkedModule
}

// module is the path of the package's module, as packages are imported from it.
func (p linkedPackage) module() string {
	if p.Module == nil {
		return std
	}
	return p.Module.Path
}

// list lists the packages as the binary was built: for its system, with its tags.
func list(binary Binary, source string) (linkage, error) {
	env := os.Environ()
	tags := ""
	for _, s := range binary.Info.Settings {
		switch {
		case s.Key == "-tags":
			tags = s.Value
		case s.Key == "CGO_ENABLED" || strings.HasPrefix(s.Key, "GO"):
			env = append(env, s.Key+"="+s.Value)
		}
	}
	root, err := goCommand(source, env, "env", "GOROOT", "GOVERSION")
	if err != nil {
		return linkage{}, err
	}
	goroot, goversion, _ := strings.Cut(strings.TrimSpace(string(root)), "\n")
	l := linkage{goroot: goroot, goversion: strings.TrimPrefix(goversion, "go"), packages: make(map[string]*linkedPackage)}
	listed, err := goCommand(source, env, "list", "-deps", "-tags="+tags, "-json=ImportPath,Dir,Imports,ImportMap,Module", "--", binary.Info.Path)
	if err != nil {
		return linkage{}, fmt.Errorf("list the packages of the binary (-source must be the folder of its Go module): %w", err)
	}
	for decoder := json.NewDecoder(bytes.NewReader(listed)); ; {
		p := new(linkedPackage)
		if err := decoder.Decode(p); errors.Is(err, io.EOF) {
			return l, nil
		} else if err != nil {
			return linkage{}, fmt.Errorf("read what go list prints: %w", err)
		}
		l.packages[p.ImportPath] = p
	}
}

// goCommand runs the go command in a folder. It downloads modules that are missing. Its error is one line.
func goCommand(dir string, env []string, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, env, &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s in %s: %w: %s", args[0], dir, err, strings.Join(strings.Fields(stderr.String()), " "))
	}
	return out, nil
}

// module is the module of a package.
func (l linkage) module(p *linkedPackage, version string) (*Module, error) {
	switch module := p.Module; {
	case module == nil:
		return &Module{Path: std, Version: l.goversion}, nil
	case module.Main:
		return &Module{Path: module.Path, Version: version}, nil
	case module.Replace != nil && module.Replace.Version == "":
		return nil, fmt.Errorf("module %s is replaced by the folder %s, which has no version: a release is built of modules with versions", module.Path, module.Replace.Path)
	case module.Replace != nil:
		return &Module{Path: module.Replace.Path, Version: module.Replace.Version}, nil
	default:
		return &Module{Path: module.Path, Version: module.Version}, nil
	}
}

// imports are the references of the other modules that the packages of one import.
func (l linkage) imports(module string, found map[string]*Module) ([]string, error) {
	var refs []string
	for _, p := range l.packages {
		if p.module() != module {
			continue
		}
		for _, path := range p.Imports {
			if to, mapped := p.ImportMap[path]; mapped {
				path = to
			}
			imported := l.packages[path]
			if imported == nil {
				return nil, fmt.Errorf("package %s imports %q, which go list does not name", p.ImportPath, path)
			}
			if to := imported.module(); to != module {
				refs = append(refs, found[to].Ref())
			}
		}
	}
	slices.Sort(refs)
	return slices.Compact(refs), nil
}

// root is the folder of a module.
func (l linkage) root(module string) string {
	for _, p := range l.packages {
		if p.module() == module && p.Module != nil {
			return p.Module.Dir
		}
	}
	return l.goroot
}

// folders are the folders of a module's packages. The licence in that of BoringCrypto is left out: it is that of an object
// file which needs shared libraries, and a build without cgo has none of it.
func (l linkage) folders(module string) []string {
	var dirs []string
	for _, p := range l.packages {
		if p.module() == module && !strings.HasPrefix(p.ImportPath, "crypto/internal/boring") {
			dirs = append(dirs, filepath.Clean(p.Dir))
		}
	}
	return dirs
}
