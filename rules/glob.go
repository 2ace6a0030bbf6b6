package rules

import (
	"path"
	"strings"
)

// ParseGlob checks a shell glob and returns it as path.Match takes it: a class that begins with ! is one that begins with ^.
func ParseGlob(text string) (string, error) {
	glob := []byte(text)
	for i := 0; i < len(glob); i++ {
		switch glob[i] {
		case '\\':
			i++
		case '[':
			if i++; i < len(glob) && glob[i] == '!' {
				glob[i] = '^'
			}
			for ; i < len(glob) && glob[i] != ']'; i++ {
				if glob[i] == '\\' {
					i++
				}
			}
		}
	}
	_, err := path.Match(string(glob), "")
	return string(glob), err
}

// MatchGlob tells whether a shell glob matches the whole name; one that is malformed matches none.
func MatchGlob(glob, name string) bool {
	if strings.Contains(glob, "[!") {
		glob, _ = ParseGlob(glob)
	}
	return matches(glob, name)
}
