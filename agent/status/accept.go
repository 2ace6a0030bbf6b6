package status

import (
	"strconv"
	"strings"
)

// wantsJSON reports whether the header Accept prefers JSON to HTML. For a range such as */* it returns false.
func wantsJSON(accept []string) bool {
	weight := weights(accept)
	return weight["application/json"] > max(weight["text/html"], weight["application/xhtml+xml"])
}

// wantsHTML reports whether the header Accept names HTML and does not prefer JSON. Browsers send such a header.
func wantsHTML(accept []string) bool { return weights(accept)["text/html"] > 0 && !wantsJSON(accept) }

// weights returns the quality values of the media ranges in a header Accept.
func weights(accept []string) map[string]float64 {
	weight := map[string]float64{}
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, parameters, _ := strings.Cut(part, ";")
		q := 1.0
		for parameter := range strings.SplitSeq(parameters, ";") {
			if text, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
				q, _ = strconv.ParseFloat(text, 64) // an invalid value is 0: not accepted
			}
		}
		weight[strings.ToLower(strings.TrimSpace(name))] = q
	}
	return weight
}
