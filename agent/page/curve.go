package page

import (
	"fmt"
	"math"
	"strconv"

	"github.com/kube-devops/kube-devops/agent/page/base"
)

// A delta is a change of compliance in percentage points.
type delta struct{ Class, Text string }

// deltaOf rounds a change to one decimal. The text always has a sign, so that it does not depend on the color.
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

// A curve is a trend: as a path for an SVG of 100 by 24, and as a label in words.
type curve struct{ Path, Label string }

// leastSpan is the minimum range of compliance that the height of a curve covers, in percentage points. Without it, a small change would look
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
	known := func(i int) bool { return i >= 0 && i < len(t) && !math.IsNaN(float64(t[i])) }
	var path []byte
	for i := range t {
		// Omit points in the middle of a horizontal line.
		if !known(i) || known(i-1) && known(i+1) && t[i-1] == t[i] && t[i] == t[i+1] {
			continue
		}
		x := 100.0
		if len(t) > 1 {
			x = 100 * float64(i) / float64(len(t)-1)
		}
		command := byte('L')
		if !known(i - 1) {
			command = 'M'
		}
		path = strconv.AppendFloat(append(path, command), x, 'g', 4, 64)
		path = strconv.AppendFloat(append(path, ' '), 22-20*(float64(t[i])-bottom)/(top-bottom), 'g', 4, 64)
		if !known(i-1) && !known(i+1) {
			path = append(path, "h0"...) // a line of length 0, which is visible because of its round ends
		}
	}
	return curve{string(path), label}
}

// gain describes the effect of a fix on compliance and grade: "+5.6, then Healthy".
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
