//go:build unix

package policies_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

const tableHead = "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\n"

// writeTable writes a table, whose text begins in line 4.
func writeTable(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(tableHead+text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const oneCheck = "checks: [{id: a, weight: 1, violation: {path: a, operator: exists}}]\n"

// TestExtendsStaysInside: whoever writes a table must not read a file outside of its repository by it, whatever the links.
func TestExtendsStaysInside(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	const outside = "the file is outside of the repository of this table, or of its folder if it is in no repository"
	writeTable(t, "secret.yaml", oneCheck)
	writeTable(t, "repo/.git/HEAD", "")
	writeTable(t, "repo/base.yaml", oneCheck)
	writeTable(t, "repo/module/.git", "") // a submodule
	writeTable(t, "repo/module/own.yaml", oneCheck)
	writeTable(t, "alone/sub/base.yaml", oneCheck)
	writeTable(t, "alone/base.yaml", oneCheck)
	writeTable(t, "alone/large.yaml", oneCheck+strings.Repeat("#", rules.MaxBytes))
	for link, to := range map[string]string{
		"repo/tables/inside.yaml": "../base.yaml", "repo/tables/outside.yaml": "../../secret.yaml", "repo/tables/folder": "../..",
		"repo/tables/absolute.yaml": "/etc/hostname", "repo/tables/loop.yaml": "loop.yaml",
		"repo/tables/absolute-inside.yaml": filepath.Join(folder, "repo/base.yaml"), "repo/tables/absolute-outside.yaml": filepath.Join(folder, "secret.yaml"),
	} {
		if err := os.MkdirAll("repo/tables", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo("repo/tables/pipe.yaml", 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ table, extends, want string }{
		{"repo/tables/t.yaml", "../base.yaml", ""},
		{"repo/tables/t.yaml", "inside.yaml", ""},
		{"repo/tables/t.yaml", "./../tables/../module/own.yaml", ""},
		{"repo/tables/t.yaml", "outside.yaml", outside},
		{"repo/tables/t.yaml", "folder/secret.yaml", outside},
		{"repo/tables/t.yaml", "folder/repo/base.yaml", outside},
		{"repo/tables/t.yaml", "absolute.yaml", outside},
		{"repo/tables/t.yaml", "absolute-outside.yaml", outside},
		{"repo/tables/t.yaml", "absolute-inside.yaml", "the symbolic link has an absolute path; make it relative, or name the file that it leads to"},
		{"repo/tables/t.yaml", "../../secret.yaml", outside},
		{"repo/tables/t.yaml", "../../repo/base.yaml", ""},
		{"repo/tables/t.yaml", "/etc/hostname.yaml", "must be relative to the folder of this table"},
		{"repo/tables/t.yaml", "a\x00.yaml", "not valid YAML: control characters are not allowed"},
		{"repo/tables/t.yaml", "a\u2028::error::.yaml", "has a character that cannot be printed"},
		{"repo/tables/t.yaml", "pipe.yaml", "is not a regular file"},
		{"repo/tables/t.yaml", "loop.yaml", "too many levels of symbolic links"},
		{"repo/tables/t.yaml", "../tables/", "is a directory, not a file"},
		{"repo/tables/t.yaml", ".yaml", "no such file or directory"},
		{"repo/module/t.yaml", "own.yaml", ""},
		{"repo/module/t.yaml", "../base.yaml", outside},
		{"alone/t.yaml", "sub/base.yaml", ""},
		{"alone/sub/t.yaml", "../base.yaml", outside},
		{"alone/t.yaml", "large.yaml", "the file is larger than 1048576 bytes"},
	} {
		writeTable(t, tt.table, "extends: ['"+tt.extends+"']\n")
		_, err := policies.Open(tt.table)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s extends %s: error %v, want %q", tt.table, tt.extends, err, tt.want)
		}
	}
}

// TestExtendsReadsEachTableOnce: a table that two others extend is merged before both, so that neither undoes what the other changed.
func TestExtendsReadsEachTableOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	writeTable(t, "t.yaml", "extends: [./a.yaml, ./b.yaml]\n")
	writeTable(t, "a.yaml", "extends: [default]\nchecks: [{id: latest_tag, weight: 11}]\n")
	writeTable(t, "b.yaml", "extends: [default]\nchecks: [{id: missing_liveness, weight: 12}]\n")
	for _, names := range [][]string{{"t.yaml"}, {"a.yaml", "b.yaml"}, {"default", "a.yaml", "./b.yaml"}} {
		table, err := policies.Open(names...)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, c := range table.Checks() {
			got += fmt.Sprintf("%s=%d ", c.ID, c.Weight)
		}
		if want := "latest_tag=11 missing_liveness=12 missing_readiness=2 "; got != want {
			t.Errorf("%v: %s, want %s", names, got, want)
		}
	}
}

// TestExtendsInOrder: an entry that an earlier one already extends would not win over it, although a later entry does elsewhere.
func TestExtendsInOrder(t *testing.T) {
	t.Chdir(t.TempDir())
	writeTable(t, "a.yaml", "extends: [default]\n")
	writeTable(t, "b.yaml", "extends: [./a.yaml]\n")
	writeTable(t, "c.yaml", "extends: [default]\n")
	for _, tt := range []struct{ extends, want string }{
		{"[./a.yaml, default]", `t.yaml:4: extends: "default" has no effect here, because a.yaml before it extends it; list it first, or remove it`},
		{"[./c.yaml, ./b.yaml, ./a.yaml]", `t.yaml:4: extends: "./a.yaml" has no effect here, because b.yaml before it extends it; list it first, or remove it`},
		{"[./b.yaml, default]", `t.yaml:4: extends: "default" has no effect here, because b.yaml before it extends it; list it first, or remove it`},
		{"[default, ./a.yaml]", ""},
		{"[default, ./a.yaml, ./b.yaml, ./c.yaml]", ""},
	} {
		writeTable(t, "t.yaml", "extends: "+tt.extends+"\n")
		if _, err := policies.Open("t.yaml"); fmt.Sprint(err) != cmp.Or(tt.want, "<nil>") {
			t.Errorf("extends %s: error %v, want %s", tt.extends, err, tt.want)
		}
	}
}

// TestExtendsInOtherWords: the field counts however YAML writes its name, in any encoding.
func TestExtendsInOtherWords(t *testing.T) {
	t.Chdir(t.TempDir())
	text := tableHead + "extends: [extended]\nchecks: [{id: latest_tag, weight: 12}]\n"
	utf16 := []byte{0xff, 0xfe}
	for _, c := range []byte(text) {
		utf16 = append(utf16, c, 0)
	}
	for name, text := range map[string][]byte{
		"escaped":  []byte(strings.Replace(text, "extends:", `"ext\u0065nds":`, 1)),
		"by hex":   []byte(strings.Replace(text, "extends:", `"ext\x65nds":`, 1)),
		"UTF-16":   utf16,
		"in UTF-8": []byte(text),
	} {
		if err := os.WriteFile("t.yaml", text, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, names := range [][]string{{"t.yaml"}, {"default", "t.yaml"}} {
			table, err := policies.Open(names...)
			if err != nil {
				t.Errorf("%s: %v: error %v", name, names, err)
			} else if len(table.Checks()) < 10 {
				t.Errorf("%s: %v: only %d checks", name, names, len(table.Checks()))
			}
		}
	}
}

// TestHash: the hash of a table is that of its bytes, or of the hashes of all texts that are read.
func TestHash(t *testing.T) {
	t.Chdir(t.TempDir())
	writeTable(t, "a.yaml", "extends: [default, ./b.yaml]\n")
	writeTable(t, "b.yaml", "checks: [{id: latest_tag, weight: 12}]\n")
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	text, _ := policies.Shipped(policies.Default)
	for _, tt := range []struct {
		names []string
		want  string
	}{
		{[]string{"default"}, hash(string(text))},
		{[]string{"a.yaml"}, hash(hash(string(text)) + hash(tableHead+"checks: [{id: latest_tag, weight: 12}]\n") + hash(tableHead+"extends: [default, ./b.yaml]\n"))},
		{[]string{"default", "b.yaml"}, hash(hash(string(text)) + hash(tableHead+"checks: [{id: latest_tag, weight: 12}]\n"))},
	} {
		table, err := policies.Open(tt.names...)
		if err != nil {
			t.Fatal(err)
		}
		if table.Hash() != tt.want {
			t.Errorf("%v: hash %s, want %s", tt.names, table.Hash(), tt.want)
		}
	}
}

// TestExtendsWithoutAFile: a table from standard input has no folder.
func TestExtendsWithoutAFile(t *testing.T) {
	sources, err := policies.ResolveText(policies.Read, "", []byte(tableHead+"extends: [default]\n"))
	if err != nil || len(sources) != 2 || !bytes.Contains(sources[0].Text, []byte("latest_tag")) {
		t.Errorf("%d sources, error %v", len(sources), err)
	}
	if sources, err = policies.ResolveText(policies.Read, "", []byte(tableHead+"extends: default\n")); err != nil || len(sources) != 2 {
		t.Errorf("one table without a list: %d sources, error %v", len(sources), err)
	}
	_, err = policies.ResolveText(policies.Read, "", []byte(tableHead+"extends: [./a.yaml]\n"))
	if want := `stdin:4: extends: "./a.yaml": a table that is not a file can extend built-in tables only`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestTablesAreBoundedTogether: eight tables of the largest size would take half a gigabyte of memory.
func TestTablesAreBoundedTogether(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"a", "b", "c"} {
		writeTable(t, name+".yaml", oneCheck+strings.Repeat("#", rules.MaxBytes*3/4))
	}
	writeTable(t, "t.yaml", "extends: [./a.yaml, ./b.yaml, ./c.yaml]\n")
	_, err := policies.Open("t.yaml")
	if want := `t.yaml:4: extends: "./c.yaml": all tables of the policy together are larger than 2097152 bytes`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestTooManyPolicies(t *testing.T) {
	t.Chdir(t.TempDir())
	var names []string
	for i := range policies.MaxTables + 1 {
		names = append(names, fmt.Sprintf("%d.yaml", i))
		writeTable(t, names[i], oneCheck)
	}
	if _, err := policies.Open(names[:policies.MaxTables]...); err != nil {
		t.Error(err)
	}
	if _, err := policies.Open(names...); err == nil || err.Error() != "policy 8.yaml is one table too many: a policy may consist of at most 8, with all that they extend" {
		t.Errorf("error %v", err)
	}
}
