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
	// progressFrom is how large the files must be, in bytes, to be worth a bar.
	progressFrom = 64 << 20
	progressEach = 100 * time.Millisecond
)

// newProgressBar makes a bar, which is seen where there is a terminal and something to wait for.
func newProgressBar(to io.Writer, files []dump.File) *progressBar {
	bar := &progressBar{}
	total := int64(0)
	for _, f := range files {
		if f.Path == "-" {
			return bar // nobody knows how much comes
		}
		total += f.Size
	}
	if file, ok := to.(*os.File); total >= progressFrom && ok && term.IsTerminal(int(file.Fd())) {
		bar.start(to, total)
	}
	return bar
}

func (b *progressBar) start(to io.Writer, total int64) {
	b.ended, b.gone = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(b.gone)
		tick := time.NewTicker(progressEach)
		defer tick.Stop()
		for {
			select {
			case <-b.ended:
				// A terminal that cannot be written to has nobody before it; here and below.
				_, _ = io.WriteString(to, "\r\x1b[K")
				return
			case <-tick.C:
				_, _ = io.WriteString(to, "\r"+progressLine(b.read.Load(), total)+"\x1b[K")
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
	const width = 30
	done := int(min(read, total) * width / total)
	return fmt.Sprintf("[%s%s] %3d %% of %d MB", strings.Repeat("#", done), strings.Repeat(" ", width-done), min(read, total)*100/total, total/1_000_000)
}
