package oracle

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// scrapes reads one scrape each 50 ms: x publishes, . does not. Each takes 2 ms.
func scrapes(text string) []Scrape {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var all []Scrape
	for i, c := range text {
		asked := start.Add(time.Duration(i) * ScrapePeriod)
		all = append(all, Scrape{Asked: asked, Answered: asked.Add(2 * time.Millisecond), Heard: true, Publishes: c == 'x'})
	}
	return all
}

func TestDoublePublish(t *testing.T) {
	late := scrapes("...")
	late[2].Publishes = true
	late[2].Answered = late[2].Asked.Add(time.Second) // it was asked before the other led
	for _, test := range []struct {
		name string
		a, b []Scrape
		want time.Duration
	}{
		{"no publisher", scrapes("......"), scrapes("......"), 0},
		{"one", scrapes("xxxxxx"), scrapes("......"), 0},
		{"one after the other", scrapes("xxx....."), scrapes("....xxxx"), 0},
		{"in the same scrape period", scrapes("xxxx...."), scrapes("...xxxxx"), 0},
		{"one scrape in the term of the other", scrapes("...x...."), scrapes("xxxxxxxx"), 50 * time.Millisecond},
		{"half a second", scrapes("xxxxxxxxxxxxxx...."), scrapes("..xxxxxxxxxxxxxxxx"), 550 * time.Millisecond},
		{"between two terms", scrapes("xxx...xxx"), scrapes("....x...."), 0},
		{"back and forth", scrapes("x.x.x.x"), scrapes(".x.x.x."), 0},
		{"a late answer", late, scrapes("...." + strings.Repeat("x", 20)), 50 * time.Millisecond},
		{"a late response of one, and no other publisher", late, scrapes("......"), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := DoublePublish(test.a, test.b); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if got := DoublePublish(test.b, test.a); got != test.want {
				t.Errorf("the other way round: %s, want %s", got, test.want)
			}
		})
	}
}

func TestUnseen(t *testing.T) {
	gone := scrapes("x....x")
	for i := 2; i < 5; i++ {
		gone[i].Heard = false // refused
	}
	for _, test := range []struct {
		name    string
		scrapes []Scrape
		want    time.Duration
	}{
		{"never", nil, 0},
		{"once", scrapes("x"), 0},
		{"without a break, be it that nothing is published", scrapes("xx..xx"), 50 * time.Millisecond},
		{"no answer for a time", gone, 200 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Unseen(test.scrapes); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestInOrder(t *testing.T) {
	all := scrapes("x.x.")
	var got []Scrape
	for _, i := range []int{0, 2, 3, 1} {
		got = InOrder(got, all[i])
	}
	if !slices.Equal(got, all) {
		t.Errorf("%v, want %v", got, all)
	}
}
