package scan

import "github.com/kube-devops/kube-devops/agent/dump"

// A part is the part of a list in which a file ends; the next file must go on with it.
type openList struct {
	*dump.Continuation
	file string
}

// follow notes a file that was read, and returns the fault of the one before where this one does not go on with its list.
func (p *openList) follow(file string, stats dump.Stats) error {
	var err error
	if p.Continuation != nil && stats.First != p.Kind {
		err = p.Missing(p.file)
	}
	*p = openList{stats.Continues, file}
	return err
}

// end returns the fault of the last file, where its list does not end.
func (p *openList) end() error {
	if p.Continuation == nil {
		return nil
	}
	return p.Missing(p.file)
}
