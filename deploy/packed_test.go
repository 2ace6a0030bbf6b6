package deploy

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestPacked looks at what `make image chart` leaves for a release, in the folder PACKED, of the version PACKED_VERSION.
// `make test-packed` runs all three.
func TestPacked(t *testing.T) {
	dir, version := os.Getenv("PACKED"), os.Getenv("PACKED_VERSION")
	if dir == "" || version == "" {
		t.Skip("make test-packed makes what is looked at")
	}
	platforms := []string{"linux/amd64", "linux/arm64"}
	boms := make(map[string]sbom)
	for _, platform := range platforms {
		boms[platform] = checkSBOM(t, filepath.Join(dir, "image", base(platform)+".cdx.json"), version)
	}
	t.Run("archives", func(t *testing.T) {
		for _, platform := range platforms {
			image := checkArchive(t, filepath.Join(dir, "image", base(platform)+".tar"), platform, version)
			checkLicences(t, image, boms[platform])
		}
	})
	t.Run("layout", func(t *testing.T) {
		if diff := cmp.Diff(platforms, checkLayout(t, filepath.Join(dir, "image", "oci"), boms)); diff != "" {
			t.Errorf("platforms (-want +layout):\n%s", diff)
		}
	})
	t.Run("binary", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			t.Skip("it is one for Linux")
		}
		out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "image", "linux-"+runtime.GOARCH, "kube-devops"), "version").CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte(version)) {
			t.Errorf("kube-devops version: %q (%v), want %s in it", out, err, version)
		}
	})
	t.Run("chart", func(t *testing.T) {
		packed := filepath.Join(dir, "kube-devops-"+strings.TrimPrefix(version, "v")+".tgz")
		rendered, err := helm(t.Context(), t.TempDir(), "template", "kube-devops", packed, "--set", "prometheusRule.enabled=true,dashboard.enabled=true")
		if err != nil {
			t.Fatal(err)
		}
		deployment := object(t, documents(t, rendered), "Deployment", "kube-devops")
		if image := lookup(deployment, "spec.template.spec.containers.0.image"); image != "kube-devops:"+version {
			t.Errorf("the packed chart runs %v, want kube-devops:%s", image, version)
		}
	})
}

func base(platform string) string { return "kube-devops-" + strings.ReplaceAll(platform, "/", "-") }

// checkArchive reads a docker-archive as `docker load` would. It returns the image.
func checkArchive(t *testing.T, path, platform, version string) v1.Image {
	t.Helper()
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(path) })
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"kube-devops:" + version}; len(manifest) != 1 || !slices.Equal(manifest[0].RepoTags, want) {
		t.Errorf("%s holds %+v, want one image %v", path, manifest, want)
	}
	image, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.OS + "/" + config.Architecture; got != platform || config.Config.User != "65532:65532" {
		t.Errorf("%s is of %s and runs as %q, want %s and 65532:65532", path, got, config.Config.User, platform)
	}
	return image
}

// checkLayout returns the platforms of the one index in a layout, sorted. Every image of it must be whole.
func checkLayout(t *testing.T, path string, boms map[string]sbom) []string {
	t.Helper()
	root, err := layout.ImageIndexFromPath(path)
	if err != nil {
		t.Fatal(err)
	}
	top, err := root.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(top.Manifests) != 1 || !top.Manifests[0].MediaType.IsIndex() {
		t.Fatalf("%s holds %+v, want one index", path, top.Manifests)
	}
	index, err := root.ImageIndex(top.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, d := range manifest.Manifests {
		platform := d.Platform.OS + "/" + d.Platform.Architecture
		platforms = append(platforms, platform)
		image, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := image.Layers()
		if err != nil || len(layers) != 1 {
			t.Errorf("%s has %d layers (%v), want 1", d.Digest, len(layers), err)
		}
		checkLicences(t, image, boms[platform])
	}
	slices.Sort(platforms)
	return platforms
}

// checkLicences has the file LICENSES of an image name each component of its SBOM with its version, and the number of a text
// that is there.
func checkLicences(t *testing.T, image v1.Image, bom sbom) {
	t.Helper()
	files := mutate.Extract(image)
	defer files.Close()
	archive := tar.NewReader(files)
	for {
		header, err := archive.Next()
		if err != nil {
			t.Errorf("find LICENSES in the image: %v", err)
			return
		}
		if header.Name == "LICENSES" {
			break
		}
	}
	text, err := io.ReadAll(archive)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range append(bom.Components, bom.Metadata.Component) {
		_, entry, named := strings.Cut(string(text), "\n"+c.Name+" "+c.Version+": ")
		if !named {
			t.Errorf("LICENSES does not name %s %s", c.Name, c.Version)
			continue
		}
		number := numbered.FindStringSubmatch(entry)
		if number == nil || !strings.Contains(string(text), "\nText "+number[1]+": ") {
			t.Errorf("LICENSES has no text for %s %s", c.Name, c.Version)
		}
	}
}

// numbered is the start of what LICENSES has of a module: its licences, a file, the number of its text.
var numbered = regexp.MustCompile(`^[^\n]+\n    \S+: text (\d+)\n`)

// An sbom is what is read of an SBOM.
type sbom struct {
	BOMFormat string `json:"bomFormat"`
	Metadata  struct {
		Component component
	}
	Components   []component
	Dependencies []struct {
		Ref       string
		DependsOn []string `json:"dependsOn"`
	}
}

type component struct {
	Name, Version string
	Licenses      []struct {
		License struct{ ID string }
	}
	Hashes []struct{ Alg, Content string }
}

func checkSBOM(t *testing.T, path, version string) sbom {
	t.Helper()
	var bom sbom
	if err := json.Unmarshal(content(t, path), &bom); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if c := bom.Metadata.Component; bom.BOMFormat != "CycloneDX" || c.Name != "github.com/kube-devops/kube-devops" || c.Version != version {
		t.Errorf("%s is a %s of %s %s, want CycloneDX of kube-devops %s", path, bom.BOMFormat, c.Name, c.Version, version)
	}
	var names []string
	for _, c := range bom.Components {
		names = append(names, c.Name)
	}
	for _, want := range []string{"std", "k8s.io/client-go", "github.com/tidwall/gjson"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s does not name %s, of %d components", path, want, len(names))
		}
	}
	for _, c := range append(bom.Components, bom.Metadata.Component) {
		if len(c.Licenses) == 0 || c.Licenses[0].License.ID == "" {
			t.Errorf("%s has no licence of %s %s that is known", path, c.Name, c.Version)
		}
		if len(c.Hashes) == 0 && c.Name != "std" {
			t.Errorf("%s has no hash of %s %s", path, c.Name, c.Version)
		}
	}
	if len(bom.Dependencies) != len(bom.Components)+1 {
		t.Errorf("the graph of %s has %d components, want %d", path, len(bom.Dependencies), len(bom.Components)+1)
	}
	for _, d := range bom.Dependencies {
		if strings.HasPrefix(d.Ref, "pkg:golang/k8s.io/client-go@") && len(d.DependsOn) < 2 {
			t.Errorf("%s depends on %v in %s, want more", d.Ref, d.DependsOn, path)
		}
	}
	return bom
}
