package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// hashed says what the hashes of the SBOM are of.
const hashed = "of the application, the SHA-256 of its file; of a library, its h1 sum in go.sum in " +
	"hexadecimal: the SHA-256 of the sorted list of the SHA-256 of its files (golang.org/x/mod/sumdb/dirhash.Hash1), not of its zip file"

// BOM is what a binary is made of, in CycloneDX: the binary, the modules that have packages in it, and Go's standard library,
// each with its licences and with the modules that it imports packages of. It has no time and no serial number: the same
// binary has the same BOM.
func BOM(binary Binary, modules []Module, imageDigest string) (*cdx.BOM, error) {
	root, err := component(modules[0], cdx.ComponentTypeApplication)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(binary.Bytes)
	root.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}}
	root.Properties = properties(binary, imageDigest)
	var parts []cdx.Component
	for _, module := range modules[1:] {
		part, err := component(module, cdx.ComponentTypeLibrary)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	var graph []cdx.Dependency
	for _, module := range modules {
		graph = append(graph, cdx.Dependency{Ref: module.Ref(), Dependencies: &module.Imports})
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &root}
	bom.Components = &parts
	bom.Dependencies = &graph
	return bom, nil
}

// properties are how the binary was built, which image it is in, if any, and what its hashes and licences are of. -ldflags is left out: the linker does not record it
// under -trimpath.
func properties(binary Binary, imageDigest string) *[]cdx.Property {
	all := []cdx.Property{
		{Name: "kube-devops:go", Value: binary.Info.GoVersion},
		{Name: "kube-devops:hashes", Value: hashed},
		{Name: "kube-devops:licences", Value: "the texts are in the file " + licencesName + " beside the binary"},
	}
	if imageDigest != "" {
		all = append(all, cdx.Property{Name: "kube-devops:image:digest", Value: imageDigest})
	}
	for _, s := range binary.Info.Settings {
		if slices.Contains([]string{"CGO_ENABLED", "GOARCH", "GOOS", "GOAMD64", "GOARM64", "-trimpath", "-compiler"}, s.Key) {
			all = append(all, cdx.Property{Name: "kube-devops:build:" + s.Key, Value: s.Value})
		}
	}
	return &all
}

// component is one module.
func component(module Module, kind cdx.ComponentType) (cdx.Component, error) {
	c := cdx.Component{
		BOMRef:     module.Ref(),
		Type:       kind,
		Name:       module.Path,
		Version:    module.Version,
		PackageURL: module.Ref(),
		Licenses:   licenses(module),
	}
	if kind == cdx.ComponentTypeLibrary {
		c.Scope = cdx.ScopeRequired
	}
	if module.Sum == "" {
		return c, nil
	}
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(module.Sum, "h1:"))
	if err != nil || !strings.HasPrefix(module.Sum, "h1:") || len(sum) != sha256.Size {
		return c, fmt.Errorf("the sum %q of %s %s is not h1: and a SHA-256 in base64", module.Sum, module.Path, module.Version)
	}
	c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
	c.Properties = &[]cdx.Property{{Name: "kube-devops:go.sum", Value: module.Sum}}
	return c, nil
}

// licenses are by their identifiers in SPDX where they are known, else by the file that has their text. They are concluded:
// read from the texts, not from what the authors declare.
func licenses(module Module) *cdx.Licenses {
	ids, unknown := module.Licences()
	var all cdx.Licenses
	for _, id := range ids {
		all = append(all, cdx.LicenseChoice{License: &cdx.License{ID: id, Acknowledgement: cdx.LicenseAcknowledgementConcluded}})
	}
	for _, file := range unknown {
		name := fmt.Sprintf("%s of %s %s", file, module.Path, module.Version)
		all = append(all, cdx.LicenseChoice{License: &cdx.License{Name: name, Acknowledgement: cdx.LicenseAcknowledgementConcluded}})
	}
	return &all
}

// moduleRef is the package URL of a module. Each part of the path is escaped by itself.
func moduleRef(path, version string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return "pkg:golang/" + strings.Join(parts, "/") + "@" + url.PathEscape(version)
}

func writeSBOM(path string, binary Binary, modules []Module, imageDigest string) error {
	bom, err := BOM(binary, modules, imageDigest)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	encoder := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	if err := encoder.EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return fmt.Errorf("write the SBOM: %w", err)
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
