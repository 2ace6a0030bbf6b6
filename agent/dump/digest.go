package dump

import (
	"bytes"
	"hash/maphash"
	"strconv"
)

// digestSeed is new in each process: two manifests with the same digest cannot be prepared.
var digestSeed = maphash.MakeSeed()

// digestOf is equal for two JSON values that differ only in the order of keys, in spaces and in how strings and numbers are
// written. The text must be valid JSON. The result is never 0.
func digestOf(json []byte) uint64 {
	d := digester{json: json}
	return max(d.value(), 1)
}

type digester struct {
	json []byte
	at   int
}

// next skips spaces and separators, and returns the byte after them.
func (d *digester) next() byte {
	for {
		switch c := d.json[d.at]; c {
		case ' ', '\n', '\r', '\t', ',', ':':
			d.at++
		default:
			return c
		}
	}
}

func (d *digester) value() uint64 {
	c, start := d.next(), d.at
	switch c {
	case '{', '[':
		d.at++
		sum := uint64(0)
		for closing := c + 2; d.next() != closing; { // in ASCII, for both
			element := d.value()
			if c == '{' {
				sum += mix(element, d.value()) // does not depend on the order of the members
			} else {
				sum = mix(sum+1, element)
			}
		}
		d.at++
		return mix(uint64(c), sum)
	case '"':
		end := start + 1
		for end += bytes.IndexByte(d.json[end:], '"'); endsEscaped(d.json[start+1 : end]); end += bytes.IndexByte(d.json[end:], '"') {
			end++
		}
		d.at = end + 1
		raw := d.json[start+1 : end]
		if bytes.IndexByte(raw, '\\') >= 0 {
			raw = []byte(unquote(raw))
		}
		return mix(uint64(c), maphash.Bytes(digestSeed, raw))
	}
	for d.at < len(d.json) && isScalar(d.json[d.at]) {
		d.at++
	}
	raw := d.json[start:d.at]
	if raw[0] <= '9' && bytes.ContainsAny(raw, ".eE") {
		if number, err := strconv.ParseFloat(view(raw), 64); err == nil {
			raw = strconv.AppendFloat(nil, number, 'f', -1, 64) // 1.0 and 1e0 are 1
		}
	}
	return mix(1, maphash.Bytes(digestSeed, raw))
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
