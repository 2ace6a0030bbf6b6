// Command benchscan compares the scan of a recording with jq and with nothing but reading the file: time, processor time and
// peak memory, each the best of some runs, as whatever else the machine does can only make them worse.
//
// Usage: benchscan [-runs N] KUBE-DEVOPS SMALL.json SMALL-PODS LARGE.json LARGE-PODS
//
// With -manifests FOLDER KUBE-DEVOPS it writes 5,000 small manifests there, and compares the scan of them with PyYAML's C
// loader and with kube-score.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// readSelf makes this program read a file and do nothing else.
const readSelf = "--read"

func main() {
	if len(os.Args) == 3 && os.Args[1] == readSelf {
		exit(read(os.Args[2]))
	}
	runs := flag.Int("runs", 3, "how many times to run each program; the best counts")
	manifests := flag.String("manifests", "", "folder to write small manifests to, whose scan is measured")
	flag.Parse()
	if *manifests != "" {
		if flag.NArg() != 1 || *runs < 1 {
			exit(errors.New("usage: benchscan [-runs N] -manifests FOLDER KUBE-DEVOPS"))
		}
		exit(compareManifests(*runs, flag.Arg(0), *manifests))
	}
	exit(compare(*runs, flag.Args()))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchscan:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func read(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 256<<10)
	for {
		if _, err := f.Read(buf); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// A result is what one run took.
type result struct {
	wall, cpu time.Duration
	rss       int64 // peak, in KiB
}

// A row is a program and its best run.
type row struct {
	name  string
	pods  int
	bytes int64
	result
}

func compare(runs int, args []string) error {
	if len(args) != 5 || runs < 1 {
		return errors.New("usage: benchscan [-runs N] KUBE-DEVOPS SMALL.json SMALL-PODS LARGE.json LARGE-PODS")
	}
	small, large := args[1], args[3]
	smallPods, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	largePods, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	jq, err := exec.LookPath("jq")
	if err != nil {
		return errors.New("jq is not there: apt-get install jq")
	}
	rows := []row{{name: "read the file", pods: smallPods}, {name: "jq '.items|length'", pods: smallPods}, {name: "scan", pods: smallPods}, {name: "scan", pods: largePods}}
	commands := [][]string{{self, readSelf, small}, {jq, ".items|length", small}, {args[0], "scan", small}, {args[0], "scan", large}}
	for i, command := range commands {
		info, err := os.Stat(command[len(command)-1])
		if err != nil {
			return err
		}
		rows[i].bytes = info.Size()
	}
	// One after the other and again, so that what else goes on meets all of them alike.
	for n := range runs {
		for i, command := range commands {
			r, err := measure(command)
			if err != nil {
				return fmt.Errorf("%s: %w", strings.Join(command, " "), err)
			}
			best := &rows[i].result
			if n == 0 || r.wall < best.wall {
				best.wall = r.wall
			}
			if n == 0 || r.cpu < best.cpu {
				best.cpu = r.cpu
			}
			best.rss = max(best.rss, r.rss) // of memory the worst counts
		}
	}
	return print(os.Stdout, rows)
}

func measure(command []string) (result, error) {
	cmd := exec.Command(command[0], command[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	began := time.Now()
	err := cmd.Run()
	r := result{wall: time.Since(began)}
	if err != nil {
		return r, fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return r, errors.New("the system does not say what the program used")
	}
	r.cpu = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	r.rss = int64(usage.Maxrss)
	return r, nil
}

func print(to io.Writer, rows []row) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%d processors\tpods\tMB\twall s\tCPU s\tpods/s\tMB/s\tpeak RSS MB\tas fast as jq\t\n", runtime.NumCPU())
	for _, r := range rows {
		seconds := r.wall.Seconds()
		perPod := rows[1].wall.Seconds() / float64(rows[1].pods)
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%.2f\t%.2f\t%.0f\t%.0f\t%.1f\t%.1f\t\n", r.name, r.pods, float64(r.bytes)/1e6, seconds, r.cpu.Seconds(),
			float64(r.pods)/seconds, float64(r.bytes)/1e6/seconds, float64(r.rss)/1024, perPod*float64(r.pods)/seconds)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	small, large := rows[2], rows[3]
	_, err := fmt.Fprintf(to, "\nscan of %d pods: %.0f %% of the pods/s of %d pods\n", large.pods,
		100*float64(large.pods)/large.wall.Seconds()/(float64(small.pods)/small.wall.Seconds()), small.pods)
	return err
}
