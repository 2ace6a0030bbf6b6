package page

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"
)

// attacks has hostile texts for the fields of a pod, a waiver or a policy.
var attacks = []string{
	`</script><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `javascript:alert(1)`, `' onmouseover='alert(1)`, `</style><style>*{display:none}`,
	`</title><script>alert(1)</script>`, "{{.Leader}}", "a\u202Egnp.exe", "a\x00b\x1b[31m\u2028c", "../../policy", "?grade=x#y", "\xff\xfe",
	strings.Repeat("long", 2500), strings.Repeat("W", 10000), "",
}

// hostile replaces all texts of a view with attacks. It keeps times, numbers and the sizes of lists.
func hostile[V any](view V) V {
	n := 0
	var replace func(v reflect.Value)
	replace = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				replace(v.Elem())
			}
		case reflect.String:
			v.SetString(attacks[n%len(attacks)])
			n++
		case reflect.Slice:
			for i := range v.Len() {
				replace(v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Field(i).CanSet() && v.Type().Field(i).Name != "Grades" {
					replace(v.Field(i))
				}
			}
		}
	}
	replace(reflect.ValueOf(view))
	return view
}

func hostileOverview() *Overview   { return hostile(overview(30, PerPage, 1)) }
func hostileNamespace() *Namespace { return hostile(namespace(20)) }

// TestHostileTexts renders views whose texts are all attacks. The document must have only the elements and handlers of the templates, no link may have
// another scheme, and no text may have characters that a viewer interprets.
func TestHostileTexts(t *testing.T) {
	for name, view := range examples() {
		t.Run(name, func(t *testing.T) {
			page := rendered(t, hostile(view))
			document, err := html.Parse(strings.NewReader(page))
			if err != nil {
				t.Fatal(err)
			}
			counts := make(map[string]int)
			for n := range document.Descendants() {
				switch n.Type {
				case html.ElementNode:
					counts[n.Data]++
					for _, a := range n.Attr {
						if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" {
							t.Errorf("<%s> has the attribute %s=%q", n.Data, a.Key, a.Val)
						}
						if a.Key == "href" && strings.HasPrefix(strings.ToLower(a.Val), "javascript:") {
							t.Errorf("the link %q", a.Val)
						}
						if i := strings.IndexFunc(a.Val, unprintable); i >= 0 && a.Key != "data-key" && a.Key != "value" {
							t.Errorf("%s=%q", a.Key, a.Val)
						}
					}
				case html.TextNode:
					if parent := n.Parent.Data; parent == "script" || parent == "style" {
						continue
					}
					if i := strings.IndexFunc(n.Data, unprintable); i >= 0 {
						t.Errorf("the text %q", n.Data)
					}
					if len(n.Data) > 2500 && n.Parent.Data != "pre" {
						t.Errorf("a text of %d bytes: %.80s", len(n.Data), n.Data)
					}
				}
			}
			if counts["script"] != 1 || counts["style"] != 1 || counts["img"] != 0 || counts["title"] != 1 {
				t.Errorf("elements: %v", counts)
			}
			if strings.Contains(page, "ZgotmplZ") {
				t.Error("a text is in a place where html/template cannot escape it")
			}
		})
	}
}

func unprintable(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// TestNamespaceLinks checks that the link of a namespace leads to the path of that namespace, for any name.
func TestNamespaceLinks(t *testing.T) {
	for _, name := range append(slices.Clone(attacks), "a/b", "a?b", "a#b", "a b", "ä", "%2e") {
		path := NamespacePath("/", name)
		if strings.ContainsAny(path, " ?#\"<>") || strings.Count(path, "/") != 2 {
			t.Errorf("%s: %s", fmt.Sprintf("%.40q", name), path)
		}
	}
}
