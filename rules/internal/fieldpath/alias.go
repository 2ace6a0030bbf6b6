package fieldpath

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An alias is a name for several lists of containers. In a path of forEach it stands for the containers themselves.
type alias struct {
	name  string
	lists []containerList
}

// A containerList is where some of the containers of a pod are.
type containerList struct {
	path        string
	longRunning bool // only in a pod that does not run to completion
}

const nativeSidecars = `spec.initContainers.#(restartPolicy=="Always")#`

var aliases = []alias{
	{"allContainers", []containerList{{path: "spec.containers"}, {path: "spec.initContainers"}, {path: "spec.ephemeralContainers"}}},
	{"mainContainers", []containerList{{path: "spec.containers"}, {path: nativeSidecars}}},
	{"longRunningContainers", []containerList{{path: "spec.containers", longRunning: true}, {path: nativeSidecars}}},
}

// Aliases returns the names that may begin a path of forEach in place of a list of containers.
func Aliases() []string {
	names := make([]string, len(aliases))
	for i, a := range aliases {
		names[i] = a.name
	}
	return names
}

// ParseValue is Parse for a path of a predicate, which cannot begin with an alias. Its errors continue a sentence that begins with the path.
func ParseValue(source string) (*Path, error) {
	p, err := Parse(source)
	if err != nil {
		return nil, err
	}
	if name := aliasLike(p); name != "" {
		return nil, fmt.Errorf("begins with %s, but the names for lists of containers stand in forEach only; write forEach: %s in the check",
			p.Steps[0].FirstKey, name)
	}
	return p, nil
}

// aliasLike returns the alias that a path begins with, in any case of its letters; empty for none.
func aliasLike(p *Path) string {
	for _, a := range aliases {
		if strings.EqualFold(a.name, p.Steps[0].FirstKey) {
			return a.name
		}
	}
	return ""
}

// expand replaces the alias at the start of a path by the lists that it stands for; nil for a path without an alias.
func (p *Path) expand() ([]*SubjectPath, error) {
	i := slices.IndexFunc(aliases, func(a alias) bool { return a.name == p.Steps[0].FirstKey })
	if i < 0 {
		if name := aliasLike(p); name != "" { // it would select nothing, without an error
			return nil, fmt.Errorf("begins with %s; write %s", p.Steps[0].FirstKey, name)
		}
		return nil, nil
	}
	name, rest := aliases[i].name, slices.Clone(p.Steps)
	if rest[0].AfterFirst != "" {
		rest[0] = Step{Keys: rest[0].AfterFirst}
		rest[0].splitFirst()
	} else {
		rest = rest[1:]
	}
	if len(rest) > 0 && (rest[0].Kind != Keys || IsIndex(SplitKeys(rest[0].Keys)[0])) {
		return nil, errors.New("must have a field of a container after " + name + ", which already stands for each container")
	}
	var paths []*SubjectPath
	for _, list := range aliases[i].lists {
		to, err := Parse(list.path)
		if err != nil {
			panic("the path of an alias: " + err.Error())
		}
		steps := to.Steps
		if len(steps) == 1 {
			steps = append(steps, Step{Kind: Each})
		}
		paths = append(paths, &SubjectPath{Source: p.Source, Steps: slices.Concat(steps, rest), LongRunning: list.longRunning})
	}
	return paths, nil
}
