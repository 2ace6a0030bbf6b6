package dump

import (
	"hash/maphash"
	"strconv"
)

// digestSeed is of this process alone: an attacker cannot prepare two manifests of the same digest.
var digestSeed = maphash.MakeSeed()

// digestOf tells JSON values apart, whatever the order of their keys, their spaces, and how their strings and numbers are
// written. The text is one valid object. The result is never 0.
func digestOf(json []byte) uint64 {
	d := digester{json: json}
	return max(d.value(), 1)
}

// digester takes the hash of a value in one pass. What is not JSON gives some hash.
type digester struct {
	json []byte
	at   int
}

// Each kind of value has a hash of its own to start from.
const (
	digestObject uint64 = 0x9e3779b97f4a7c15 + iota
	digestArray
	digestString
	digestScalar
)

func (d *digester) value() uint64 {
	switch d.next() {
	case '{':
		return d.object()
	case '[':
		return d.array()
	case '"':
		return d.text()
	}
	return d.scalar()
}

// next passes over spaces and separators, and returns the byte behind them, 0 at the end.
func (d *digester) next() byte {
	for ; d.at < len(d.json); d.at++ {
		switch c := d.json[d.at]; c {
		case ' ', '\n', '\r', '\t', ',', ':':
		default:
			return c
		}
	}
	return 0
}

// object adds up the hashes of its members, so that their order does not matter.
func (d *digester) object() uint64 {
	d.at++
	sum := digestObject
	for c := d.next(); c != '}' && c != 0; c = d.next() {
		key := d.value()
		sum += mix(key, d.value())
	}
	d.at++
	return mix(digestObject, sum)
}

func (d *digester) array() uint64 {
	d.at++
	sum := digestArray
	for c := d.next(); c != ']' && c != 0; c = d.next() {
		sum = mix(sum, d.value())
	}
	d.at++
	return mix(digestArray, sum)
}

func (d *digester) text() uint64 {
	d.at++
	start, plain := d.at, true
	for d.at < len(d.json) && d.json[d.at] != '"' {
		if d.json[d.at] == '\\' {
			plain = false
			d.at++
		}
		d.at++
	}
	end := min(d.at, len(d.json))
	raw := d.json[start:end]
	d.at++
	if !plain {
		raw = []byte(unquote(raw))
	}
	return mix(digestString, maphash.Bytes(digestSeed, raw))
}

func (d *digester) scalar() uint64 {
	start := d.at
	for d.at < len(d.json) && isScalar(d.json[d.at]) {
		d.at++
	}
	if d.at == start { // no JSON: go on all the same
		d.at++
		return digestScalar
	}
	raw := d.json[start:d.at]
	if c := raw[0]; c == '-' || c >= '0' && c <= '9' {
		if number, err := strconv.ParseFloat(view(raw), 64); err == nil && !isInteger(raw) {
			raw = strconv.AppendFloat(nil, number, 'f', -1, 64) // 1.0 and 1e0 are 1
		}
	}
	return mix(digestScalar, maphash.Bytes(digestSeed, raw))
}

func isInteger(number []byte) bool {
	for _, c := range number {
		if c == '.' || c == 'e' || c == 'E' {
			return false
		}
	}
	return true
}

// mix makes one hash of two, whose order matters.
func mix(a, b uint64) uint64 {
	h := a*0xff51afd7ed558ccd ^ b
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 29
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>32
}
