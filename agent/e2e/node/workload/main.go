// Command workload is what runs in the containers of the node tests, and holds their sandboxes: it waits for SIGTERM. With
// `ok` it ends at once, which is what a probe or a job asks for; with `fail` it ends with an error; with `eat` it takes memory
// until the kernel ends it.
package main

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	switch strings.Join(os.Args[1:], " ") {
	case "":
	case "ok":
		return
	case "eat":
		eat()
	default:
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}

// eat touches each page, so that it counts. A gibibyte is more than any limit that is meant, and less than a machine has.
func eat() {
	var eaten [][]byte
	for range 1024 {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		eaten = append(eaten, block)
	}
	os.Exit(len(eaten) % 2) // not stopped
}
