package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newKey writes an ECDSA key, in the format of openssl, and its public half.
func newKey(t *testing.T) (private, public string, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	half, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	private, public = filepath.Join(t.TempDir(), "key.pem"), filepath.Join(t.TempDir(), "key.pub")
	write(t, private, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: text})))
	write(t, public, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: half})))
	return private, public, key
}

func smallRelease(t *testing.T) (Release, []string) {
	t.Helper()
	source := smallSource(t)
	binaries := []string{small(t, source, runtime.GOARCH), small(t, source, runtime.GOARCH, "GOOS=windows")}
	return Release{Dir: filepath.Join(t.TempDir(), "release"), Version: version, Source: source, URL: "https://example.com/" + version,
		Time: time.Unix(1_700_000_000, 0), Completions: map[string][]byte{"kube-devops.bash": []byte("complete\n")}}, binaries
}

// TestReleaseIsReproducible writes a release twice: all files are the same, and none of an older release is left.
func TestReleaseIsReproducible(t *testing.T) {
	r, binaries := smallRelease(t)
	read := func() map[string]string {
		names, err := r.Write(binaries)
		if err != nil {
			t.Fatal(err)
		}
		files := make(map[string]string)
		for _, name := range names {
			text, err := os.ReadFile(filepath.Join(r.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			files[name] = string(text)
		}
		return files
	}
	first := read()
	write(t, filepath.Join(r.Dir, "kube-devops_v0.0.1_linux_amd64.tar.gz"), "old")
	if diff := cmp.Diff(first, read()); diff != "" {
		t.Errorf("a second release differs (-first +second):\n%s", diff)
	}
	base := "kube-devops_" + version + "_linux_" + runtime.GOARCH
	for _, want := range []string{base + ".tar.gz", base + ".cdx.json", "kube-devops_" + version + "_windows_" + runtime.GOARCH + ".zip", "krew.yaml", "checksums.txt"} {
		if first[want] == "" {
			t.Errorf("the release has no file %s", want)
		}
	}
	if entries, err := os.ReadDir(r.Dir); err != nil || len(entries) != len(first) {
		t.Errorf("the folder has %d files (%v), want %d", len(entries), err, len(first))
	}
}

// TestReleaseIsSigned verifies the signature with the public key, and with openssl if this machine has it.
func TestReleaseIsSigned(t *testing.T) {
	r, binaries := smallRelease(t)
	var public string
	var key *ecdsa.PrivateKey
	r.Key, public, key = newKey(t)
	if _, err := r.Write(binaries); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(r.Dir, "checksums.txt"))
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := os.ReadFile(filepath.Join(r.Dir, "checksums.txt.sig"))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(encoded)))
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(text)
	if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
		t.Error("the signature is not valid")
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		return
	}
	raw := filepath.Join(t.TempDir(), "signature")
	write(t, raw, string(signature))
	if out, err := exec.CommandContext(t.Context(), "openssl", "dgst", "-sha256", "-verify", public, "-signature", raw, filepath.Join(r.Dir, "checksums.txt")).CombinedOutput(); err != nil {
		t.Errorf("openssl: %v: %s", err, out)
	}
}

// TestReleaseErrors names what is wrong in one line.
func TestReleaseErrors(t *testing.T) {
	r, binaries := smallRelease(t)
	for _, test := range []struct {
		name, want string
		change     func(r *Release)
		binaries   []string
	}{
		{"a version that is not semantic", `version "latest" is not a semantic version such as v1.2.3`, func(r *Release) { r.Version = "latest" }, binaries},
		{"a platform twice", "is a second binary for linux_" + runtime.GOARCH, nil, []string{binaries[0], binaries[0]}},
		{"a key that does not exist", "absent.pem", func(r *Release) { r.Key = "absent.pem" }, binaries},
		{"a key that is not one", "the key is not in PEM format", func(r *Release) { r.Key = filepath.Join(r.Source, "go.mod") }, binaries},
		{"a file that does not exist", "absent.tgz", func(r *Release) { r.Extra = []string{"absent.tgz"} }, binaries},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := r
			changed.Dir = filepath.Join(t.TempDir(), "release")
			if test.change != nil {
				test.change(&changed)
			}
			_, err := changed.Write(test.binaries)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q, want one line with %q", err, test.want)
			}
		})
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	var stderr strings.Builder
	if code := run([]string{"release", "-out", t.TempDir(), "-version", version, "-url", "x", binaries[0]}, io.Discard, &stderr); code != 2 || !strings.Contains(stderr.String(), `SOURCE_DATE_EPOCH is "yesterday"`) {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}
