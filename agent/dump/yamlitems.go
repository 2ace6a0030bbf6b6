package dump

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"gopkg.in/yaml.v3"
)

// batchSize is how many bytes of YAML are converted at once, some dozens of pods: enough to keep all processors busy.
const batchSize = 256 << 10

// itemBatch is a batch of list items, which are converted in parallel. Its memory is reused.
type itemBatch struct {
	all   []batchItem
	bytes int
}

// batchItem is one item and its JSON, which is empty if the item has only comments.
type batchItem struct {
	text  []byte
	place position
	json  []byte
	line  int // 1-based line of text at which the JSON begins
	err   error
}

// add adds a copy of an item.
func (b *itemBatch) add(text []byte, place position) {
	if n := len(b.all); n < cap(b.all) {
		b.all = b.all[:n+1]
	} else {
		b.all = append(b.all, batchItem{})
	}
	item := &b.all[len(b.all)-1]
	item.text, item.place, item.json, item.err = append(item.text[:0], text...), place, item.json[:0], nil
	b.bytes += len(text)
}

func (b *itemBatch) enough() bool { return b.bytes >= batchSize }

// clear empties the batch, and frees the memory of very large items.
func (b *itemBatch) clear() {
	for i := range b.all {
		if cap(b.all[i].text)+cap(b.all[i].json) > batchSize {
			b.all[i] = batchItem{}
		}
	}
	b.all, b.bytes = b.all[:0], 0
}

// convert converts the items on all processors. A goroutine for each item would take 8 % more CPU, to grow its stack.
func (b *itemBatch) convert() {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(b.all)) {
		workers.Go(func() {
			var fast fastYAML
			for i := next.Add(1) - 1; i < int64(len(b.all)); i = next.Add(1) - 1 {
				b.all[i].convert(&fast)
			}
		})
	}
	workers.Wait()
}

func (item *batchItem) convert(fast *fastYAML) {
	if fast.item(item.json, item.text) {
		item.json, item.line = fast.json, fast.breaks.first
		return
	}
	root, err := parseYAML(item.text)
	switch {
	case err != nil:
		item.err = err
	case root == nil:
	case root.Kind != yaml.SequenceNode || len(root.Content) != 1:
		item.err = errors.New("invalid YAML: expected one list item")
	default:
		w := yamlWriter{json: item.json, start: len(item.json)}
		item.err = w.value(root.Content[0])
		item.json, item.line = w.json, w.breaks.first
	}
}
