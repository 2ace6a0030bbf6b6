package scan

import (
	"hash/maphash"

	"github.com/kube-devops/kube-devops/agent/dump"
)

var seed = maphash.MakeSeed()

func shim(e *dump.Event) {
	if !e.Recorded {
		e.Recorded = e.Watched || e.Listed && e.UID != ""
	}
	if !e.Recorded && e.Digest == 0 {
		e.Digest = maphash.Bytes(seed, e.JSON)
	}
}
