package rules

import (
	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
)

// maxIndexedFields is the number of fields up to which an object is indexed. A Pod and its spec have far fewer; a hostile one may
// have a million.
const maxIndexedFields = 64

// minIndexedLookups is the number of lookups in a pod from which on an index is cheaper: building it reads the whole pod once.
const minIndexedLookups = 5

// An objectIndex holds the fields of an object, so that the many paths that begin in it do not each scan the whole object.
type objectIndex struct {
	fields   []indexedField
	overflow bool // the object has more fields than maxIndexedFields; fields are then incomplete
}

type indexedField struct {
	name  string
	value gjson.Result
	index int // of the field's own objectIndex in evaluation.objects; 0 while it has none
}

func (o *objectIndex) find(name string) *indexedField {
	for i := range o.fields {
		if o.fields[i].name == name {
			return &o.fields[i]
		}
	}
	return nil
}

// addIndex indexes an object and returns the position of its index in e.objects.
func (e *evaluation) addIndex(object gjson.Result) int {
	at := len(e.objects)
	if at < cap(e.objects) {
		e.objects = e.objects[:at+1] // reuse the fields of an earlier pod
	} else {
		e.objects = append(e.objects, objectIndex{})
	}
	o := &e.objects[at]
	o.overflow = false
	object.ForEach(func(name, value gjson.Result) bool {
		if o.overflow = len(o.fields) == maxIndexedFields; o.overflow {
			return false
		}
		o.fields = append(o.fields, indexedField{name: name.Str, value: value})
		return true
	})
	return at
}

// clearIndexes drops all references to the text of the pod, and keeps the memory.
func (e *evaluation) clearIndexes() {
	for i := range e.objects {
		o := &e.objects[i]
		clear(o.fields)
		o.fields = o.fields[:0]
	}
	e.objects = e.objects[:0]
}

// get returns what a run of keys selects in an object or an array; the result does not exist where it selects nothing.
func (e *evaluation) get(from gjson.Result, s *fieldpath.Step) gjson.Result {
	if !e.indexed || len(from.Raw) < len(e.pod.Raw) || !from.IsObject() {
		return from.Get(s.Keys)
	}
	// from is the pod: everything inside it is shorter.
	if len(e.objects) == 0 {
		e.addIndex(from)
	}
	root := &e.objects[0]
	if root.overflow {
		return from.Get(s.Keys)
	}
	first := root.find(s.FirstKey)
	switch {
	case first == nil:
		return gjson.Result{}
	case s.AfterFirst == "":
		return first.value
	case !first.value.IsObject():
		return getFrom(first.value, s.AfterFirst)
	}
	if first.index == 0 {
		index := e.addIndex(first.value) // may reallocate e.objects
		first = e.objects[0].find(s.FirstKey)
		first.index = index
	}
	below := &e.objects[first.index]
	if below.overflow {
		return first.value.Get(s.AfterFirst)
	}
	second := below.find(s.SecondKey)
	switch {
	case second == nil:
		return gjson.Result{}
	case s.AfterSecond == "":
		return second.value
	}
	return getFrom(second.value, s.AfterSecond)
}

// getFrom is value.Get for a value of any type: gjson would search for the first bracket in it, even inside a string.
func getFrom(value gjson.Result, keys string) gjson.Result {
	if !value.IsObject() && !value.IsArray() {
		return gjson.Result{}
	}
	return value.Get(keys)
}
