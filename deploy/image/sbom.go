package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// BOM is what an image is made of, in CycloneDX: the binary, the modules in it, and Go's standard library. It is read from
// the binary itself, so it can name neither more nor less than was linked. It has no time and no serial number: the same
// binary has the same BOM.
func BOM(binary Binary, version, imageDigest string) *cdx.BOM {
	sum := sha256.Sum256(binary.Bytes)
	root := cdx.Component{
		BOMRef:     moduleRef(binary.Info.Main.Path, version),
		Type:       cdx.ComponentTypeApplication,
		Name:       binary.Info.Main.Path,
		Version:    version,
		PackageURL: moduleRef(binary.Info.Main.Path, version),
		Licenses:   &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
		Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
		Properties: properties(binary, imageDigest),
	}
	parts := []cdx.Component{component("std", strings.TrimPrefix(binary.Info.GoVersion, "go"), "")}
	for _, module := range binary.Info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		parts = append(parts, component(module.Path, module.Version, module.Sum))
	}
	slices.SortFunc(parts, func(a, b cdx.Component) int { return strings.Compare(a.BOMRef, b.BOMRef) })
	refs := make([]string, len(parts))
	for i, part := range parts {
		refs[i] = part.BOMRef
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &root}
	bom.Components = &parts
	bom.Dependencies = &[]cdx.Dependency{{Ref: root.BOMRef, Dependencies: &refs}}
	return bom
}

// properties are how the binary was built, and which image it is in. -ldflags is left out: the linker does not record it
// under -trimpath.
func properties(binary Binary, imageDigest string) *[]cdx.Property {
	all := []cdx.Property{
		{Name: "kube-devops:image:digest", Value: imageDigest},
		{Name: "kube-devops:go", Value: binary.Info.GoVersion},
	}
	for _, s := range binary.Info.Settings {
		if slices.Contains([]string{"CGO_ENABLED", "GOARCH", "GOOS", "GOAMD64", "GOARM64", "-trimpath", "-compiler"}, s.Key) {
			all = append(all, cdx.Property{Name: "kube-devops:build:" + s.Key, Value: s.Value})
		}
	}
	return &all
}

// component is one module. Its sum in go.sum is a hash of a list of hashes, and no hash of a file: so it is a property.
func component(path, version, sum string) cdx.Component {
	c := cdx.Component{
		BOMRef:     moduleRef(path, version),
		Type:       cdx.ComponentTypeLibrary,
		Name:       path,
		Version:    version,
		PackageURL: moduleRef(path, version),
		Scope:      cdx.ScopeRequired,
	}
	if sum != "" {
		c.Properties = &[]cdx.Property{{Name: "kube-devops:go.sum", Value: sum}}
	}
	return c
}

// moduleRef is the package URL of a module. Each part of the path is escaped by itself.
func moduleRef(path, version string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return "pkg:golang/" + strings.Join(parts, "/") + "@" + url.PathEscape(version)
}

func writeSBOM(path string, binary Binary, version, imageDigest string) error {
	var b bytes.Buffer
	encoder := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	if err := encoder.EncodeVersion(BOM(binary, version, imageDigest), cdx.SpecVersion1_6); err != nil {
		return fmt.Errorf("write the SBOM: %w", err)
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
