package scan

import (
	"errors"
	"fmt"

	"github.com/kube-devops/kube-devops/agent/dump"
)

// A part is the part of a list in which a file ends; the next file must go on with it.
type part struct {
	*dump.Continuation
	file string
}

// follow notes a file that was read, and returns the fault of the one before where this one does not go on with its list.
func (p *part) follow(file string, stats dump.Stats) error {
	var err error
	if p.Continuation != nil && stats.FirstList != p.Kind {
		err = p.missing()
	}
	*p = part{stats.Continues, file}
	return err
}

// end returns the fault of the last file, where its list does not end.
func (p *part) end() error {
	if p.Continuation == nil {
		return nil
	}
	return p.missing()
}

func (p *part) missing() error {
	missing := "an unknown number of items is missing"
	switch {
	case p.Remaining == 1:
		missing = "1 item is missing"
	case p.Remaining >= 0:
		missing = fmt.Sprintf("%d items are missing", p.Remaining)
	}
	return &dump.Error{Name: p.file, Offset: p.Offset, Err: errors.New("a part of a " + dump.OneLine(p.Kind) + ": " + missing +
		": name the file with its next part behind this one, or record it whole with `kubectl get pods -A -o json`")}
}
