// Command workload is what runs in the containers of the node tests, and holds their sandboxes: it waits for SIGTERM. With
// `ok` it ends at once, which is what a probe or a job asks for; with `fail` it ends with an error.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] != "wait" {
		if os.Args[1] != "ok" {
			os.Exit(1)
		}
		return
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}
