package election

import (
	"crypto/rand"
	"strings"
)

// NewIdentity makes the identity of one process: the name of its host or pod, for people, and 128 random bits. Two
// processes of one identity would both take the Lease for theirs, and a restarted one would take over what its
// predecessor still holds.
func NewIdentity(hostname string) string {
	return hostname + "_" + strings.ToLower(rand.Text())
}
