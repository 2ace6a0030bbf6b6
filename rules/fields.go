package rules

import (
	"strings"

	"github.com/tidwall/gjson"
)

// maxFields is how many fields an object may have to be taken apart. Neither a Pod nor its spec has nearly as many; a
// hostile one could have a million, of which no list is to be kept.
const maxFields = 64

// fewLooks is up to how many looks into a pod it is cheaper not to take the pod apart, which reads all of it once.
const fewLooks = 4

// fields is an object taken apart, so that the many paths that begin in it do not each read over what they do not look
// for.
type fields struct {
	list    []namedField
	tooMany bool // there are more, and none is listed
}

type namedField struct {
	name  string
	value gjson.Result
	taken int // where its own fields are among those of the evaluation; 0 while it is whole
}

func (f *fields) find(name string) *namedField {
	for i := range f.list {
		if f.list[i].name == name {
			return &f.list[i]
		}
	}
	return nil
}

// take takes an object apart and returns where its fields are.
func (e *evaluation) take(object gjson.Result) int {
	at := len(e.objects)
	if at < cap(e.objects) {
		e.objects = e.objects[:at+1] // with the memory of a list that was there before
	} else {
		e.objects = append(e.objects, fields{})
	}
	f := &e.objects[at]
	f.tooMany = false
	object.ForEach(func(name, value gjson.Result) bool {
		if f.tooMany = len(f.list) == maxFields; f.tooMany {
			return false
		}
		f.list = append(f.list, namedField{name: name.Str, value: value})
		return true
	})
	return at
}

// forget lets go of the text of the pod, and keeps the memory.
func (e *evaluation) forget() {
	for i := range e.objects {
		f := &e.objects[i]
		clear(f.list)
		f.list = f.list[:0]
	}
	e.objects = e.objects[:0]
}

// get is what a run of keys leads to from a value that is an object or an array; absent where it leads nowhere.
func (e *evaluation) get(from gjson.Result, s *step) gjson.Result {
	if !e.apart || len(from.Raw) < len(e.pod.Raw) || !from.IsObject() {
		return from.Get(s.keys)
	}
	// It is the pod: all that is in it is shorter.
	if len(e.objects) == 0 {
		e.take(from)
	}
	root := &e.objects[0]
	if root.tooMany {
		return from.Get(s.keys)
	}
	first := root.find(s.first)
	switch {
	case first == nil:
		return gjson.Result{}
	case s.behindFirst == "":
		return first.value
	case !first.value.IsObject():
		return getFrom(first.value, s.behindFirst)
	}
	if first.taken == 0 {
		taken := e.take(first.value) // which may move the lists
		first = e.objects[0].find(s.first)
		first.taken = taken
	}
	below := &e.objects[first.taken]
	if below.tooMany {
		return first.value.Get(s.behindFirst)
	}
	second := below.find(s.second)
	switch {
	case second == nil:
		return gjson.Result{}
	case s.behindSecond == "":
		return second.value
	}
	return getFrom(second.value, s.behindSecond)
}

// getFrom looks for the keys in a value of any type. gjson would look for the first bracket in it, be it inside a string.
func getFrom(value gjson.Result, keys string) gjson.Result {
	if !value.IsObject() && !value.IsArray() {
		return gjson.Result{}
	}
	return value.Get(keys)
}

// takeApart prepares a run of keys for get.
func (s *step) takeApart() {
	keys := splitKeys(s.keys)
	s.first = strings.ReplaceAll(keys[0], `\.`, ".")
	if len(keys) > 1 {
		s.second = strings.ReplaceAll(keys[1], `\.`, ".")
		s.behindFirst = strings.Join(keys[1:], ".")
		s.behindSecond = strings.Join(keys[2:], ".")
	}
}
