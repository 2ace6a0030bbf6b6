package main

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestSBOM has the SBOM beside an image name exactly the modules that Go finds in the binary, and keep to the schema of its
// standard.
func TestSBOM(t *testing.T) {
	dir, lines := pack(t, agent)
	text, err := os.ReadFile(filepath.Join(dir, "kube-devops-linux-"+runtime.GOARCH+".cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	validate(t, text)

	bom := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(bom); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(agent)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")}
	for _, module := range info.Deps {
		want = append(want, "pkg:golang/"+module.Path+"@"+module.Version)
	}
	slices.Sort(want)
	var got []string
	for _, c := range *bom.Components {
		got = append(got, c.PackageURL)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
	for _, module := range []string{"k8s.io/client-go", "go.uber.org/zap", "github.com/tidwall/gjson"} {
		if !slices.ContainsFunc(got, func(purl string) bool { return strings.HasPrefix(purl, "pkg:golang/"+module+"@v") }) {
			t.Errorf("the SBOM lacks %s", module)
		}
	}
	if diff := cmp.Diff(got, *(*bom.Dependencies)[0].Dependencies); diff != "" {
		t.Errorf("dependencies of the binary (-components +dependencies):\n%s", diff)
	}
	digest := strings.Fields(lines[0])[1]
	if !slices.Contains(*bom.Metadata.Component.Properties, cdx.Property{Name: "kube-devops:image:digest", Value: digest}) {
		t.Errorf("the SBOM does not name its image %s: %+v", digest, *bom.Metadata.Component.Properties)
	}
}

// validate holds a BOM against the JSON schema that its standard ships with its Go library.
func validate(t *testing.T, bom []byte) {
	t.Helper()
	found, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(strings.TrimSpace(string(found)), "schema")
	compiler := jsonschema.NewCompiler()
	const base = "schemas:///"
	for file, name := range map[string]string{
		"bom-1.6.schema.json": "bom.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schemax.json": "jsf-0.82.schema.json",
	} {
		text, err := os.Open(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(text)
		text.Close()
		if err != nil {
			t.Fatal(err)
		}
		// Known by the name that the others refer to it by, and not by a place on the network.
		delete(document.(map[string]any), "$id")
		if err := compiler.AddResource(base+name, document); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile(base + "bom.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(bom))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("the SBOM does not keep to its schema: %v", err)
	}
	broken := document.(map[string]any)
	delete(broken, "bomFormat")
	if schema.Validate(broken) == nil {
		t.Error("the schema takes a BOM without a format: it checks nothing")
	}
}
