// Package base is what the status page and the HTML report of a scan have in common, so that both look alike: the beginning and the end of
// a document, its style, the Content-Security-Policy, and how texts and numbers are written.
//
// It must not know what the pages show.
package base

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"slices"

	"github.com/dustin/go-humanize/english"
)

var (
	//go:embed base.html
	baseText string
	//go:embed base.css
	baseStyle string
)

// A Design is the style and the script of all documents of one kind. Its Content-Security-Policy allows nothing else, so that a browser
// never runs a text of a pod or a policy.
type Design struct {
	Style    template.CSS
	Script   template.JS
	Security string // the Content-Security-Policy
}

// NewDesign adds a style to the common one. The directives of the Content-Security-Policy are for what is not 'none'.
func NewDesign(style, script, directives string) Design {
	style = baseStyle + style
	security := "default-src 'none'; base-uri 'none'; " + directives + "; style-src " + sourceHash(style) + "; script-src " + sourceHash(script)
	return Design{template.CSS(style), template.JS(script), security}
}

// sourceHash identifies a style or a script in a Content-Security-Policy.
func sourceHash(text string) string {
	hash := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
}

// A Document is what the templates "start" and "end" need.
type Document struct {
	Design
	Title string
	// Meta is true if the Content-Security-Policy is part of the document, because no header has it.
	Meta bool
}

// Parse parses templates that use those of this package.
func Parse(functions template.FuncMap, texts ...string) *template.Template {
	t := template.New("base").Funcs(template.FuncMap{"number": Number, "plural": english.Plural, "percent": Percent}).Funcs(functions)
	for _, text := range append([]string{baseText}, texts...) {
		template.Must(t.Parse(text))
	}
	return t
}

// A Badge is a word with a class that has a color and, for grades, a mark that distinguishes it without the color.
type Badge struct{ Class, Text string }

// GradeClass is the class of a grade by its position among the grades, the best first: best, fair, poor or worst.
func GradeClass(grades []string, grade string) string {
	at := slices.Index(grades, grade)
	switch {
	case at == 0:
		return "best"
	case at == len(grades)-1:
		return "worst"
	case 2*at < len(grades):
		return "fair"
	}
	return "poor"
}
