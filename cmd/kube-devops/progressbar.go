package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/kube-devops/kube-devops/agent/dump"
)

// A progressBar shows on a terminal how much was read. What is read within a moment has none.
type progressBar struct {
	read  atomic.Int64
	ended chan struct{}
	gone  chan struct{}
}

const (
	// progressFrom is how large the input must be, in bytes, to be worth a bar. Of one whose size is not known so many must
	// have been read.
	progressFrom = 64 << 20
	// progressAfter is how long an input whose size is not known is read before there is a bar, however little came.
	progressAfter = 2 * time.Second
	progressEach  = 100 * time.Millisecond
)

// newProgressBar makes a bar, which is seen where there is a terminal and something to wait for.
func newProgressBar(to io.Writer, files []dump.File, stdin io.Reader) *progressBar {
	bar := &progressBar{}
	file, ok := to.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return bar
	}
	total, known := int64(0), true
	for _, f := range files {
		size := f.Size
		if f.Path == "-" {
			var typed bool
			if size, typed = sizeOfInput(stdin); typed {
				return bar // it would stand between the lines that are typed
			}
			known = known && size >= 0
		}
		total += size
	}
	if !known {
		bar.start(to, -1)
	} else if total >= progressFrom {
		bar.start(to, total)
	}
	return bar
}

// sizeOfInput is the size of standard input, -1 where it is not known, and whether somebody types it.
func sizeOfInput(stdin io.Reader) (size int64, typed bool) {
	file, ok := stdin.(*os.File)
	if !ok {
		return -1, false
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		return info.Size(), false
	}
	return -1, term.IsTerminal(int(file.Fd()))
}

// start shows the bar of a total; a negative one is not known.
func (b *progressBar) start(to io.Writer, total int64) {
	b.ended, b.gone = make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(b.gone)
		tick := time.NewTicker(progressEach)
		defer tick.Stop()
		for {
			select {
			case <-b.ended:
				// A terminal that cannot be written to shows nothing, here and below.
				_, _ = io.WriteString(to, "\r\x1b[K")
				return
			case <-tick.C:
				read := b.read.Load()
				if total >= 0 || read >= progressFrom || time.Since(began) >= progressAfter {
					_, _ = io.WriteString(to, "\r"+progressLine(read, total)+"\x1b[K")
				}
			}
		}
	}()
}

// stop takes the bar away.
func (b *progressBar) stop() {
	if b.ended != nil {
		close(b.ended)
		<-b.gone
	}
}

// progressLine is the bar.
func progressLine(read, total int64) string {
	if total < 0 {
		if read < 1e6 {
			return fmt.Sprintf("%d kB read", read/1000)
		}
		return fmt.Sprintf("%.1f MB read", float64(read)/1e6)
	}
	const width = 30
	done := int(min(read, total) * width / total)
	return fmt.Sprintf("[%s%s] %3d %% of %d MB", strings.Repeat("#", done), strings.Repeat(" ", width-done), min(read, total)*100/total, total/1_000_000)
}
