package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	repository = "kube-devops"
	// user is an arbitrary numeric user, so that the kubelet can verify that it is not root.
	user = "65532:65532"
	// refName is the annotation by which tools find an image in a layout.
	refName = "org.opencontainers.image.ref.name"
)

// tags is what a registry takes as one.
var tags = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// Write packs each binary, built of the module in the folder source, into dir: kube-devops-linux-ARCH.tar, a docker-archive,
// kube-devops-linux-ARCH.cdx.json, its SBOM, and the layout oci/ of all. It returns a line for each image: its platform, its
// digest, its file.
func Write(dir, version, source string, binaries []string) ([]string, error) {
	if !tags.MatchString(version) {
		return nil, fmt.Errorf("version %q cannot be the tag of an image: letters, digits, dots, dashes and underscores alone", version)
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	seen := make(map[string]string)
	var lines []string
	for _, path := range binaries {
		binary, err := ReadStatic(path)
		if err != nil {
			return nil, err
		}
		if other, twice := seen[binary.Arch]; twice {
			return nil, fmt.Errorf("%s and %s are both for %s", other, path, binary.Arch)
		}
		seen[binary.Arch] = path
		image, line, err := writeImage(dir, version, source, binary)
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", path, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: binary.Arch},
		}})
		lines = append(lines, line)
	}
	digest, err := writeLayout(filepath.Join(dir, "oci"), version, index)
	if err != nil {
		return nil, err
	}
	return append(lines, fmt.Sprintf("all %s %s", digest, filepath.Join(dir, "oci"))), nil
}

// writeImage writes the archive and the SBOM of one binary. It returns the image, and the line about it.
func writeImage(dir, version, source string, binary Binary) (v1.Image, string, error) {
	modules, err := ReadModules(binary, version, source)
	if err != nil {
		return nil, "", err
	}
	image, err := Image(binary, version, modules)
	if err != nil {
		return nil, "", err
	}
	digest, err := image.Digest()
	if err != nil {
		return nil, "", err
	}
	base := filepath.Join(dir, repository+"-linux-"+binary.Arch)
	if err := writeArchive(base+".tar", version, image); err != nil {
		return nil, "", err
	}
	if err := writeSBOM(base+".cdx.json", binary, modules, digest.String()); err != nil {
		return nil, "", err
	}
	return image, fmt.Sprintf("linux/%s %s %s.tar", binary.Arch, digest, base), nil
}

// Image is one layer, with the binary and the licences of its modules, and how to run it. It has no time: where the
// format requires one, it is the epoch.
func Image(binary Binary, version string, modules []Module) (v1.Image, error) {
	content, err := archive(file{repository, 0o555, binary.Bytes}, file{licencesName, 0o444, Licences(modules)})
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{
		Layer: layer, MediaType: types.OCILayer, History: v1.History{CreatedBy: "make image"},
	})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", binary.Arch
	config.Config = v1.Config{
		User:         user,
		WorkingDir:   "/",
		Entrypoint:   []string{"/kube-devops"},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		Labels: map[string]string{
			"org.opencontainers.image.title":       repository,
			"org.opencontainers.image.description": "Live governance scores for every namespace of a Kubernetes cluster",
			"org.opencontainers.image.version":     version,
			"org.opencontainers.image.licenses":    "Apache-2.0",
		},
	}
	return mutate.ConfigFile(image, config)
}

// A file is one of the image.
type file struct {
	name    string
	mode    int64
	content []byte
}

// archive returns the file system of the image. Its files belong to root, and are readable for all and writable for none.
func archive(files ...file) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		err := w.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Format: tar.FormatUSTAR,
		})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func writeArchive(path, version string, image v1.Image) error {
	tag, err := name.NewTag(repository+":"+version, name.WithDefaultRegistry(""))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := tarball.WriteToFile(path, tag, image); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// writeLayout writes the layout anew: what an older build left there would be in it for ever.
func writeLayout(path, version string, images v1.ImageIndex) (v1.Hash, error) {
	if err := os.RemoveAll(path); err != nil {
		return v1.Hash{}, err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return v1.Hash{}, err
	}
	digest, err := images.Digest()
	if err != nil {
		return v1.Hash{}, err
	}
	to, err := layout.Write(path, empty.Index)
	if err == nil {
		err = to.AppendIndex(images, layout.WithAnnotations(map[string]string{refName: version}))
	}
	if err != nil {
		return v1.Hash{}, fmt.Errorf("write %s: %w", path, err)
	}
	return digest, nil
}
