package dump

// object has the identity of a Kubernetes object, and its place in the window.
type object struct {
	kind, apiVersion     text
	name, namespace, uid text
	generateName         text
	metadata             bool // the object has metadata
	listed               bool // it is an item of a list
	recorded             bool // a cluster printed it
	items                byte // the first byte of items; 0: there are none
	start                int  // relative to the start of the item
	end                  int
}

// text is a value that should be a string. As in Kubernetes, a missing value and null are the empty string.
type text struct {
	value string
	is    byte // the first byte of the value; 0: the key is missing
}

// bad reports whether the value is neither a string nor null.
func (t text) bad() bool { return t.is != 0 && t.is != '"' && t.is != 'n' }

// readObject reads an object of any kind.
func (in *input) readObject(o *object) error {
	o.start = in.pos - in.keep
	outside := in.depth
	in.depth = 0 // the levels of an item start with itself
	if err := in.object(func(key []byte) error { return in.readMember(o, key) }); err != nil {
		return err
	}
	in.depth = outside
	o.end = in.pos - in.keep
	if o.end-o.start > maxItem {
		return &Error{Offset: in.offset(in.keep + o.start), Err: errTooLarge}
	}
	return nil
}

// readMember reads the value of one key of an object.
func (in *input) readMember(o *object, key []byte) error {
	switch string(key) {
	case "kind":
		return in.readText(&o.kind, in.common)
	case "apiVersion":
		return in.readText(&o.apiVersion, in.common)
	case "metadata":
		if o.metadata {
			return in.duplicate(key)
		}
		o.metadata = true
		if in.buf[in.pos] == '{' {
			return in.object(func(key []byte) error { return in.readMetadata(o, key) })
		}
	case "items":
		if o.items != 0 {
			return in.duplicate(key)
		}
		o.items = in.buf[in.pos]
	}
	return in.skip()
}

func (in *input) readMetadata(o *object, key []byte) error {
	switch string(key) {
	case "name":
		return in.readText(&o.name, in.text)
	case "namespace":
		return in.readText(&o.namespace, in.common)
	case "generateName":
		return in.readText(&o.generateName, in.common)
	case "uid":
		return in.readText(&o.uid, in.text)
	}
	return in.skip()
}

// readText reads a value that should be a string. It skips another value, which is an error only for some kinds.
func (in *input) readText(t *text, read func() (string, error)) error {
	if t.is != 0 {
		return in.duplicate(in.key)
	}
	if t.is = in.buf[in.pos]; t.is != '"' {
		return in.skip()
	}
	var err error
	t.value, err = read()
	return err
}

func (in *input) duplicate(key []byte) error {
	return errorAt(in.offset(in.pos), "duplicate key %s", clip(string(key)))
}
