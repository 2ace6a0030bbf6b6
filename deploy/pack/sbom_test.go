package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
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
	dir, lines := pack(t, "../..", agent)
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
	checkHashes(t, *bom.Components)
	checkGraph(t, bom)
	for _, c := range append(*bom.Components, *bom.Metadata.Component) {
		if c.Licenses == nil || slices.ContainsFunc(*c.Licenses, func(l cdx.LicenseChoice) bool { return l.License.ID == "" }) {
			t.Errorf("%s has a licence that is not known as a permissive one: %+v", c.BOMRef, c.Licenses)
		}
	}
	digest := strings.Fields(lines[0])[1]
	if !slices.Contains(*bom.Metadata.Component.Properties, cdx.Property{Name: "kube-devops:image:digest", Value: digest}) {
		t.Errorf("the SBOM does not name its image %s: %+v", digest, *bom.Metadata.Component.Properties)
	}
}

// checkHashes compares the hash of each module with its line in go.sum.
func checkHashes(t *testing.T, components []cdx.Component) {
	t.Helper()
	text, err := os.ReadFile("../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		sums[fields[0]+" "+fields[1]] = strings.TrimPrefix(fields[2], "h1:")
	}
	for _, c := range components {
		if c.Name == "std" {
			continue
		}
		sum, err := base64.StdEncoding.DecodeString(sums[c.Name+" "+c.Version])
		if err != nil || len(sum) == 0 {
			t.Errorf("go.sum has %q of %s (%v)", sum, c.BOMRef, err)
		}
		want := &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
		if diff := cmp.Diff(want, c.Hashes); diff != "" {
			t.Errorf("hashes of %s (-go.sum +SBOM):\n%s", c.BOMRef, diff)
		}
	}
}

// checkGraph has the binary depend on modules that go.mod requires directly, a library on what it imports, and every
// component in the graph, below the binary.
func checkGraph(t *testing.T, bom *cdx.BOM) {
	t.Helper()
	needs := make(map[string][]string)
	for _, d := range *bom.Dependencies {
		if _, twice := needs[d.Ref]; twice {
			t.Errorf("%s is twice in the graph", d.Ref)
		}
		needs[d.Ref] = nil
		if d.Dependencies != nil {
			needs[d.Ref] = *d.Dependencies
		}
	}
	versions := make(map[string]string)
	for _, c := range *bom.Components {
		versions[c.Name] = c.BOMRef
		if _, is := needs[c.BOMRef]; !is {
			t.Errorf("%s is not in the graph", c.BOMRef)
		}
	}
	required, err := goCommand("../..", os.Environ(), "list", "-m", "-f", "{{if not .Indirect}}pkg:golang/{{.Path}}@{{.Version}}{{end}}", "all")
	if err != nil {
		t.Fatal(err)
	}
	direct := append(strings.Fields(string(required)), versions["std"])
	root := bom.Metadata.Component.BOMRef
	for _, ref := range needs[root] {
		if !slices.Contains(direct, ref) {
			t.Errorf("the binary depends directly on %s, which go.mod does not require directly", ref)
		}
	}
	for module, want := range map[string][]string{
		"github.com/tidwall/gjson":     {"github.com/tidwall/match", "github.com/tidwall/pretty", "std"},
		"github.com/tidwall/match":     {"std"},
		"github.com/prometheus/procfs": {"golang.org/x/sys", "std"},
		"github.com/go-logr/zapr":      {"github.com/go-logr/logr", "go.uber.org/zap", "std"},
		"std":                          nil,
	} {
		var refs []string
		for _, path := range want {
			refs = append(refs, versions[path])
		}
		if diff := cmp.Diff(refs, needs[versions[module]]); diff != "" {
			t.Errorf("dependencies of %s (-want +got):\n%s", module, diff)
		}
	}
	reached := map[string]bool{root: true}
	for next := []string{root}; len(next) > 0; next = next[1:] {
		for _, ref := range needs[next[0]] {
			if !reached[ref] {
				reached[ref] = true
				next = append(next, ref)
			}
		}
	}
	if len(reached) != len(*bom.Components)+1 {
		t.Errorf("the binary reaches %d of %d components", len(reached)-1, len(*bom.Components))
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
