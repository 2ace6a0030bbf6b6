package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A usage is what a process has taken until now.
type usage struct {
	cpu             time.Duration
	peak, rss, file int // bytes; file are those of rss that are pages of the binary
}

// processOf reads the usage of a process from /proc, so that all are measured in one way.
func processOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, fmt.Errorf("measure a process (on Linux alone): %w", err)
	}
	_, behindName, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(behindName)
	const utime, stime = 11, 12 // fields 14 and 15 of proc(5), two of which came before
	var ticks int
	for _, i := range []int{utime, stime} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return usage{}, err
		}
		ticks += n
	}
	u := usage{cpu: time.Duration(ticks) * time.Second / 100}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}, err
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int
		switch name, value, _ := strings.Cut(line, ":"); name {
		case "VmHWM", "VmRSS", "RssFile":
			if _, err := fmt.Sscan(value, &kilobytes); err != nil {
				return usage{}, err
			}
			*map[string]*int{"VmHWM": &u.peak, "VmRSS": &u.rss, "RssFile": &u.file}[name] = kilobytes << 10
		}
	}
	return u, nil
}

func machine() string { return fmt.Sprintf("%d cores, %s", runtime.NumCPU(), runtime.Version()) }

func megabytes(bytes int) string { return fmt.Sprintf("%.0f MB", float64(bytes)/1e6) }
