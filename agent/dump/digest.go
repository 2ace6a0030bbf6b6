package dump

import (
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// digestSeed is new in each process: two manifests with the same digest cannot be prepared.
var digestSeed = maphash.MakeSeed()

// digestOf is equal for two JSON values that differ only in the order of keys, in spaces and in how strings and numbers are
// written. The text is valid JSON. The result is never 0.
func digestOf(json []byte) uint64 { return max(digestValue(gjson.Parse(view(json))), 1) }

// Each kind of value starts with a hash of its own.
const (
	digestObject uint64 = 0x9e3779b97f4a7c15 + iota
	digestArray
	digestString
	digestScalar
)

func digestValue(v gjson.Result) uint64 {
	switch {
	case v.IsObject():
		sum := digestObject // a sum does not depend on the order of the members
		v.ForEach(func(key, value gjson.Result) bool {
			sum += mix(mix(digestString, maphash.String(digestSeed, key.Str)), digestValue(value))
			return true
		})
		return mix(digestObject, sum)
	case v.IsArray():
		sum := digestArray
		v.ForEach(func(_, value gjson.Result) bool {
			sum = mix(sum, digestValue(value))
			return true
		})
		return mix(digestArray, sum)
	case v.Type == gjson.String:
		return mix(digestString, maphash.String(digestSeed, v.Str))
	case v.Type == gjson.Number && strings.ContainsAny(v.Raw, ".eE"): // 1.0 and 1e0 are 1
		return mix(digestScalar, maphash.String(digestSeed, strconv.FormatFloat(v.Num, 'f', -1, 64)))
	}
	return mix(digestScalar, maphash.String(digestSeed, v.Raw))
}

// mix combines two hashes; their order matters.
func mix(a, b uint64) uint64 {
	h := a*0xff51afd7ed558ccd ^ b
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 29
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>32
}
