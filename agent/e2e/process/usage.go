package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Usage has the resources that a process has used so far.
type Usage struct {
	CPU             time.Duration
	Peak, RSS, File int // bytes; File are those of RSS that are pages of the binary
}

// UsageOf reads the usage of a process from /proc, so that all are measured in one way.
func UsageOf(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("measure a process (on Linux alone): %w", err)
	}
	_, behindName, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(behindName)
	const utime, stime = 11, 12 // fields 14 and 15 of proc(5), after the first two
	var ticks int
	for _, i := range []int{utime, stime} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return Usage{}, err
		}
		ticks += n
	}
	u := Usage{CPU: time.Duration(ticks) * time.Second / 100}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, err
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int
		switch name, value, _ := strings.Cut(line, ":"); name {
		case "VmHWM", "VmRSS", "RssFile":
			if _, err := fmt.Sscan(value, &kilobytes); err != nil {
				return Usage{}, err
			}
			*map[string]*int{"VmHWM": &u.Peak, "VmRSS": &u.RSS, "RssFile": &u.File}[name] = kilobytes << 10
		}
	}
	return u, nil
}
