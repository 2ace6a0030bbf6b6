package oracle

import (
	"slices"
	"time"
)

// A Scrape is one look at what an agent publishes.
type Scrape struct {
	Asked    time.Time
	Answered time.Time // its last byte came then, or its failure
	Heard    bool      // it was answered, be it that nothing is published
	Cut      bool      // the answer began, and did not come to its end
	// Publishes: there was a score in what came. That the rest of an answer was cut off takes nothing back.
	Publishes bool
}

// Unseen returns the longest time between two answers in a row: for so long nothing is known of the agent.
func Unseen(scrapes []Scrape) time.Duration {
	var longest time.Duration
	var last time.Time
	for _, s := range scrapes {
		if !s.Heard {
			continue
		}
		if !last.IsZero() {
			longest = max(longest, s.Answered.Sub(last))
		}
		last = s.Answered
	}
	return longest
}

// InOrder puts a scrape among those before it, in the order of their answers: that a page was cut off is noticed later.
func InOrder(scrapes []Scrape, s Scrape) []Scrape {
	at := len(scrapes)
	for at > 0 && scrapes[at-1].Answered.After(s.Answered) {
		at--
	}
	if at == len(scrapes) {
		return append(scrapes, s)
	}
	return slices.Insert(slices.Clone(scrapes), at, s) // others may read the old ones
}

// ScrapePeriod is the time between two scrapes of one agent.
const ScrapePeriod = 50 * time.Millisecond

// slack is how much of the time between question and answer the answer may have spent on its way to this process. What
// took longer was kept back by the agent, which wrote it a moment before it came.
const slack = 250 * time.Millisecond

// Written is a moment before which the answer was not written.
func (s Scrape) Written() time.Time {
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
			if !s.Publishes || s.Written().Before(term.from) || s.Answered.After(term.to) {
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
			all = append(all, term{s.Answered, s.Written()})
			open = true
		default:
			all[len(all)-1].to = s.Written()
		}
	}
	return all
}
