package scan

import (
	"hash/maphash"
	"unsafe"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/agent/dump"
)

// complete fills in what the reader does not say of an event: whether it was recorded, and the digest of a manifest.
func complete(e *dump.Event) {
	e.Recorded = e.Recorded || e.Watched || e.Listed && e.UID != ""
	if !e.Recorded && e.Digest == 0 {
		e.Digest = digestOf(gjson.Parse(unsafe.String(unsafe.SliceData(e.JSON), len(e.JSON)))) | 1
	}
}

var digestSeed = maphash.MakeSeed()

// digestOf tells values of JSON apart, whatever the order of their keys.
func digestOf(value gjson.Result) uint64 {
	switch {
	case value.IsObject():
		sum := uint64(1)
		value.ForEach(func(key, value gjson.Result) bool {
			sum += maphash.Comparable(digestSeed, [2]uint64{maphash.String(digestSeed, key.String()), digestOf(value)})
			return true
		})
		return maphash.Comparable(digestSeed, [2]uint64{2, sum})
	case value.IsArray():
		var h maphash.Hash
		h.SetSeed(digestSeed)
		value.ForEach(func(_, value gjson.Result) bool {
			maphash.WriteComparable(&h, digestOf(value))
			return true
		})
		return h.Sum64()
	case value.Type == gjson.String:
		return maphash.Comparable(digestSeed, value.Str)
	}
	return maphash.Comparable(digestSeed, [2]string{"other", value.Raw})
}
