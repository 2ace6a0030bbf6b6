package dump

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"gopkg.in/yaml.v3"
)

// manyItems is how many bytes of YAML are gathered before they are converted, some dozens of pods: enough for all
// processors, and little beside what the parser makes of one item.
const manyItems = 256 << 10

// itemBatch are items of a list in YAML, one behind the other, that are converted at the same time.
type itemBatch struct {
	all   []batchItem
	bytes int
}

// A batchItem is one item, and the JSON that it stands for, which is empty for comments alone.
type batchItem struct {
	text  []byte
	place position
	json  []byte
	line  int // on which the JSON begins, 1-based, in text
	err   error
}

// add gathers a copy of one item. What room earlier ones took is used again.
func (g *itemBatch) add(text []byte, place position) {
	if n := len(g.all); n < cap(g.all) {
		g.all = g.all[:n+1]
	} else {
		g.all = append(g.all, batchItem{})
	}
	item := &g.all[len(g.all)-1]
	item.text, item.place, item.json, item.err = append(item.text[:0], text...), place, item.json[:0], nil
	g.bytes += len(text)
}

// enough says that it is time to convert what was gathered.
func (g *itemBatch) enough() bool { return g.bytes >= manyItems }

// clear forgets them all, and the room that very large ones took.
func (g *itemBatch) clear() {
	for i := range g.all {
		if cap(g.all[i].text)+cap(g.all[i].json) > manyItems {
			g.all[i] = batchItem{}
		}
	}
	g.all, g.bytes = g.all[:0], 0
}

// convert converts each item by itself, on all processors.
func (g *itemBatch) convert() {
	var next atomic.Int64
	work := func() {
		var plain fastYAML
		for i := next.Add(1) - 1; i < int64(len(g.all)); i = next.Add(1) - 1 {
			g.all[i].convert(&plain)
		}
	}
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(g.all)) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
}

func (item *batchItem) convert(plain *fastYAML) {
	if plain.item(item.json, item.text) {
		item.json, item.line = plain.json, plain.breaks.first
		return
	}
	root, err := parseYAML(item.text)
	switch {
	case err != nil:
		item.err = err
	case root == nil:
	case root.Kind != yaml.SequenceNode || len(root.Content) != 1:
		item.err = errors.New("invalid YAML: this is no item of a list")
	default:
		w := yamlWriter{json: item.json, start: len(item.json)}
		item.err = w.value(root.Content[0])
		item.json, item.line = w.json, w.breaks.first
	}
}
