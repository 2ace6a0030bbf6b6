package policies_test

import (
	"encoding/json"
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
	"github.com/kube-devops/kube-devops/rules/schema"
)

// TestPodSchemaIsFresh compares pod.schema.json with the Go types of the API.
func TestPodSchemaIsFresh(t *testing.T) {
	golden.Compare(t, "pod.schema.json", podSchema(t))
	if policies.PodSchema() == nil {
		t.Error("there is no schema")
	}
}

func podSchema(t *testing.T) string {
	w := schemaWriter{t: t, written: make(map[string]reflect.Type), values: enumerations(t)}
	w.Schema = schema.Schema{Comment: "Generated from the Go types of k8s.io/api by: UPDATE_GOLDEN=1 go test ./policies", Types: make(map[string]*schema.Type)}
	w.Root = w.fieldType(reflect.TypeFor[corev1.Pod]())
	text, err := json.MarshalIndent(w.Schema, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

// A schemaWriter describes Go types by the JSON that they are written as.
type schemaWriter struct {
	schema.Schema
	t       *testing.T
	written map[string]reflect.Type
	values  map[string][]string // of the types that are enumerations
}

// fieldType describes a type, and adds the types that it refers to.
func (w *schemaWriter) fieldType(of reflect.Type) *schema.Type {
	switch of {
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime](), reflect.TypeFor[[]byte]():
		return &schema.Type{Type: "string"}
	case reflect.TypeFor[resource.Quantity]():
		return &schema.Type{Type: "string", Format: "quantity"}
	case reflect.TypeFor[intstr.IntOrString]():
		return &schema.Type{Format: "int-or-string"}
	case reflect.TypeFor[metav1.FieldsV1]():
		return new(schema.Type)
	}
	if of.Kind() != reflect.Pointer && (of.Implements(reflect.TypeFor[json.Marshaler]()) || reflect.PointerTo(of).Implements(reflect.TypeFor[json.Marshaler]())) {
		w.t.Fatalf("%s marshals itself: describe its JSON here", of)
	}
	switch of.Kind() {
	case reflect.Pointer:
		return w.fieldType(of.Elem())
	case reflect.Slice:
		return &schema.Type{Type: "array", Items: w.fieldType(of.Elem())}
	case reflect.Map:
		return &schema.Type{Type: "object", Values: w.fieldType(of.Elem())}
	case reflect.Bool:
		return &schema.Type{Type: "boolean"}
	case reflect.Int32, reflect.Int64:
		return &schema.Type{Type: "integer"}
	case reflect.String:
		values := w.values[of.Name()]
		if of.PkgPath() != reflect.TypeFor[corev1.Pod]().PkgPath() || len(values) == 0 {
			return &schema.Type{Type: "string"}
		}
		w.Types[of.Name()] = &schema.Type{Type: "string", Enum: values}
		return schema.Ref(of.Name())
	case reflect.Struct:
		w.structure(of)
		return schema.Ref(of.Name())
	}
	w.t.Fatalf("the JSON of %s is not known", of)
	return nil
}

func (w *schemaWriter) structure(of reflect.Type) {
	if known, ok := w.written[of.Name()]; ok {
		if known != of {
			w.t.Fatalf("%s and %s have the same name", known, of)
		}
		return
	}
	w.written[of.Name()] = of
	object := &schema.Type{Type: "object", Properties: make(map[string]*schema.Type)}
	w.fields(of, object)
	slices.Sort(object.Required)
	slices.Sort(object.Nullable)
	w.Types[of.Name()] = object
}

func (w *schemaWriter) fields(of reflect.Type, object *schema.Type) {
	for f := range of.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "" && f.Anonymous:
			w.fields(f.Type, object)
			continue
		case name == "":
			w.t.Fatalf("%s.%s has no name in JSON", of, f.Name)
		// Before Kubernetes 1.34 the metadata of a template had a null there.
		case f.Type == reflect.TypeFor[metav1.Time](), !strings.Contains(options, "omit") && hasNull(f):
			object.Nullable = append(object.Nullable, name)
		case !strings.Contains(options, "omit"):
			object.Required = append(object.Required, name)
		}
		object.Properties[name] = w.fieldType(f.Type)
	}
}

// hasNull reports whether a field may be nothing, which JSON writes as null. A pod has at least one container.
func hasNull(f reflect.StructField) bool {
	kind := f.Type.Kind()
	return (kind == reflect.Pointer || kind == reflect.Slice || kind == reflect.Map) && f.Name != "Containers"
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
