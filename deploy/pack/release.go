package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"
)

// checksums is the file with the SHA-256 of each file of a release, in the format of sha256sum.
const checksums = "checksums.txt"

// semver is what `go install` takes as the version of a module.
var semver = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// What package managers read.
var (
	//go:embed formula.rb.tmpl
	formula string
	//go:embed krew.yaml.tmpl
	krew string
)

// A Release is what the files of a release are made of.
type Release struct {
	// Dir is the folder for the files. What is there is removed.
	Dir string
	// Version is that of the binaries: v1.2.3.
	Version string
	// Source is the folder of the Go module that the binaries are built of.
	Source string
	// URL is the address of the folder from which the files will be downloaded.
	URL string
	// Time is the time of all files in archives.
	Time time.Time
	// Key is the file of the private key that signs; empty: no signature.
	Key string
	// Layout is the folder of the images, an OCI layout; empty: no images.
	Layout string
	// Extra are files that are taken over as they are, such as the packed chart.
	Extra []string
	// Completions are the scripts for shells by their names.
	Completions map[string][]byte
}

// Write packs each binary for its platform, and writes what package managers need to install them, the checksums of all files, and
// their signature. The same input gives the same bytes, but for the signature. It returns the names of the files.
func (r Release) Write(binaries []string) ([]string, error) {
	if !semver.MatchString(r.Version) {
		return nil, fmt.Errorf("version %q is not a semantic version such as v1.2.3", r.Version)
	}
	if err := os.RemoveAll(r.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return nil, err
	}
	archives := make(map[string]Archive)
	for _, path := range binaries {
		binary, err := ReadBinary(path)
		if err != nil {
			return nil, err
		}
		platform := binary.OS + "_" + binary.Arch
		if _, twice := archives[platform]; twice {
			return nil, fmt.Errorf("%s is a second binary for %s", path, platform)
		}
		if archives[platform], err = r.pack(binary, r.base(platform)); err != nil {
			return nil, fmt.Errorf("pack %s: %w", path, err)
		}
	}
	for _, path := range r.Extra {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if err := r.write(filepath.Base(path), content); err != nil {
			return nil, err
		}
	}
	if err := r.packLayout(); err != nil {
		return nil, err
	}
	if err := r.writeIndexes(archives); err != nil {
		return nil, err
	}
	return r.finish()
}

// An Archive is what package managers know of the archive of a platform.
type Archive struct {
	OS, Arch, URI, SHA256 string
	// Bin is the file of the binary in it.
	Bin string
}

// base is the name of files, without their ends.
func (r Release) base(what string) string { return repository + "_" + r.Version + "_" + what }

// pack writes the archive of a binary and its SBOM.
func (r Release) pack(binary Binary, base string) (Archive, error) {
	modules, err := ReadModules(binary, r.Version, r.Source)
	if err != nil {
		return Archive{}, err
	}
	licence, err := os.ReadFile(filepath.Join(r.Source, "LICENSE"))
	if err != nil {
		return Archive{}, err
	}
	program := file{repository, 0o755, binary.Bytes}
	files := []file{{"LICENSE", 0o644, licence}, {licencesName, 0o644, Licences(modules)}}
	for name, script := range r.Completions {
		files = append(files, file{"completions/" + name, 0o644, script})
	}
	name, archive := base+".tar.gz", r.tarball
	if binary.OS == "windows" {
		program.name += ".exe"
		name, archive = base+".zip", r.zip
	}
	files = append(files, program)
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	content, err := archive(files)
	if err != nil {
		return Archive{}, err
	}
	if err := writeSBOM(filepath.Join(r.Dir, base+".cdx.json"), binary, modules, ""); err != nil {
		return Archive{}, err
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(content))
	return Archive{binary.OS, binary.Arch, r.URL + "/" + name, sum, program.name}, r.write(name, content)
}

// packLayout writes the images as one archive, without compression because the layers have theirs.
func (r Release) packLayout() error {
	if r.Layout == "" {
		return nil
	}
	var files []file
	err := fs.WalkDir(os.DirFS(r.Layout), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(r.Layout, name))
		files = append(files, file{name, 0o644, content})
		return err
	})
	if err != nil {
		return err
	}
	content, err := r.tar(files)
	if err != nil {
		return err
	}
	return r.write(r.base("image")+".tar", content)
}

func (r Release) write(name string, content []byte) error {
	return os.WriteFile(filepath.Join(r.Dir, name), content, 0o644)
}

func (r Release) tarball(files []file) ([]byte, error) {
	content, err := r.tar(files)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(content)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

func (r Release) tar(files []file) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: r.Time, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

func (r Release) zip(files []file) ([]byte, error) {
	var b bytes.Buffer
	archive := zip.NewWriter(&b)
	for _, f := range files {
		header := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: r.Time}
		header.SetMode(os.FileMode(f.mode))
		w, err := archive.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// writeIndexes writes what package managers read: the formula of Homebrew and the manifest of krew.
func (r Release) writeIndexes(archives map[string]Archive) error {
	values := map[string]any{"Version": strings.TrimPrefix(r.Version, "v"), "Archives": archives}
	texts := map[string]string{repository + ".rb": formula, "krew.yaml": krew}
	for _, platform := range []string{"darwin_amd64", "darwin_arm64", "linux_amd64", "linux_arm64"} {
		if _, ok := archives[platform]; !ok { // a release of some platforms, for a test
			delete(texts, repository+".rb")
		}
	}
	for name, text := range texts {
		t, err := template.New(name).Option("missingkey=error").Parse(text)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, values); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := r.write(name, b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// finish writes the checksums of all files and their signature.
func (r Release) finish() ([]string, error) {
	entries, err := os.ReadDir(r.Dir)
	if err != nil {
		return nil, err
	}
	var names []string
	var list bytes.Buffer
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(r.Dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		names = append(names, entry.Name())
		_, _ = fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(content), entry.Name())
	}
	names = append(names, checksums)
	if err := r.write(checksums, list.Bytes()); err != nil || r.Key == "" {
		return names, err
	}
	signature, err := sign(r.Key, list.Bytes())
	if err != nil {
		return nil, fmt.Errorf("sign %s with %s: %w", checksums, r.Key, err)
	}
	return append(names, checksums+".sig"), r.write(checksums+".sig", signature)
}

// sign signs a text with an ECDSA key, as `cosign sign-blob --key` and `openssl dgst -sha256 -sign` do. The signature is in base64.
func sign(keyFile string, text []byte) ([]byte, error) {
	content, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errors.New("the key is not in PEM format")
	}
	var key any
	if block.Type == "EC PRIVATE KEY" {
		key, err = x509.ParseECPrivateKey(block.Bytes)
	} else {
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, err
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key is a %T; create one with: openssl ecparam -name prime256v1 -genkey -noout", key)
	}
	digest := sha256.Sum256(text)
	signature, err := private.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return []byte(base64.StdEncoding.EncodeToString(signature) + "\n"), nil
}

// shells are the names of completion scripts, as packages install them, by the shell.
var shells = map[string]string{"bash": "kube-devops.bash", "zsh": "_kube-devops", "fish": "kube-devops.fish", "powershell": "kube-devops.ps1"}

// completions asks a binary that this machine can run for its completion scripts.
func completions(program string) (map[string][]byte, error) {
	scripts := make(map[string][]byte)
	for shell, name := range shells {
		cmd := exec.Command(program, "completion", shell)
		cmd.Stderr = io.Discard
		script, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s completion %s: %w", program, shell, err)
		}
		scripts[name] = script
	}
	return scripts, nil
}
