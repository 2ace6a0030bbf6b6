package report

import (
	"encoding/json"
	"io"
)

// DocumentScoresJSON writes the scores of a report as JSON, with the keys of a report.
func DocumentScoresJSON(to io.Writer, doc *Document) error {
	return writeDocument(to, doc, map[string]any{"cluster": doc.Cluster, "namespaces": nonnil(doc.Namespaces)})
}

// DocumentExplainJSON writes a namespace and its violations as JSON.
func DocumentExplainJSON(to io.Writer, doc *Document, namespace string) error {
	ns := doc.find(namespace)
	if ns == nil {
		return doc.NamespaceNotFound(namespace)
	}
	return writeDocument(to, doc, map[string]any{"namespace": ns, "violations": nonnil(doc.Violations), "waived": nonnil(doc.Waived)})
}

// DocumentWaiversJSON writes the violations that waivers accept as JSON.
func DocumentWaiversJSON(to io.Writer, doc *Document) error {
	return writeDocument(to, doc, map[string]any{"waivers": doc.Waivers()})
}

func nonnil[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

func writeDocument(to io.Writer, doc *Document, members map[string]any) error {
	members["policy"], members["version"] = doc.Policy, reportVersion
	if doc.Scope != nil {
		members["scope"] = doc.Scope
	}
	if len(doc.Warnings) > 0 {
		members["warnings"] = doc.Warnings
	}
	if len(doc.Incomplete) > 0 {
		members["incomplete"] = doc.Incomplete
	}
	text, err := json.MarshalIndent(members, "", "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(to, escaped(string(text))+"\n")
	return err
}
