package rules

import (
	"bytes"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/internal/layers"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// A Source is the text of one table.
type Source = layers.Source

// A Reference is an entry of extends.
type Reference struct {
	// Name is the name of a built-in table, or a file relative to that of the table.
	Name string
	// File and Line are where the entry is.
	File string
	Line int
}

// Errorf returns the error that a table cannot be extended.
func (r Reference) Errorf(format string, args ...any) error {
	return strictyaml.Errors{strictyaml.NewReader(r.File).About(&yaml.Node{Line: r.Line}, "", "extends: "+format, args...)}
}

// Extends returns the tables that a table extends, in the order of its text. The error is LoadErrors.
func Extends(file string, text []byte) ([]Reference, error) {
	// Most tables extend none; this saves to parse them twice. Only escapes and UTF-16, which has zero bytes, can write the word otherwise.
	if !bytes.Contains(text, []byte("extends")) && !bytes.ContainsAny(text, "\\\x00") {
		return nil, nil
	}
	r := newLoader(file)
	root := r.Parse(text)
	if root == nil {
		return nil, r.Err()
	}
	var references []Reference
	if node := strictyaml.Field(root, "extends"); node != nil {
		references = r.extends(node)
	}
	return references, r.Err()
}

func (r *loader) extends(node *yaml.Node) []Reference {
	var references []Reference
	lines := make(map[string]int)
	for _, entry := range strictyaml.Entries(node) {
		name, ok := r.Text(entry, "extends")
		line, twice := lines[name]
		switch {
		case !ok:
		case name == "":
			r.Errorf(entry, "extends: an entry must be the name of a built-in table or a file")
		case twice:
			r.Errorf(entry, "extends: duplicate entry %q; the first one is in line %d", name, line)
		}
		lines[name] = entry.Line
		if ok && name != "" && !twice {
			references = append(references, Reference{name, r.FileName(), entry.Line})
		}
	}
	if node.Kind == yaml.SequenceNode && len(node.Content) == 0 {
		r.Errorf(node, "extends must not be empty; omit it to extend no table")
	}
	return references
}

// LoadAll merges tables and compiles the result. A later table changes those before it, and the last one names the result. What a table
// extends must be among the sources before it. The error is LoadErrors.
func LoadAll(sources ...Source) (*Table, error) {
	t := new(Table)
	var err error
	if len(sources) == 1 {
		err = t.load(sources[0])
	} else {
		err = t.merge(sources)
	}
	if err != nil {
		return nil, err
	}
	t.compile()
	return t, nil
}

// load reads a table that extends no other.
func (t *Table) load(source Source) error {
	r := newLoader(source.File)
	root := r.Parse(source.Text)
	if root == nil {
		return r.Err()
	}
	t.renamed, t.retired, t.hash = source.Renamed, source.Retired, hashOf(source.Text)
	if r.standsAlone(root) {
		r.table(t, root)
	}
	return r.Err()
}

// merge reads several tables.
func (t *Table) merge(sources []Source) error {
	reader, merged := layers.Merge(sources, func(reader *strictyaml.Reader, lower *layers.Merged) {
		readMerged(reader, &Table{renamed: lower.Renamed, retired: lower.Retired, disabled: lower.Disabled}, lower.Root)
	})
	if merged.Root == nil {
		return reader.Err()
	}
	t.renamed, t.retired, t.disabled, t.warnings = merged.Renamed, merged.Retired, merged.Disabled, merged.Warnings
	var hashes strings.Builder
	for _, source := range sources {
		hashes.WriteString(hashOf(source.Text))
	}
	t.hash = hashOf([]byte(hashes.String()))
	readMerged(reader, t, merged.Root)
	return reader.Err()
}

// readMerged reads what several tables are together.
func readMerged(reader *strictyaml.Reader, t *Table, root *yaml.Node) {
	if reader.IsFull() {
		return // it would count the errors of the lower tables again
	}
	r := &loader{Reader: reader}
	r.FieldHint = fieldHint
	r.table(t, root)
}

// Warnings are about parts of the table that have no effect, or use ids of checks that a built-in table no longer has.
func (t *Table) Warnings() LoadErrors { return t.warnings }

// Renames reports whether a built-in table that the table consists of has renamed checks.
func (t *Table) Renames() bool { return len(t.renamed) > 0 }

// Resolve returns the present id of a check that a built-in table has renamed, and any other id as it is.
func (t *Table) Resolve(id string) string {
	if present, renamed := t.renamed[id]; renamed {
		return present
	}
	return id
}

// Former returns the ids that a check had before a built-in table renamed it, sorted.
func (t *Table) Former(id string) []string {
	var former []string
	for old, present := range t.renamed {
		if present == id {
			former = append(former, old)
		}
	}
	slices.Sort(former)
	return former
}
