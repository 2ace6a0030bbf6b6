package election

import "time"

// maxClockSkew is by how much the two clocks may differ since the last renewal. Beyond it one of them was set, or the
// machine was suspended, and neither tells how old the renewal is.
const maxClockSkew = time.Second

// A reading is one look at both clocks of the machine.
type clockReading struct {
	mono time.Duration // since some start; it stands still while the machine is suspended
	wall time.Time     // goes on in a suspended machine, and can be set, forwards and backwards
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

// since returns the time that has gone by since an earlier clockReading, by the clock that says more, and whether the two
// clocks agree on it.
func (r clockReading) since(earlier clockReading) (elapsed time.Duration, agree bool) {
	mono := r.mono - earlier.mono
	wall := r.wall.Sub(earlier.wall)
	return max(mono, wall), (mono - wall).Abs() <= maxClockSkew
}
