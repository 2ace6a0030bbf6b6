package dump

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/rules"
)

// ownerKinds are the kinds that own the pods of a workload, where that is not the workload itself.
var ownerKinds = map[string]string{"Deployment": "ReplicaSet", "CronJob": "Job"}

// workloads are the kinds whose template is a pod template even if it has no containers.
var workloads = map[string]bool{
	"CronJob": true, "DaemonSet": true, "Deployment": true, "Job": true, "ReplicaSet": true, "ReplicationController": true, "StatefulSet": true,
}

// workload emits the pod template of an object as a pod. It returns false if the object has none.
func (d *reader) workload(op Op, o *object) (bool, error) {
	root := gjson.Parse(view(d.in.buf[d.in.keep+o.start : d.in.keep+o.end]))
	workloadSpec, err := d.lookup(o, root, "spec")
	if err != nil {
		return false, err
	}
	template, err := d.lookup(o, workloadSpec, "jobTemplate", "spec", "template")
	if err == nil && !template.Exists() {
		template, err = d.lookup(o, workloadSpec, "template")
	}
	if err != nil || !template.IsObject() {
		return false, err
	}
	metadata, err := d.lookup(o, template, "metadata")
	if err != nil {
		return false, err
	}
	spec, err := d.lookup(o, template, "spec")
	if err != nil {
		return false, err
	}
	containers, err := d.lookup(o, spec, "containers")
	if err != nil || !containers.IsArray() && !workloads[o.kind.value] {
		return false, err
	}
	references, err := d.lookup(o, root, "metadata", "ownerReferences")
	if err != nil {
		return false, err
	}
	namespace, name, err := d.nameOf(o)
	if err != nil {
		return true, err
	}
	d.makePod(o, metadata, spec, namespace, name)
	if len(d.template) > maxItem {
		return true, d.errorAt(o, "%w", errTooLarge)
	}
	return true, d.emit(Event{
		Op: op, Namespace: namespace, Name: o.kind.value + "/" + name, JSON: d.template, Template: true, made: true, Owners: ownersOf(references),
		MisplacedWaiver: d.misplacedWaiver(o, root, template),
	}, o)
}

// misplacedWaiver returns the line of the annotation of a workload that belongs to its template, which does not have it; 0 if there is none.
func (d *reader) misplacedWaiver(o *object, root, template gjson.Result) int {
	path := "metadata.annotations." + strings.ReplaceAll(rules.WaiveAnnotation, ".", `\.`)
	if template.Get(path).Exists() {
		return 0
	}
	for _, of := range []gjson.Result{root, root.Get("spec.jobTemplate")} {
		if annotation := of.Get(path); annotation.Exists() {
			before := d.in.buf[d.in.keep+o.start : d.in.keep+o.start+annotation.Index]
			return d.in.line() + bytes.Count(before, []byte{'\n'})
		}
	}
	return 0
}

// lookup returns the value at a path of keys; no key may occur twice. The result does not exist if a key is missing.
func (d *reader) lookup(o *object, of gjson.Result, keys ...string) (gjson.Result, error) {
	for _, name := range keys {
		var found gjson.Result
		var err error
		if of.IsObject() {
			of.ForEach(func(key, value gjson.Result) bool {
				if key.Str == name && found.Exists() {
					err = errorAt(d.in.offset(d.in.keep+o.start+value.Index), "duplicate key %s", clip(name))
				} else if key.Str == name {
					found = value
				}
				return err == nil
			})
		}
		if err != nil {
			return found, err
		}
		of = found
	}
	return of, nil
}

// ownersOf reads owner references, and ignores what does not have their types.
func ownersOf(references gjson.Result) []Owner {
	var owners []Owner
	if references.IsArray() {
		for _, reference := range references.Array() {
			var o Owner
			if json.Unmarshal([]byte(reference.Raw), &o) == nil && o != (Owner{}) {
				owners = append(owners, o)
			}
		}
	}
	return owners
}

// makePod writes the pod that a workload stands for: its template with the name and the controller of a live pod. Members
// keep the order and the lines that they have in the item.
func (d *reader) makePod(o *object, metadata, spec gjson.Result, namespace, own string) {
	kind := ownerKinds[o.kind.value]
	if kind == "" {
		kind = o.kind.value
	}
	p := podWriter{item: d.in.buf[d.in.keep+o.start : d.in.keep+o.end], json: d.template[:0]}
	p.text(`{"apiVersion":"v1","kind":"Pod"`)
	if !metadata.IsObject() { // generators like to write null
		metadata = gjson.Result{}
	}
	specFirst := spec.Index < metadata.Index
	if specFirst {
		p.member("spec", spec)
	}
	p.text(`,"metadata":{"name":`)
	p.json = appendQuoted(p.json, o.kind.value+"/"+own)
	p.text(`,"namespace":`)
	p.json = appendQuoted(p.json, namespace)
	p.text(`,"ownerReferences":[{"apiVersion":`)
	p.json = appendQuoted(p.json, o.apiVersion.value)
	p.text(`,"kind":`)
	p.json = appendQuoted(p.json, kind)
	p.text(`,"name":`)
	p.json = appendQuoted(p.json, own)
	p.text(`,"controller":true}]`)
	metadata.ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "name", "namespace", "ownerReferences": // written above
		default:
			p.member(key.Str, value)
		}
		return true
	})
	p.text("}")
	if !specFirst {
		p.member("spec", spec)
	}
	p.text("}")
	d.template = p.json
}

// podWriter writes a pod from members of an item.
type podWriter struct {
	item []byte
	from int // the end of the last member that was copied
	json []byte
}

func (p *podWriter) text(s string) { p.json = append(p.json, s...) }

// member writes a comma, a key and its value, after as many line breaks as the item has before the value.
func (p *podWriter) member(key string, value gjson.Result) {
	if !value.Exists() {
		return
	}
	for range bytes.Count(p.item[p.from:value.Index], []byte{'\n'}) {
		p.json = append(p.json, '\n')
	}
	p.text(",")
	p.json = appendQuoted(p.json, key)
	p.text(":" + value.Raw)
	p.from = value.Index + len(value.Raw)
}
