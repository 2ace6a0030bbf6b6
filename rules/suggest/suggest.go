// Package suggest finds the known word that a misspelled one most likely means, for messages such as `unknown field "chekcs"
// (did you mean "checks"?)`. It must not know what the words name.
package suggest

import (
	"fmt"
	"strings"
)

// Nearest returns the known word with the smallest edit distance to word, ignoring case. It returns "" when no word is closer
// than 3 edits, or when half of the known word would have to change.
func Nearest(word string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if len(word)-len(k) >= distance {
			continue // skip the quadratic work for words that are too long to match
		}
		if d := Distance(strings.ToLower(word), strings.ToLower(k)); d < distance && 2*d < len(k) {
			best, distance = k, d
		}
	}
	return best
}

// DidYouMean returns ` (did you mean "x"?)` with the nearest known word, or "" when there is none.
func DidYouMean(word string, known []string) string {
	if nearest := Nearest(word, known); nearest != "" {
		return fmt.Sprintf(" (did you mean %q?)", nearest)
	}
	return ""
}

// Similar reports whether a may be a misspelling of b, ignoring case. It tolerates more edits in longer words.
func Similar(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	return Distance(a, b) <= max(1, min(3, len(b)/4))
}

// Distance is the Levenshtein distance in bytes: how many must be inserted, deleted or replaced to turn one word into the other.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
