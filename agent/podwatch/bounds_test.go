package podwatch

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestListingIsBounded(t *testing.T) {
	now := time.Now()
	pages := func(n int, each time.Duration) error {
		var l listing
		token := ""
		for i := range n {
			if err := l.begin(token, now.Add(time.Duration(i)*each)); err != nil {
				return err
			}
			token = fmt.Sprint("page ", i)
			if err := l.end(token, 1); err != nil {
				return err
			}
		}
		return l.end("", 0)
	}
	if err := pages(maxPages, 0); err != nil {
		t.Errorf("%d pages: %v, want no error", maxPages, err)
	}
	if err := pages(maxPages+1, 0); !errors.Is(err, errUnbounded) {
		t.Errorf("%d pages: %v, want %v", maxPages+1, err, errUnbounded)
	}
	if err := pages(10, maxListTime/9); err != nil {
		t.Errorf("10 pages in %s: %v, want no error", maxListTime, err)
	}
	if err := pages(12, maxListTime/10); !errors.Is(err, errUnbounded) {
		t.Errorf("12 pages in more than %s: %v, want %v", maxListTime, err, errUnbounded)
	}
}

// The first page of a list that does not end does not differ from that of another. Only a list that ends shows that the server works again.
func TestUnboundedListIsSuspect(t *testing.T) {
	var l listing
	page := func(token, next string) {
		if l.begin(token, time.Now()) == nil {
			_ = l.end(next, 1) // an error is what the test provokes
		}
	}
	for _, step := range []struct {
		token, next string
		want        bool
	}{{"", "a", false}, {"a", "a", true}, {"", "a", true}, {"a", "b", true}, {"b", "", false}, {"", "a", false}} {
		if page(step.token, step.next); l.suspect != step.want {
			t.Fatalf("after the page %q that names %q: suspect %t, want %t", step.token, step.next, l.suspect, step.want)
		}
	}
}

func TestResponseLimit(t *testing.T) {
	for memory, want := range map[int64]int64{math.MaxInt64: maxResponse, 16 << 30: maxResponse, 230 << 20: 115 << 20} {
		if got := responseLimit(memory); got != want {
			t.Errorf("memory limit %d: a response may have %d bytes, want %d", memory, got, want)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 100))
	}))
	defer server.Close()
	for _, test := range []struct {
		query string
		most  int64
		want  bool
	}{{"", 101, true}, {"", 99, false}, {"?watch=true", 99, true}} {
		client := http.Client{Transport: limitedTransport{http.DefaultTransport, test.most}}
		answer, err := client.Get(server.URL + test.query)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if test.want && (err != nil || len(text) != 100) || !test.want && !errors.Is(err, errUnbounded) {
			t.Errorf("100 bytes for %q with a bound of %d: %d bytes, %v", test.query, test.most, len(text), err)
		}
	}
}
