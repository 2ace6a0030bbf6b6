package rules

import (
	"path"
	"strings"
)

// ParseGlob validates a shell glob and converts it for path.Match, which negates a class by ^ instead of !.
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

// MatchGlob reports whether a shell glob matches a whole name. A malformed one matches nothing.
func MatchGlob(glob, name string) bool {
	if strings.Contains(glob, "[!") {
		glob, _ = ParseGlob(glob)
	}
	return matches(glob, name)
}
