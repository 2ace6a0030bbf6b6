package cel

import (
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// The grammar of image references, as the OCI distribution project defines it.
const (
	label     = `[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?`
	domain    = `(` + label + `(\.` + label + `)*|\[[a-fA-F0-9:]+\])(:[0-9]+)?`
	component = `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
	tag       = `[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}`
	digest    = `[a-zA-Z][a-zA-Z0-9]*([+._-][a-zA-Z][a-zA-Z0-9]*)*:[a-fA-F0-9]{32,}`
)

// pathFits returns an expression that checks the length of an image's path, which the regular expressions do not limit.
func pathFits(v string) string {
	return "(size(" + v + ") <= 255 || size((" + v + ".matches(" + Quote("^"+domain+"/") + ") ? " +
		v + `.substring(` + v + `.indexOf("/") + 1) : ` + v + `).find("^[^:@]*")) <= 255)`
}

// imageTag returns an expression that is true if an image has a tag and no digest. An image without tag and digest has the tag latest.
func imageTag(v, want string) string {
	end := ":" + regexp.QuoteMeta(want)
	if want == "latest" {
		end = "(" + end + ")?"
	}
	return v + ".matches(" + Quote("^("+domain+"/)?"+component+"(/"+component+")*"+end+"$") + ")" + and + pathFits(v)
}

// The default registry of images, and its default path for names of one component.
const (
	dockerHub = "docker.io"
	library   = "library"
)

const (
	hubName = `(?i:(index\.)?docker\.io)/`
	below   = `(/` + component + `)*`
	// first matches a first component that is not the name of a registry. It also matches localhost, which is one.
	first = `[a-z0-9]+((_|__|-+)[a-z0-9]+)*`
)

var isDomain = regexp.MustCompile("^" + domain + "$")

// imageFrom returns an expression that is true if an image is from one of the registries and repositories of the operand.
func imageFrom(v string, operand *yaml.Node) string {
	names, hub := sourceNames(operand)
	matches := func(name string) string {
		return v + ".matches(" + Quote("^("+name+")(:"+tag+")?(@"+digest+")?$") + ")"
	}
	is := matches(strings.Join(names, "|"))
	if hub {
		is = joined([]string{is, joined([]string{matches(first + "/" + component + below), not(v + `.startsWith("localhost/")`)}, and)}, or)
	}
	return joined([]string{is, not(v + `.matches("^[0-9a-fA-F]{64}$")`), pathFits(v)}, and)
}

// sourceNames returns regular expressions for image names, and whether they include all images of Docker Hub.
func sourceNames(operand *yaml.Node) (names []string, hub bool) {
	var registries []string // in order
	paths := make(map[string][]string)
	add := func(registry, path string) {
		if _, known := paths[registry]; !known {
			registries = append(registries, registry)
		}
		paths[registry] = append(paths[registry], path)
	}
	for _, node := range strictyaml.Entries(operand) {
		add(splitSource(node.Value))
	}
	for _, registry := range registries {
		all := slices.Contains(paths[registry], "")
		name := regexp.QuoteMeta(registry)
		if isDomain.MatchString(registry) {
			name = "(?i:" + name + ")"
		}
		switch {
		case registry == dockerHub && all:
			hub = true
			names = append(names, hubName+component+below, component)
		case registry == dockerHub:
			names = append(names, hubNames(paths[registry])...)
		case all:
			names = append(names, name+"/"+component+below)
		default:
			names = append(names, name+"/"+oneOf(paths[registry])+below)
		}
	}
	return names, hub
}

// splitSource splits an operand into a registry and a path, as the engine does. For Docker Hub, the path of a one-word image begins with
// library/, and an organization ends with a slash.
func splitSource(text string) (registry, path string) {
	registry, path, slash := strings.Cut(text, "/")
	isRegistry := registry == "localhost" || strings.ContainsAny(registry, ".:") || strings.ToLower(registry) != registry
	switch {
	case !isRegistry && !slash && text != library:
		return dockerHub, library + "/" + text
	case !isRegistry:
		return dockerHub, text
	}
	if registry = strings.ToLower(registry); registry == "index."+dockerHub {
		registry = dockerHub
	}
	return registry, path
}

// hubNames returns regular expressions for the images of Docker Hub in the paths. Images with a name of one component are in library.
func hubNames(paths []string) (names []string) {
	var official, organizations, repositories []string
	for _, path := range paths {
		name, isOfficial := strings.CutPrefix(path, library+"/")
		switch {
		case path == library:
			names = append(names, "("+hubName+")?"+component)
			organizations = append(organizations, path)
		case !strings.Contains(path, "/"):
			organizations = append(organizations, path)
		default:
			repositories = append(repositories, path)
			if isOfficial {
				official = append(official, name)
			}
		}
	}
	if len(official) > 0 {
		names = append(names, "("+hubName+")?"+oneOf(official))
	}
	for _, of := range []struct {
		paths []string
		below string
	}{{organizations, `(/` + component + `)+`}, {repositories, below}} {
		var plain []string // without a registry, the first component must not look like one
		for _, path := range of.paths {
			if name, _, _ := strings.Cut(path, "/"); name != "localhost" && !strings.Contains(name, ".") {
				plain = append(plain, path)
			}
		}
		if len(of.paths) > 0 {
			names = append(names, hubName+oneOf(of.paths)+of.below)
		}
		if len(plain) > 0 {
			names = append(names, oneOf(plain)+of.below)
		}
	}
	return names
}

// oneOf returns a regular expression that matches any of the texts.
func oneOf(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = regexp.QuoteMeta(text)
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return "(" + strings.Join(quoted, "|") + ")"
}
