package fieldpath

import (
	"regexp"
	"strings"
)

// Steps that JSONPath, jq and kubectl write differently: x[*] or x[], x[0], x["key"], x[?(@.name=="a")], x.* and | length.
var (
	allElements = regexp.MustCompile(`\.?\[\*?\]\??`)
	oneElement  = regexp.MustCompile(`\.?\[([0-9]{1,9})\]`)
	quotedKey   = regexp.MustCompile(`\.?\[\s*(?:'([^']*)'|"([^"]*)")\s*\]`)
	filter      = regexp.MustCompile(`\.?\[\?\(\s*@\.([A-Za-z0-9_/-]+)\s*==\s*(?:'([^']*)'|"([^"]*)")\s*\)\]`)
	wildcard    = regexp.MustCompile(`\.\*\.`)
	length      = regexp.MustCompile(`(\[\])?\s*\|\s*length\s*$`)
)

// Hint says what to write instead of a path that is written in another language: JSONPath, jq, or a JSON Pointer. It continues an error
// about the path of a predicate, or of forEach, and is empty when it knows nothing.
func Hint(source string, forEach bool) string {
	if strings.Contains(source, "$..") || strings.HasPrefix(source, "..") || strings.Contains(source, ".**") {
		return "; a path cannot search at every depth: write all its keys, such as spec.containers.#.image"
	}
	if _, err := Parse(source); err == nil && !strings.HasPrefix(source, "/") {
		return ""
	}
	path := fromPointer(source)
	if inner, ok := strings.CutPrefix(path, "{"); ok {
		path = strings.TrimSuffix(inner, "}")
	}
	if rest, ok := strings.CutPrefix(path, "$"); ok && !strings.HasPrefix(rest, ".") && !strings.HasPrefix(rest, "[") && rest != "" {
		if path = rest; !forEach { // forEach always starts at the pod
			path = "$." + rest
		}
	}
	isLength := length.MatchString(path)
	path = length.ReplaceAllString(path, "")
	path = filter.ReplaceAllString(path, `.#($1=="$2$3")#`)
	path = quotedKey.ReplaceAllStringFunc(path, func(step string) string {
		key := quotedKey.FindStringSubmatch(step)
		return "." + strings.ReplaceAll(key[1]+key[2], ".", `\.`)
	})
	path = allElements.ReplaceAllString(path, ".#")
	path = oneElement.ReplaceAllString(path, ".$1")
	path = wildcard.ReplaceAllString(path, ".#.")
	path = strings.TrimPrefix(path, ".")
	// A # at the end would be the length of the list.
	list, isEach := strings.CutSuffix(path, ".#")
	if path = list; isLength {
		path += ".#"
	}
	if _, err := Parse(path); err != nil || path == source {
		return ""
	}
	if isEach && !forEach {
		return "; write " + path + " for the list, and forEach, some or every for each of its elements"
	}
	return "; write " + path
}

// fromPointer converts a JSON Pointer, and returns anything else as it is.
func fromPointer(source string) string {
	if !strings.HasPrefix(source, "/") || strings.ContainsAny(source, ".[") {
		return source
	}
	keys := strings.Split(source[1:], "/")
	for i, key := range keys {
		keys[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(key)
	}
	return strings.Join(keys, ".")
}
