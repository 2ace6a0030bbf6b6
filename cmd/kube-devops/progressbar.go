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

const (
	// progressAfter is how long a scan runs before it shows a progress bar.
	progressAfter = time.Second
	progressEvery = 100 * time.Millisecond
)

// A progressBar shows on a terminal how much of the input was read.
type progressBar struct {
	read         atomic.Int64 // bytes
	ended, erase chan struct{}
}

// progressBar starts the progress bar of a scan. It is not shown with --quiet, without a terminal, or while the user types the
// input on the same terminal.
func (o *scanOptions) progressBar(stderr io.Writer, files []dump.File, stdin io.Reader) *progressBar {
	bar := &progressBar{}
	if o.quiet || screenOf(stderr).width == 0 {
		return bar
	}
	total, fromStdin := int64(0), false
	for _, f := range files {
		total += f.Size
		fromStdin = fromStdin || f.Path == "-"
	}
	if fromStdin {
		size := int64(-1)
		if file, ok := stdin.(*os.File); ok && !o.cluster.enabled {
			if term.IsTerminal(int(file.Fd())) {
				return bar
			}
			if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
				size = info.Size()
			}
		}
		if total += size; size < 0 {
			total = -1 // not known
		}
	}
	bar.start(stderr, total)
	return bar
}

// start shows the bar after progressAfter. A negative total is not known.
func (b *progressBar) start(to io.Writer, total int64) {
	b.ended, b.erase = make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(b.erase)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		shown := false
		for {
			select {
			case <-b.ended:
				if shown {
					_, _ = io.WriteString(to, "\r\x1b[K") // a terminal that cannot be written to shows nothing, here and below
				}
				return
			case <-tick.C:
				if shown = time.Since(began) >= progressAfter; shown {
					_, _ = io.WriteString(to, "\r"+progressLine(b.read.Load(), total)+"\x1b[K")
				}
			}
		}
	}()
}

// stop removes the bar.
func (b *progressBar) stop() {
	if b.ended != nil {
		close(b.ended)
		<-b.erase
	}
}

func progressLine(read, total int64) string {
	if total < 0 {
		return fmt.Sprintf("%.1f MB read", float64(read)/1e6)
	}
	const width = 30
	read = min(read, total)
	done := int(read * width / max(total, 1))
	return fmt.Sprintf("[%s%s] %3d %% of %d MB", strings.Repeat("#", done), strings.Repeat(" ", width-done), read*100/max(total, 1), total/1_000_000)
}
