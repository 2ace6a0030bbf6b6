package rules

// KindOf is the kind that a text says it is: Kind, WaiversKind, PolicyTestKind, or whatever stands there; empty where the
// text says nothing that can be read.
func KindOf(text []byte) string {
	root := new(reader).parse(text)
	if root == nil {
		return ""
	}
	return fieldValue(root, "kind")
}
