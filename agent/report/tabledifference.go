package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
)

// A TableChange is one part of a policy table that changes, whether it changes a score or not: what a check is called, how severe it is,
// what it says, which violations are accepted.
type TableChange struct {
	// Part is "check latest_tag", "grade Healthy", or a field of the table.
	Part string `json:"part"`
	// Field is the field of the part; empty for a part that is added or removed.
	Field string `json:"field,omitempty"`
	// Before and After are the values as they stand in the table; a string as it is, others as JSON. An empty one is absent.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Added and Removed say that only one of the tables has the part.
	Added   bool `json:"added,omitempty"`
	Removed bool `json:"removed,omitempty"`
}

// keyedParts are the lists of a table whose entries have names.
var keyedParts = []struct{ list, part, key string }{
	{"checks", "check", "id"}, {"skip", "skip", "reason"}, {"grades", "grade", "name"}, {"waivers", "waiver", "id"},
}

// tableChanges lists what changes from one table to the other.
func tableChanges(before, after *rules.Table) []TableChange {
	old, fresh := fieldsOf(before), fieldsOf(after)
	var changes []TableChange
	for _, of := range keyedParts {
		changes = append(changes, entryChanges(of.part, of.key, take(old, of.list), take(fresh, of.list))...)
	}
	for _, name := range fieldNames(old, fresh) {
		changes = append(changes, fieldChanges(name, old[name], fresh[name])...)
	}
	return changes
}

// fieldsOf returns the fields of a table, with pods.skip under "skip".
func fieldsOf(table *rules.Table) map[string]any {
	var fields map[string]any
	if err := yaml.Unmarshal(table.YAML(), &fields); err != nil {
		panic("decode a table: " + err.Error()) // impossible: it was encoded here
	}
	pods, _ := fields["pods"].(map[string]any)
	fields["skip"] = pods["skip"]
	for _, name := range []string{"apiVersion", "kind", "metadata", "pods"} {
		delete(fields, name)
	}
	return fields
}

func take(fields map[string]any, name string) any {
	value := fields[name]
	delete(fields, name)
	return value
}

func fieldNames(a, b map[string]any) []string {
	names := slices.Collect(maps.Keys(a))
	names = slices.AppendSeq(names, maps.Keys(b))
	slices.Sort(names)
	return slices.Compact(names)
}

// entryChanges compares two lists whose entries have names: the parts that stay or are removed in the old order, then those that are added.
func entryChanges(part, key string, before, after any) []TableChange {
	old, fresh := entriesOf(key, before), entriesOf(key, after)
	var changes []TableChange
	for _, entry := range old {
		name := fmt.Sprintf("%s %v", part, entry[key])
		at := slices.IndexFunc(fresh, func(e map[string]any) bool { return e[key] == entry[key] })
		if at < 0 {
			changes = append(changes, TableChange{Part: name, Removed: true})
			continue
		}
		for _, field := range fieldNames(entry, fresh[at]) {
			if was, is := valueText(entry[field]), valueText(fresh[at][field]); was != is {
				changes = append(changes, TableChange{Part: name, Field: field, Before: was, After: is})
			}
		}
	}
	for _, entry := range fresh {
		if !slices.ContainsFunc(old, func(e map[string]any) bool { return e[key] == entry[key] }) {
			changes = append(changes, TableChange{Part: fmt.Sprintf("%s %v", part, entry[key]), Added: true})
		}
	}
	return changes
}

func entriesOf(key string, list any) []map[string]any {
	var entries []map[string]any
	values, _ := list.([]any)
	for _, value := range values {
		if entry, ok := value.(map[string]any); ok && entry[key] != nil {
			entries = append(entries, entry)
		}
	}
	return entries
}

// fieldChanges compares a field of the table, or each of its own fields.
func fieldChanges(name string, before, after any) []TableChange {
	old, wasObject := before.(map[string]any)
	fresh, isObject := after.(map[string]any)
	if (wasObject || before == nil) && (isObject || after == nil) {
		var changes []TableChange
		for _, field := range fieldNames(old, fresh) {
			if was, is := valueText(old[field]), valueText(fresh[field]); was != is {
				changes = append(changes, TableChange{Part: name, Field: field, Before: was, After: is})
			}
		}
		return changes
	}
	if was, is := valueText(before), valueText(after); was != is {
		return []TableChange{{Part: name, Before: was, After: is}}
	}
	return nil
}

// valueText is a value as it stands in the table.
func valueText(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case string:
		return value
	case time.Time:
		return value.Format(time.RFC3339Nano)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

// follows reports whether a line can name the change together with the one before: both add or remove a part of one kind.
func (c TableChange) follows(before TableChange) bool {
	kind, _, _ := strings.Cut(c.Part, " ")
	return (c.Added && before.Added || c.Removed && before.Removed) && strings.HasPrefix(before.Part, kind+" ")
}

// String describes the change in one line.
func (c TableChange) String() string {
	switch {
	case c.Added:
		return "+ " + printable(c.Part)
	case c.Removed:
		return "- " + printable(c.Part)
	}
	shown := func(text string) string {
		if text == "" {
			return "(none)"
		}
		return prose(strings.TrimSpace(text), 120)
	}
	what := printable(c.Part)
	if c.Field != "" {
		what += ", " + printable(c.Field)
	}
	return fmt.Sprintf("  %s: %s -> %s", what, shown(c.Before), shown(c.After))
}
