package oracle

import "time"

// A Scrape is one look at what an agent publishes.
type Scrape struct {
	Asked, Answered time.Time
	// Publishes: there was a score in it. A scrape that failed publishes nothing.
	Publishes bool
}

// ScrapePeriod is the time between two scrapes of one agent.
const ScrapePeriod = 50 * time.Millisecond

// slack is how much of the time between question and answer the answer may have spent on its way to this process. What
// took longer was kept back by the agent, which wrote it a moment before it came.
const slack = 250 * time.Millisecond

// written is a moment before which the answer was not written.
func (s Scrape) written() time.Time {
	if earliest := s.Answered.Add(-slack); earliest.After(s.Asked) {
		return earliest
	}
	return s.Asked
}

// DoublePublish returns for how long two agents published at the same time: the time that those scrapes of the one stand
// for which published while the other did. The other surely did so between two scrapes in a row that published. Scrapes
// are in the order of their answers.
func DoublePublish(a, b []Scrape) time.Duration {
	return max(within(a, b), within(b, a))
}

// within sums the scrapes of a that published inside of a term of b.
func within(a, b []Scrape) time.Duration {
	var total time.Duration
	for _, term := range terms(b) {
		var last time.Time
		for _, s := range a {
			if !s.Publishes || s.written().Before(term.from) || s.Answered.After(term.to) {
				continue
			}
			stands := ScrapePeriod
			if gap := s.Answered.Sub(last); !last.IsZero() && gap > stands && gap < 10*ScrapePeriod {
				stands = gap // scrapes come late on a busy machine
			}
			total += stands
			last = s.Answered
		}
	}
	return total
}

type term struct{ from, to time.Time }

// terms are the times in which an agent surely published without a break.
func terms(scrapes []Scrape) []term {
	var all []term
	open := false
	for _, s := range scrapes {
		switch {
		case !s.Publishes:
			open = false
		case !open:
			all = append(all, term{s.Answered, s.written()})
			open = true
		default:
			all[len(all)-1].to = s.written()
		}
	}
	return all
}
