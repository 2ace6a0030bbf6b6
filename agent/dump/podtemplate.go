package dump

import (
	"bytes"
	"encoding/json"
)

// ownerKinds are the kinds of the objects that own the pods of a workload, where it is not the workload itself.
var ownerKinds = map[string]string{"Deployment": "ReplicaSet", "CronJob": "Job"}

// workloads are the kinds whose template is one of a pod, whatever it holds.
var workloads = map[string]bool{
	"CronJob": true, "DaemonSet": true, "Deployment": true, "Job": true, "ReplicaSet": true, "ReplicationController": true, "StatefulSet": true,
}

// manifest is where the parts of a workload are that make a pod, from the start of the item.
type manifest struct {
	jobTemplate    bool // the template is the one of jobTemplate
	template       byte // the first byte of the template; 0: there is none
	metadata, spec []part
	containers     bool // the spec has an array of them
	owners         []Owner
}

// part is a key and its value, as they are written.
type part struct {
	name  string
	whole span
}

// workload makes an event of the pod template of an object. It is false where the object has none.
func (d *reader) workload(op Op, o *object) (bool, error) {
	m, err := d.manifest(o)
	if err != nil {
		return false, err
	}
	if m.template != '{' || !m.containers && !workloads[o.kind.value] {
		return false, nil
	}
	if err := d.check(o); err != nil {
		return true, err
	}
	for _, field := range []struct {
		name string
		text text
	}{{"name", o.name}, {"namespace", o.namespace}} {
		if field.text.bad() {
			return true, d.errorAt(o, "metadata.%s is %s, not a string", field.name, describe(field.text.is))
		}
	}
	own := d.nameOf(o)
	if own == "" {
		return true, d.errorAt(o, "a %s without a name", clip(o.kind.value))
	}
	namespace := o.namespace.value
	if namespace == "" {
		namespace = "default"
	}
	name := o.kind.value + "/" + own
	d.makePod(o, m, namespace, own)
	if len(d.template) > maxItem {
		return true, d.errorAt(o, "%w", errTooLarge)
	}
	return true, d.emit(Event{
		Op: op, Namespace: namespace, Name: name, UID: o.uid.value, JSON: d.template, Watched: o.start > 0, Listed: o.listed, Template: true, made: true,
		Generated: o.name.value == "", APIVersion: o.apiVersion.value, Owners: m.owners,
	}, o)
}

// makePod writes the pod that the workload of a name stands for: its template, with the name and the owner that say whose
// it is. Its parts come in the order of the item, each on the line where it stands there.
func (d *reader) makePod(o *object, m *manifest, namespace, own string) {
	kind := ownerKinds[o.kind.value]
	if kind == "" {
		kind = o.kind.value
	}
	p := podWriter{item: d.in.buf[d.in.keep : d.in.keep+o.end], json: d.template[:0]}
	if len(m.spec) > 0 && len(m.metadata) > 0 && m.spec[0].whole.start < m.metadata[0].whole.start {
		p.text(`{"apiVersion":"v1","kind":"Pod"`)
		p.members(m.spec)
		p.text(`,"metadata":{`)
	} else {
		p.text(`{"apiVersion":"v1","kind":"Pod","metadata":{`)
	}
	p.text(`"name":`)
	p.quoted(o.kind.value + "/" + own)
	p.text(`,"namespace":`)
	p.quoted(namespace)
	p.text(`,"ownerReferences":[{"apiVersion":`)
	p.quoted(o.apiVersion.value)
	p.text(`,"kind":`)
	p.quoted(kind)
	p.text(`,"name":`)
	p.quoted(own)
	p.text(`,"controller":true}]`)
	p.members(m.metadata)
	p.text("}")
	if len(m.spec) > 0 && m.spec[0].whole.start >= p.from {
		p.members(m.spec)
	}
	p.text("}")
	d.template = p.json
}

// podWriter writes a pod of parts of an item.
type podWriter struct {
	item []byte
	from int // of what is not copied yet
	json []byte
}

func (p *podWriter) text(words string) { p.json = append(p.json, words...) }

func (p *podWriter) quoted(value string) { p.json = appendQuoted(p.json, value) }

// members writes members of an object behind others, but for those that makePod writes.
func (p *podWriter) members(parts []part) {
	for _, m := range parts {
		switch m.name {
		case "name", "namespace", "ownerReferences":
			continue
		}
		for range bytes.Count(p.item[p.from:m.whole.start], []byte{'\n'}) {
			p.json = append(p.json, '\n')
		}
		p.text(",")
		p.quoted(m.name)
		p.text(":")
		p.json = append(p.json, p.item[m.whole.start:m.whole.end]...)
		p.from = m.whole.end
	}
}

func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic("a string always encodes: " + err.Error())
	}
	return b
}

// manifest looks again at an object that was read, for a pod template.
func (d *reader) manifest(o *object) (*manifest, error) {
	in := d.in
	behind, depth := in.pos, in.depth
	in.pos, in.depth = in.keep+o.start, 0
	m := new(manifest)
	err := d.fields(map[string]func() error{
		"metadata": func() error {
			return d.fields(map[string]func() error{
				"ownerReferences": func() (err error) {
					m.owners, err = d.owners()
					return err
				},
			})
		},
		"spec": func() error {
			return d.fields(map[string]func() error{
				"template": func() error { return d.podTemplate(m, false) },
				"jobTemplate": func() error {
					return d.fields(map[string]func() error{
						"spec": func() error {
							return d.fields(map[string]func() error{
								"template": func() error { return d.podTemplate(m, true) },
							})
						},
					})
				},
			})
		},
	})
	in.pos, in.depth = behind, depth
	return m, err
}

// owners reads the owner references of an object, which was not checked yet. What has another shape names nothing.
func (d *reader) owners() ([]Owner, error) {
	in := d.in
	start := in.pos
	if err := in.skip(); err != nil {
		return nil, err
	}
	var references []json.RawMessage
	if json.Unmarshal(in.buf[start:in.pos], &references) != nil {
		return nil, nil
	}
	var owners []Owner
	for _, text := range references {
		var o Owner
		if json.Unmarshal(text, &o) == nil && o != (Owner{}) {
			owners = append(owners, o)
		}
	}
	return owners, nil
}

// podTemplate reads a template. That of a CronJob's jobs counts before another one.
func (d *reader) podTemplate(m *manifest, ofJob bool) error {
	in := d.in
	if m.jobTemplate && !ofJob {
		return in.skip()
	}
	*m = manifest{owners: m.owners, jobTemplate: ofJob, template: in.buf[in.pos]}
	return d.fields(map[string]func() error{
		"metadata": func() error {
			if in.buf[in.pos] != '{' {
				return in.skip() // null, as generators like to write it
			}
			return in.object(func(key []byte) (err error) {
				m.metadata, err = d.remember(m.metadata, key)
				return err
			})
		},
		"spec": func() error {
			again := in.pos
			if err := d.fields(map[string]func() error{
				"containers": func() error {
					m.containers = in.buf[in.pos] == '['
					return in.skip()
				},
			}); err != nil {
				return err
			}
			in.pos = again
			var err error
			m.spec, err = d.remember(m.spec, []byte("spec"))
			return err
		},
	})
}

// remember passes over a value, and notes where it stands.
func (d *reader) remember(members []part, key []byte) ([]part, error) {
	in := d.in
	name, start := string(key), in.pos-in.keep
	err := in.skip()
	return append(members, part{name, span{start, in.pos - in.keep}}), err
}

// fields reads a value by the functions of its keys. Where it is no object, it has none of them.
func (d *reader) fields(read map[string]func() error) error {
	in := d.in
	if in.buf[in.pos] != '{' {
		return in.skip()
	}
	seen := make(map[string]bool)
	return in.object(func(key []byte) error {
		name := string(key)
		of, ok := read[name]
		if !ok {
			return in.skip()
		}
		if seen[name] {
			return in.duplicate(key)
		}
		seen[name] = true
		return of()
	})
}
