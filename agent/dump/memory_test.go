package dump

import (
	"bytes"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/agent/dump/dumptest"
)

// listOf is a List as kubectl prints it.
func listOf(tb testing.TB, pods int) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := dumptest.WriteList(&b, 1, pods); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestMemoryDoesNotGrowWithTheRecording(t *testing.T) {
	list := listOf(t, 100)
	const times = 36 // about 50 MB
	r, w := io.Pipe()
	go func() {
		for range times {
			if _, err := w.Write(list); err != nil {
				return // the reader has failed, and says why
			}
		}
		_ = w.Close() // a PipeWriter's Close never fails
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	stats, err := Read(t.Context(), "pipe", r, func(Event) error { return nil })
	runtime.ReadMemStats(&after)
	_ = r.Close()
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(times * len(list)); stats.Applied != times*100 || stats.Bytes != want || want < 50_000_000 {
		t.Fatalf("%+v, want %d pods in %d bytes", stats, times*100, want)
	}
	// All that was ever allocated, garbage included: the window, and the names of 3,600 pods.
	if got := after.TotalAlloc - before.TotalAlloc; got > 2<<20 {
		t.Errorf("%d KiB were allocated to read %d MB", got>>10, stats.Bytes/1_000_000)
	}
}

func TestWindowGrowsToTheLargestItemAndNoFurther(t *testing.T) {
	// An item of exactly maxItem bytes is read; TestReadErrors has the one that is a byte larger.
	head := `{"kind":"Pod","metadata":{"name":"b"},"x":"`
	largest := head + strings.Repeat("a", maxItem-len(head)-len(`"}`)) + `"}`
	for _, input := range []string{largest, `{"items":[` + largest + `,` + pod("a") + `]}`, pod("a") + largest + pod("c")} {
		in := newInput(t.Context(), strings.NewReader(input), 64)
		sizes := map[string]int{}
		_, err := readInput(in, "x.json", func(e Event) error {
			sizes[e.Name] = len(e.JSON)
			return nil
		})
		if err != nil || sizes["b"] != maxItem {
			t.Fatalf("%v, %v", sizes, err)
		}
		if len(in.buf) > maxItem+1 {
			t.Errorf("the window grew to %d bytes", len(in.buf))
		}
	}
}

func TestSpaceBetweenItemsIsNotKept(t *testing.T) {
	space := strings.Repeat(" \n", 100_000)
	input := space + `{"kind":"List","items":[` + space + pod("a") + space + `,` + space + pod("b") + space + `]` + space + `,` + space + `"x":1` + space + `}` + space + pod("c") + space
	in := newInput(t.Context(), strings.NewReader(input), 64)
	stats, err := readInput(in, "x.json", func(Event) error { return nil })
	if err != nil || stats.Applied != 3 {
		t.Fatalf("%+v, %v", stats, err)
	}
	if len(in.buf) > 1<<10 {
		t.Errorf("the window grew to %d bytes", len(in.buf))
	}
}
