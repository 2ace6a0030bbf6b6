package page

import (
	"fmt"
	"math"
	"strings"

	"github.com/kube-devops/kube-devops/agent/page/base"
)

// A delta is a change of compliance in percentage points.
type delta struct{ Class, Text string }

// deltaOf rounds a change to one decimal. It always has a sign, so that the color is not needed.
func deltaOf(change *float64) delta {
	switch {
	case change == nil:
		return delta{"na", "n/a"}
	case math.Abs(*change) < 0.05:
		return delta{"same", "±0.0"}
	case *change > 0:
		return delta{"up", fmt.Sprintf("+%.1f", *change)}
	}
	return delta{"down", fmt.Sprintf("−%.1f", -*change)}
}

// A curve is a trend as the path of an SVG of 100 by 24, and in words.
type curve struct{ Path, Label string }

// leastSpan is the least difference of compliance that a curve shows at its full height, in percentage points. A smaller change would look
// like a large one.
const leastSpan = 10

func curveOf(t Trend) curve {
	low, high := math.Inf(1), math.Inf(-1)
	first, last, n := 0.0, 0.0, 0
	for _, y := range t {
		if value := float64(y); !math.IsNaN(value) {
			if n == 0 {
				first = value
			}
			last, low, high = value, min(low, value), max(high, value)
			n++
		}
	}
	if n == 0 {
		return curve{}
	}
	label := fmt.Sprintf("Compliance of the last 24 hours: from %s to %s, lowest %s, highest %s",
		base.Percent(first), base.Percent(last), base.Percent(low), base.Percent(high))
	bottom, top := low, high
	if missing := leastSpan - (high - low); missing > 0 {
		bottom = max(0, low-missing/2)
		top = min(100, bottom+leastSpan)
		bottom = max(0, top-leastSpan)
	}
	var path strings.Builder
	for i, y := range t {
		value := float64(y)
		if math.IsNaN(value) {
			continue
		}
		x := 100.0
		if len(t) > 1 {
			x = 100 * float64(i) / float64(len(t)-1)
		}
		height := 22 - 20*(value-bottom)/(top-bottom)
		alone := (i == 0 || math.IsNaN(float64(t[i-1]))) && (i == len(t)-1 || math.IsNaN(float64(t[i+1])))
		switch {
		case alone: // a line of no length, which has round ends
			fmt.Fprintf(&path, "M%.4g %.4gh0", x, height)
		case i == 0 || math.IsNaN(float64(t[i-1])):
			fmt.Fprintf(&path, "M%.4g %.4g", x, height)
		default:
			fmt.Fprintf(&path, "L%.4g %.4g", x, height)
		}
	}
	return curve{path.String(), label}
}

// gain says what a fix gives back: "+5.6, then Healthy".
func gain(f Finding) string {
	if f.Gain == nil || f.Waiver != "" {
		return ""
	}
	text := fmt.Sprintf("+%.1f", *f.Gain)
	if *f.Gain > 0 && *f.Gain < 0.05 {
		text = "less than +0.1"
	}
	if f.GradeAfter != "" {
		text += ", then " + base.Display(f.GradeAfter, 40)
	}
	return text
}
