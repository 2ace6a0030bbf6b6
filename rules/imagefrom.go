package rules

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// The registry of images that name none, and the path of its images that name no path.
const (
	dockerHub = "docker.io"
	library   = "library"
)

// A repository is where an image is stored, as a container runtime reads it.
type repository struct {
	registry string // its host, with the port if there is one
	path     string
	official bool // the path is one component on Docker Hub, which stands for a path below library
}

// parseRepository reads a reference to an image. It returns false for an invalid one, which no runtime pulls, and for the ID of an image,
// which none pulls either.
func parseRepository(image string) (repository, bool) {
	name, _, ok := parseImage(image)
	if !ok || len(image) == 64 && all(image, isHex) {
		return repository{}, false
	}
	return splitRegistry(name), true
}

// splitRegistry splits the name of an image by the rule of container runtimes: the first component is a registry if no path on Docker Hub
// could begin with it, or if it is localhost.
func splitRegistry(name string) repository {
	first, rest, _ := strings.Cut(name, "/")
	switch {
	case rest == "" || !isRegistry(first):
		return repository{dockerHub, name, rest == ""}
	case strings.EqualFold(first, "index.docker.io"), strings.EqualFold(first, dockerHub):
		return repository{dockerHub, rest, !strings.Contains(rest, "/")}
	}
	return repository{registry: strings.ToLower(first), path: rest} // host names ignore case
}

func isRegistry(component string) bool {
	return component == "localhost" || strings.ContainsAny(component, ".:") || strings.ToLower(component) != component
}

// sources are the registries and repositories of an operand of imageFrom, by registry.
type sources map[string]*source

type source struct {
	all      bool            // every image of the registry
	paths    map[string]bool // the repositories, and what their paths begin with
	official map[string]bool // on Docker Hub: those of paths that are directly below library
}

func compileImageFrom(operand *yaml.Node) (test, error) {
	if operand.Kind == yaml.SequenceNode && (len(operand.Content) == 0 || len(operand.Content) > maxListValues) {
		return test{}, fmt.Errorf("must have 1 to %d entries, got %d", maxListValues, len(operand.Content))
	}
	from := make(sources)
	for i, node := range strictyaml.Entries(operand) {
		err := from.add(node)
		if err != nil && operand.Kind == yaml.SequenceNode {
			return test{}, fmt.Errorf("entry %d %w", i+1, err)
		}
		if err != nil {
			return test{}, err
		}
	}
	return test{of: func(value gjson.Result) truth {
		if value.Type != gjson.String {
			return isFalse
		}
		image, ok := parseRepository(value.Str)
		return truthOf(ok && from.has(image))
	}}, nil
}

// add adds a registry or a repository.
func (from sources) add(node *yaml.Node) error {
	text, err := strictyaml.ParseText(node)
	if err != nil {
		return err
	}
	if strings.Contains(text, "://") {
		return errors.New("must not have a scheme such as https://: an image has none")
	}
	r, ok := parseSource(text)
	if !ok {
		return fmt.Errorf("must be a registry or a repository without a tag, a digest or a wildcard, such as registry.example.com:5000, docker.io/library or ghcr.io/org/app, got %s",
			strictyaml.Describe(node))
	}
	s := from[r.registry]
	if s == nil {
		s = &source{paths: make(map[string]bool), official: make(map[string]bool)}
		from[r.registry] = s
	}
	switch name, below := strings.CutPrefix(r.path, library+"/"); {
	case r.path == "":
		s.all = true
	case r.registry != dockerHub:
		s.paths[r.path] = true
	case r.official && r.path != library:
		s.paths[library+"/"+r.path], s.official[r.path] = true, true
	default:
		s.paths[r.path] = true
		if below {
			s.official[name] = true
		}
	}
	return nil
}

// parseSource reads a registry, or a repository as in the name of an image. One word without a dot is an image of Docker Hub.
func parseSource(text string) (repository, bool) {
	if !strings.Contains(text, "/") && isRegistry(text) {
		r := repository{registry: strings.ToLower(text)}
		if r.registry == "index.docker.io" {
			r.registry = dockerHub
		}
		return r, isDomain(text)
	}
	if !isImageName(text) {
		return repository{}, false
	}
	r := splitRegistry(text)
	if r.registry == dockerHub && text != r.path {
		r.official = false // docker.io/org is all of org
	}
	return r, true
}

// has reports whether an image is from one of the sources.
func (from sources) has(image repository) bool {
	s := from[image.registry]
	switch {
	case s == nil:
		return false
	case s.all:
		return true
	case image.official:
		return s.paths[library] || s.official[image.path]
	}
	for end := 0; end < len(image.path); end++ {
		if image.path[end] == '/' && s.paths[image.path[:end]] {
			return true
		}
	}
	return s.paths[image.path]
}
