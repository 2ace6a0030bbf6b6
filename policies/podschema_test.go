package policies_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules/golden"
)

const podSchemaHead = `# The fields of a Pod and their types, from k8s.io/api: UPDATE_GOLDEN=1 go test ./policies writes it.
# A type, and below it its fields; ! is a field that is always there. A type of strings has its values behind it.
`

// TestPodSchemaIsFresh compares pod.schema with the Go types of the API.
func TestPodSchemaIsFresh(t *testing.T) {
	golden.Compare(t, "pod.schema", podSchemaHead+podSchema(t))
	if policies.PodSchema() == nil {
		t.Error("there is no schema")
	}
}

func podSchema(t *testing.T) string {
	s := schemaWriter{t: t, written: make(map[string]reflect.Type), texts: make(map[string]string), values: enumerations(t)}
	s.fieldType(reflect.TypeFor[corev1.Pod]())
	var b strings.Builder
	b.WriteString(s.texts["Pod"])
	delete(s.texts, "Pod")
	for _, name := range slices.Sorted(maps.Keys(s.texts)) {
		b.WriteString(s.texts[name])
	}
	return b.String()
}

// A schemaWriter describes Go types as their JSON is.
type schemaWriter struct {
	t       *testing.T
	written map[string]reflect.Type
	texts   map[string]string
	values  map[string][]string // of the types that are enumerations
}

// fieldType returns the word for a type, and describes the types that it refers to.
func (s *schemaWriter) fieldType(of reflect.Type) string {
	switch of {
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime](), reflect.TypeFor[[]byte]():
		return "string"
	case reflect.TypeFor[resource.Quantity]():
		return "quantity"
	case reflect.TypeFor[intstr.IntOrString]():
		return "intOrString"
	case reflect.TypeFor[metav1.FieldsV1]():
		return "any"
	}
	if of.Kind() != reflect.Pointer && (of.Implements(reflect.TypeFor[json.Marshaler]()) || reflect.PointerTo(of).Implements(reflect.TypeFor[json.Marshaler]())) {
		s.t.Fatalf("%s writes its JSON itself: say here what it writes", of)
	}
	switch of.Kind() {
	case reflect.Pointer:
		return s.fieldType(of.Elem())
	case reflect.Slice:
		return "[]" + s.fieldType(of.Elem())
	case reflect.Map:
		return "map[" + s.fieldType(of.Elem()) + "]"
	case reflect.Bool:
		return "boolean"
	case reflect.Int32, reflect.Int64:
		return "integer"
	case reflect.String:
		return s.text(of)
	case reflect.Struct:
		s.structure(of)
		return of.Name()
	}
	s.t.Fatalf("nothing is known of the JSON of %s", of)
	return ""
}

// text describes a type of strings, which has a name of its own where its values are known.
func (s *schemaWriter) text(of reflect.Type) string {
	values := s.values[of.Name()]
	if of.PkgPath() != reflect.TypeFor[corev1.Pod]().PkgPath() || len(values) == 0 {
		return "string"
	}
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = strconv.Quote(value)
	}
	s.texts[of.Name()] = of.Name() + " " + strings.Join(quoted, " ") + "\n"
	return of.Name()
}

func (s *schemaWriter) structure(of reflect.Type) {
	if known, ok := s.written[of.Name()]; ok {
		if known != of {
			s.t.Fatalf("%s and %s have one name", known, of)
		}
		return
	}
	s.written[of.Name()] = of
	lines := s.fields(of)
	slices.Sort(lines)
	s.texts[of.Name()] = of.Name() + "\n" + strings.Join(lines, "")
}

func (s *schemaWriter) fields(of reflect.Type) (lines []string) {
	for f := range of.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "" && f.Anonymous:
			lines = append(lines, s.fields(f.Type)...)
			continue
		case name == "":
			s.t.Fatalf("%s.%s has no name in JSON", of, f.Name)
		case !strings.Contains(options, "omit") && f.Type != reflect.TypeFor[metav1.Time]():
			name += "!"
		}
		lines = append(lines, fmt.Sprintf("  %s %s\n", name, s.fieldType(f.Type)))
	}
	return lines
}

// enumerations reads the values of the types that the source marks as enumerations, which reflection does not know.
func enumerations(t *testing.T) map[string][]string {
	folder, err := build.Import(reflect.TypeFor[corev1.Pod]().PkgPath(), ".", build.FindOnly)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(folder.Dir, "types.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	marked := make(map[string]bool)
	values := make(map[string][]string)
	for _, d := range file.Decls {
		declaration, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range declaration.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				marked[spec.Name.Name] = hasLine(declaration.Doc, "+enum") || hasLine(spec.Doc, "+enum")
			case *ast.ValueSpec:
				name, ok := spec.Type.(*ast.Ident)
				if !ok {
					continue
				}
				for _, value := range spec.Values {
					if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.STRING {
						text, err := strconv.Unquote(literal.Value)
						if err != nil {
							t.Fatal(err)
						}
						values[name.Name] = append(values[name.Name], text)
					}
				}
			}
		}
	}
	maps.DeleteFunc(values, func(name string, _ []string) bool { return !marked[name] })
	return values
}

func hasLine(comment *ast.CommentGroup, want string) bool {
	return slices.Contains(strings.Split(comment.Text(), "\n"), want)
}
