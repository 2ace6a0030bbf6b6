package deploy

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/layout"
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
	t.Run("archives", func(t *testing.T) {
		for _, platform := range platforms {
			checkArchive(t, filepath.Join(dir, "image", base(platform)+".tar"), platform, version)
		}
	})
	t.Run("layout", func(t *testing.T) {
		if diff := cmp.Diff(platforms, platformsOf(t, filepath.Join(dir, "image", "oci"))); diff != "" {
			t.Errorf("platforms (-want +layout):\n%s", diff)
		}
	})
	t.Run("SBOMs", func(t *testing.T) {
		for _, platform := range platforms {
			checkSBOM(t, filepath.Join(dir, "image", base(platform)+".cdx.json"), version)
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

// checkArchive reads a docker-archive as `docker load` would.
func checkArchive(t *testing.T, path, platform, version string) {
	t.Helper()
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(path) })
	if err != nil {
		t.Error(err)
		return
	}
	if want := []string{"kube-devops:" + version}; len(manifest) != 1 || !slices.Equal(manifest[0].RepoTags, want) {
		t.Errorf("%s holds %+v, want one image %v", path, manifest, want)
	}
	image, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		t.Error(err)
		return
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Error(err)
		return
	}
	if got := config.OS + "/" + config.Architecture; got != platform || config.Config.User != "65532:65532" {
		t.Errorf("%s is of %s and runs as %q, want %s and 65532:65532", path, got, config.Config.User, platform)
	}
}

// platformsOf are those of the one index in a layout, sorted. Every image of it must be whole.
func platformsOf(t *testing.T, path string) []string {
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
		platforms = append(platforms, d.Platform.OS+"/"+d.Platform.Architecture)
		image, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := image.Layers()
		if err != nil || len(layers) != 1 {
			t.Errorf("%s has %d layers (%v), want 1", d.Digest, len(layers), err)
		}
	}
	slices.Sort(platforms)
	return platforms
}

func checkSBOM(t *testing.T, path, version string) {
	t.Helper()
	var bom struct {
		BOMFormat string `json:"bomFormat"`
		Metadata  struct {
			Component struct{ Name, Version string }
		}
		Components []struct{ Name string }
	}
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
}
