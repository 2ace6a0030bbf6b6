package strictyaml

import (
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"
)

// ParseFile is Parse for a file other than that of the reader. Errors about its nodes have its name. Files are read in the order in which
// their errors are printed.
func (r *Reader) ParseFile(file string, text []byte) *yaml.Node {
	r.files = append(r.files, file)
	of := NewReader(file)
	root := of.Parse(text)
	for _, e := range of.errs {
		r.Add(e)
	}
	if root != nil && file != r.file {
		r.claim(root, file)
	}
	return root
}

func (r *Reader) claim(node *yaml.Node, file string) {
	if r.others == nil {
		r.others = make(map[*yaml.Node]string)
	}
	r.others[node] = file
	for _, child := range node.Content {
		r.claim(child, file)
	}
}

// Like returns a node without content whose errors have the file and the line of another.
func (r *Reader) Like(node *yaml.Node, kind yaml.Kind) *yaml.Node {
	made := &yaml.Node{Kind: kind, Line: node.Line, Column: node.Column}
	if file, other := r.others[node]; other {
		r.others[made] = file
	}
	return made
}

// FileName returns the name of the reader's file.
func (r *Reader) FileName() string { return r.file }

// fileOf returns the file of a node, which may be nil.
func (r *Reader) fileOf(node *yaml.Node) string {
	if file, other := r.others[node]; other {
		return file
	}
	return r.file
}

// Place names the place of a node for a message about another one: "line 5", with the file where it is not the same.
func (r *Reader) Place(node, seenFrom *yaml.Node) string {
	if file := r.fileOf(node); file != r.fileOf(seenFrom) {
		return fmt.Sprintf("line %d of %s", node.Line, file)
	}
	return fmt.Sprintf("line %d", node.Line)
}

// Remove makes Fields take a null value for an absent field, unless the field is required.
func (r *Reader) Remove(null *yaml.Node) {
	if r.removed == nil {
		r.removed = make(map[*yaml.Node]bool)
	}
	r.removed[null] = true
}

// Removed reports whether a value is one of Remove.
func (r *Reader) Removed(value *yaml.Node) bool { return r.removed[value] }

// Prune deletes the fields with the values of Remove from a node and all below it.
func (r *Reader) Prune(node *yaml.Node) {
	if node.Kind == yaml.MappingNode {
		for i := len(node.Content) - 2; i >= 0; i -= 2 {
			if r.removed[node.Content[i+1]] {
				node.Content = slices.Delete(node.Content, i, i+2)
			}
		}
	}
	for _, child := range node.Content {
		r.Prune(child)
	}
}

// IsNull reports whether a node is null, as in a field without a value.
func IsNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" }
