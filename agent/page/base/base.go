// Package base has the common parts of the status page and the HTML reports, so that they look alike: the beginning and the end of a
// document, its style, the Content-Security-Policy, and the formats of texts and numbers.
//
// It must not depend on what the pages show.
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

// A Design is the style and the script of all documents of one kind. Its Content-Security-Policy allows no other style or script, so a browser
// never runs text from a pod or a policy.
type Design struct {
	Style    template.CSS
	Script   template.JS
	Security string // the Content-Security-Policy
}

// NewDesign returns the design of a style, which is added to the common style, and a script. directives are those of the
// Content-Security-Policy that are not 'none'.
func NewDesign(style, script, directives string) Design {
	style = baseStyle + style
	security := "default-src 'none'; base-uri 'none'; " + directives + "; style-src " + sourceHash(style) + "; script-src " + sourceHash(script)
	return Design{template.CSS(style), template.JS(script), security}
}

// sourceHash returns the hash source of a style or a script for a Content-Security-Policy.
func sourceHash(text string) string {
	hash := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
}

// A Document is the data of the templates "start" and "end".
type Document struct {
	Design
	Title string
	// Meta adds the Content-Security-Policy to the document, for documents that are served without a header.
	Meta bool
}

// Parse parses templates that may use the templates of this package.
func Parse(functions template.FuncMap, texts ...string) *template.Template {
	t := template.New("base").Funcs(template.FuncMap{"number": Number, "plural": english.Plural, "percent": Percent}).Funcs(functions)
	for _, text := range append([]string{baseText}, texts...) {
		template.Must(t.Parse(text))
	}
	return t
}

// A Badge is a word with a class. The class sets the color and, for grades, a mark, so that grades differ without their colors.
type Badge struct{ Class, Text string }

// GradeClass returns the class of a grade: best, fair, poor or worst, by its position in grades, which are sorted best first.
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
