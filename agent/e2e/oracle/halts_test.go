package oracle

import (
	"testing"
	"time"
)

func TestHalts(t *testing.T) {
	base := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }
	w := &HaltWatch{last: base}
	for _, ms := range []int{20, 40, 240, 260, 1260, 1280, 1481} { // late by 180 ms, by 980 ms, and by 181 ms
		w.runs(at(ms))
	}
	for _, test := range []struct{ from, to, want int }{
		{0, 2000, 980 + 181},
		{0, 280, 0},
		{0, 780, 500},
		{1000, 1400, 260 + 100},
		{1481, 2000, 0},
		{2000, 0, 0},
	} {
		if got := w.within(at(test.from), at(test.to)); got != time.Duration(test.want)*time.Millisecond {
			t.Errorf("from %d to %d ms: %s, want %d ms", test.from, test.to, got, test.want)
		}
	}
}
