package report

import (
	"io"

	"github.com/kube-devops/kube-devops/agent/exposition"
)

// Prometheus writes the scores as a file for the textfile collector of the node exporter: the series that the agent
// exports about the same pods, and how many inputs could not be read.
func Prometheus(to io.Writer, scan *Scan, _ Options) error {
	unreadable := len(scan.Inputs.Unreadable)
	view := exposition.View{Table: scan.Snapshot.Table, Snapshot: scan.Snapshot, UnreadableInputs: &unreadable}
	return exposition.New(func() exposition.View { return view }).WriteText(to)
}
