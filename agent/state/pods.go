package state

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
	"strings"
	"unsafe"
)

// podTable holds the pods of one namespace, by name, with what is known of each. There may be a hundred thousand, so that
// a pod costs the bytes of its name, 18 for its UID where that is known, and some eight more, none of which the garbage
// collector looks at.
//
// An entry never changes: a pod of which something else is known gets a new one, and the old one is waste until there is
// too much of that. So a copy of the references shows the table as it was, whatever comes later.
type podTable struct {
	entries
	slots  []uint32 // by hash of the name, the nearest that was free: a reference, 0 where none ever was, or goneSlot
	filled int      // slots that are not 0
	pods   int
	waste  int // bytes of entries to which no slot leads
}

// entries are texts one behind the other, in chunks that stay where they are: judgement, UID and name of a pod each.
type entries struct {
	chunks  [][]byte
	written int // bytes
}

const (
	// A reference is the number of a chunk, and the place in it where an entry begins, plus one: 4 GiB of names.
	chunkBits = 14
	chunkSize = 1 << chunkBits
	goneSlot  = ^uint32(0)

	mostChunks = 1<<(32-chunkBits) - 1

	leastSlots = 8
	leastWaste = 4 << 10
)

// podSeed is that of the hashes of names, which a hostile name must not foresee.
var podSeed = maphash.MakeSeed()

// An entry is what is kept of one pod.
type entry struct {
	judgement uint32 // its number among the interned
	uid       []byte // as packUID writes it
	name      string // lives as long as anybody holds it
}

// add writes an entry and returns the reference to it.
func (e *entries) add(judgement uint32, uid []byte, name string) uint32 {
	var head [3 * binary.MaxVarintLen64]byte
	n := binary.PutUvarint(head[:], uint64(judgement))
	lengths := uint64(len(name)) << 1
	if len(uid) > 0 {
		n += binary.PutUvarint(head[n:], lengths|1)
		n += binary.PutUvarint(head[n:], uint64(len(uid)))
	} else {
		n += binary.PutUvarint(head[n:], lengths)
	}
	size := n + len(uid) + len(name)
	last := len(e.chunks) - 1
	if last < 0 || len(e.chunks[last])+size > chunkSize {
		e.chunks = append(e.chunks, make([]byte, 0, e.room(size)))
		if last++; last >= mostChunks {
			// All of an etcd is less than that: whoever came so far has no memory left for more.
			panic("a namespace has more than 4 GiB of names of pods")
		}
	}
	chunk := e.chunks[last]
	at := len(chunk)
	// The first chunk of a small namespace grows, and who holds a text of it keeps the old one.
	chunk = append(chunk, head[:n]...)
	chunk = append(chunk, uid...)
	e.chunks[last] = append(chunk, name...)
	e.written += size
	return uint32(last<<chunkBits|at) + 1
}

// room is how many bytes a new chunk gets: of the first as few as there is need for, since most namespaces are small.
func (e *entries) room(size int) int {
	if len(e.chunks) == 0 {
		return size
	}
	return max(size, chunkSize)
}

// at reads an entry.
func (e *entries) at(reference uint32) entry {
	text := e.text(reference)
	judgement, n := binary.Uvarint(text)
	text = text[n:]
	name, n := binary.Uvarint(text)
	text = text[n:]
	var uid uint64
	if name&1 != 0 {
		uid, n = binary.Uvarint(text)
		text = text[n:]
	}
	return entry{uint32(judgement), text[:uid], textString(text[uid : uid+name>>1])}
}

// judgementAt reads the judgement of an entry alone.
func (e *entries) judgementAt(reference uint32) uint32 {
	judgement, _ := binary.Uvarint(e.text(reference))
	return uint32(judgement)
}

// text begins with an entry, and goes on to the end of its chunk.
func (e *entries) text(reference uint32) []byte {
	reference--
	return e.chunks[reference>>chunkBits][reference&(chunkSize-1):]
}

func textString(text []byte) string { return unsafe.String(unsafe.SliceData(text), len(text)) }

func (e *entry) size() int {
	size := uvarintSize(int(e.judgement)) + uvarintSize(len(e.name)<<1) + len(e.uid) + len(e.name)
	if len(e.uid) > 0 {
		size += uvarintSize(len(e.uid))
	}
	return size
}

func uvarintSize(n int) int { return (bits.Len(uint(n)|1) + 6) / 7 }

// find returns the slot of a pod, or the one where it would be put.
func (t *podTable) find(name string) (slot int, found entry, ok bool) {
	if len(t.slots) == 0 {
		return 0, entry{}, false
	}
	free := -1
	for slot = t.slotOf(name); ; slot = (slot + 1) & (len(t.slots) - 1) {
		switch reference := t.slots[slot]; reference {
		case 0:
			if free >= 0 {
				slot = free
			}
			return slot, entry{}, false
		case goneSlot:
			if free < 0 {
				free = slot
			}
		default:
			if found = t.at(reference); found.name == name {
				return slot, found, true
			}
		}
	}
}

func (t *podTable) slotOf(name string) int {
	return int(maphash.String(podSeed, name) & uint64(len(t.slots)-1))
}

// put writes what is known of a pod into the slot that find returned, over what was known before.
func (t *podTable) put(slot int, before entry, replaces bool, judgement uint32, uid []byte, name string) {
	if replaces {
		t.waste += before.size()
	} else {
		if t.pods++; (t.filled+1)*8 > len(t.slots)*7 {
			t.rehash()
			slot, _, _ = t.find(name)
		}
		if t.slots[slot] == 0 {
			t.filled++
		}
	}
	t.slots[slot] = t.add(judgement, uid, name)
	t.tidy()
}

// remove empties the slot that find returned.
func (t *podTable) remove(slot int, was entry) {
	t.pods--
	t.slots[slot] = goneSlot
	t.waste += was.size()
	t.tidy()
}

// rehash makes as many slots as the pods want, and forgets those that are gone.
func (t *podTable) rehash() {
	old := t.slots
	n := leastSlots
	for t.pods*8 > n*5 {
		n *= 2
	}
	t.slots, t.filled = make([]uint32, n), 0
	for _, reference := range old {
		if reference == 0 || reference == goneSlot {
			continue
		}
		slot := t.slotOf(t.at(reference).name)
		for t.slots[slot] != 0 {
			slot = (slot + 1) & (n - 1)
		}
		t.slots[slot] = reference
		t.filled++
	}
}

// tidy writes the entries anew where too many are waste.
func (t *podTable) tidy() {
	if t.waste < leastWaste || t.waste < t.written/2 {
		return
	}
	var tidied entries
	for slot, reference := range t.slots {
		if reference != 0 && reference != goneSlot {
			e := t.at(reference)
			t.slots[slot] = tidied.add(e.judgement, e.uid, e.name)
		}
	}
	t.entries, t.waste = tidied, 0
	t.rehash()
}

// all are the references to the pods that there are, in no order.
func (t *podTable) all() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, reference := range t.slots {
			if reference != 0 && reference != goneSlot && !yield(reference) {
				return
			}
		}
	}
}

// frozen are some pods of a table as they were.
type frozen struct {
	entries
	references []uint32
}

// freeze keeps some pods of the table as they are.
func (t *podTable) freeze(references []uint32) frozen {
	return frozen{entries{slices.Clone(t.chunks), t.written}, references}
}

// sort brings the pods into the order of their names.
func (f *frozen) sort() {
	type named struct {
		name      string
		reference uint32
	}
	byName := make([]named, len(f.references))
	for i, reference := range f.references {
		byName[i] = named{f.at(reference).name, reference}
	}
	slices.SortFunc(byName, func(a, b named) int { return strings.Compare(a.name, b.name) })
	for i := range byName {
		f.references[i] = byName[i].reference
	}
}

// packUID appends a UID to a buffer: nothing for one that is not known, 17 bytes for one as the API server makes them, and
// the text of any other. The first byte tells which.
func packUID(to []byte, uid string) []byte {
	if uid == "" {
		return to
	}
	const text = len("00000000-0000-0000-0000-000000000000")
	if len(uid) == text && uid[8] == '-' && uid[13] == '-' && uid[18] == '-' && uid[23] == '-' && !strings.ContainsAny(uid, "ABCDEF") {
		var digits [32]byte
		n := 0
		for _, part := range [...]string{uid[:8], uid[9:13], uid[14:18], uid[19:23], uid[24:]} {
			n += copy(digits[n:], part)
		}
		if packed, err := hex.AppendDecode(append(to, packedUID), digits[:]); err == nil {
			return packed
		}
	}
	return append(append(to, textUID), uid...)
}

const (
	packedUID = iota
	textUID
)

// otherUID tells whether two packed UIDs are known and differ.
func otherUID(a, b []byte) bool { return len(a) > 0 && len(b) > 0 && !bytes.Equal(a, b) }
