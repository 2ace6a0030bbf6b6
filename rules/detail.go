package rules

// A Detail is what a violation shows of the object that it was found in.
type Detail struct {
	// Value is the text of the value that the violation is about: a string as it stands, any other scalar as its JSON. At
	// most 200 bytes; a longer one is cut on a character and ends with an ellipsis. Empty where there is no such value.
	Value string
	// Withheld reports that there is such a value, and that it may be a secret: Value is then empty.
	Withheld bool
}

// Detail looks at a pod again, given as the JSON that was evaluated, for what a violation of it shows.
func (t *Table) Detail(pod []byte, v *Violation) Detail { return Detail{} }

// MessageOf is the sentence about one violation of the check: the message of the check, with the value where there is one.
func (c *Check) MessageOf(d Detail) string {
	if d.Value == "" {
		return c.Message()
	}
	return c.Message() + ": " + d.Value
}
