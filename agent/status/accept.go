package status

import (
	"strconv"
	"strings"
)

// wantsJSON reports whether the header Accept prefers JSON to HTML. A range such as */* prefers neither, and gets HTML.
func wantsJSON(accept []string) bool {
	weight := weights(accept)
	return weight["application/json"] > max(weight["text/html"], weight["application/xhtml+xml"])
}

// wantsHTML reports whether the header Accept names HTML, as that of browsers does, and does not prefer JSON.
func wantsHTML(accept []string) bool { return weights(accept)["text/html"] > 0 && !wantsJSON(accept) }

// weights are those of the ranges of a header Accept.
func weights(accept []string) map[string]float64 {
	weight := map[string]float64{}
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, parameters, _ := strings.Cut(part, ";")
		q := 1.0
		for parameter := range strings.SplitSeq(parameters, ";") {
			if text, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
				q, _ = strconv.ParseFloat(text, 64) // what is not a number is 0: not accepted
			}
		}
		weight[strings.ToLower(strings.TrimSpace(name))] = q
	}
	return weight
}
