package dump

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kube-devops/kube-devops/rules"
)

// glob is a pattern of slash-separated paths: each part is a shell glob, or ** for any number of parts.
type glob struct {
	text  string
	parts []string
	used  bool // it matched something
}

// CheckGlobs returns the errors in patterns of --exclude.
func CheckGlobs(patterns []string) error {
	var errs []error
	for _, pattern := range patterns {
		if err := checkGlob(pattern); err != nil {
			errs = append(errs, fmt.Errorf("--exclude %q: %w", pattern, err))
		}
	}
	return errors.Join(errs...)
}

func checkGlob(pattern string) error {
	parts := newGlob(pattern).parts
	if len(parts) == 0 {
		return errors.New("the pattern is empty: write one such as charts or **/testdata")
	}
	for _, part := range parts {
		if _, err := rules.ParseGlob(part); err != nil {
			return fmt.Errorf("%w: write one such as charts or **/testdata", err)
		}
		if part == ".." {
			return errors.New("the pattern leaves the folder: write one relative to the folder that is scanned")
		}
	}
	if strings.HasPrefix(pattern, "/") {
		return errors.New("the pattern is absolute: write one relative to the folder that is scanned")
	}
	return nil
}

func newGlob(pattern string) *glob {
	g := &glob{text: pattern}
	for part := range strings.SplitSeq(pattern, "/") {
		switch {
		case part == "" || part == ".":
		case part == "**" && len(g.parts) > 0 && g.parts[len(g.parts)-1] == "**":
		default:
			g.parts = append(g.parts, part)
		}
	}
	return g
}

// matches reports whether the pattern matches a whole path. Its time is proportional to the product of their lengths, however
// many ** there are.
func (g *glob) matches(parts []string) bool {
	// reached[i]: the first i parts of the pattern match the parts of the path so far.
	reached := make([]bool, len(g.parts)+1)
	reached[0] = true
	g.skipAny(reached)
	for _, part := range parts {
		for i := len(g.parts); i > 0; i-- {
			if g.parts[i-1] == "**" {
				reached[i] = reached[i] || reached[i-1]
				continue
			}
			reached[i] = reached[i-1] && rules.MatchGlob(g.parts[i-1], part)
		}
		reached[0] = false
		g.skipAny(reached)
	}
	return reached[len(g.parts)]
}

// skipAny lets each ** match nothing.
func (g *glob) skipAny(reached []bool) {
	for i, part := range g.parts {
		if part == "**" && reached[i] {
			reached[i+1] = true
		}
	}
}
