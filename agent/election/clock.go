package election

import "time"

// maxClockSkew is the largest difference of the two clocks since the last renewal. A larger one means that a clock was set or
// that the machine was suspended, and then neither shows the age of the renewal.
const maxClockSkew = time.Second

// A clockReading is the time by both clocks of the machine.
type clockReading struct {
	mono time.Duration // since some start; it stops while the machine is suspended
	wall time.Time     // goes on while the machine is suspended, and can be set
}

// A clock reads both clocks at once.
type clock func() clockReading

func systemClock() clock {
	start := time.Now()
	return func() clockReading {
		now := time.Now()
		return clockReading{mono: now.Sub(start), wall: now.Round(0)}
	}
}

// since returns the time since an earlier reading, by the clock that shows more, and whether both clocks agree on it.
func (r clockReading) since(earlier clockReading) (elapsed time.Duration, agree bool) {
	mono := r.mono - earlier.mono
	wall := r.wall.Sub(earlier.wall)
	return max(mono, wall), (mono - wall).Abs() <= maxClockSkew
}
