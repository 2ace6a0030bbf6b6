package oracle

import (
	"slices"
	"time"
)

// A Scrape is one scrape of an agent.
type Scrape struct {
	Asked    time.Time
	Answered time.Time // time of the last byte or the failure
	Heard    bool      // there was a response, with or without scores
	Cut      bool      // the response was interrupted
	// Publishes reports whether the received part had scores. A later interruption does not revoke them.
	Publishes bool
}

// Unseen returns the longest time between two consecutive responses, in which nothing is known about the agent.
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

// InOrder inserts a scrape in the order of the responses. An interrupted response is noticed late.
func InOrder(scrapes []Scrape, s Scrape) []Scrape {
	at := len(scrapes)
	for at > 0 && scrapes[at-1].Answered.After(s.Answered) {
		at--
	}
	if at == len(scrapes) {
		return append(scrapes, s)
	}
	return slices.Insert(slices.Clone(scrapes), at, s) // the old slice may be in use
}

// ScrapePeriod is the time between two scrapes of one agent.
const ScrapePeriod = 50 * time.Millisecond

// slack bounds the time that a response takes to arrive in this process. A response that took longer was delayed by the agent, which
// wrote it shortly before it arrived.
const slack = 250 * time.Millisecond

// Written returns a time before which the response was not written.
func (s Scrape) Written() time.Time {
	if earliest := s.Answered.Add(-slack); earliest.After(s.Asked) {
		return earliest
	}
	return s.Asked
}

// DoublePublish returns how long two agents published at the same time: the time covered by those scrapes of one agent that had scores
// while the other one published, which it did between two consecutive scrapes with scores. Scrapes are in the order of their responses.
func DoublePublish(a, b []Scrape) time.Duration {
	return max(within(a, b), within(b, a))
}

// within returns the time covered by the scrapes of a that had scores within a term of b.
func within(a, b []Scrape) time.Duration {
	var total time.Duration
	for _, term := range terms(b) {
		var last time.Time
		for _, s := range a {
			if !s.Publishes || s.Written().Before(term.from) || s.Answered.After(term.to) {
				continue
			}
			covered := ScrapePeriod
			if gap := s.Answered.Sub(last); !last.IsZero() && gap > covered && gap < 10*ScrapePeriod {
				covered = gap // scrapes are late on a busy machine
			}
			total += covered
			last = s.Answered
		}
	}
	return total
}

type term struct{ from, to time.Time }

// terms returns the times in which an agent published without interruption.
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
