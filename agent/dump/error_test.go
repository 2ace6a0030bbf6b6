package dump

import (
	"archive/tar"
	"bytes"
	"errors"
	"strings"
	"testing"
)

// hint ends the errors that a better recording would not have.
const hint = "record pods with `kubectl get pods -A -o json`"

// tarOf is an archive of one file.
func tarOf(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: "pods.json", Mode: 0o600, Size: int64(len(text))})
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

type errorTest struct{ name, input, want string }

func errorTests(t testing.TB) []errorTest {
	a := pod("a")
	list := `{"kind":"List","items":[` + a + `,`
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	return []errorTest{
		// Nothing to read.
		{"empty", "", "read x.json: the input is empty: " + hint},
		{"only space", " \n\t", "read x.json: the input is empty: " + hint},
		{"empty gzip", packed(t, ""), "read x.json: the input is empty: " + hint},
		{"empty list", `{"apiVersion":"v1","items":[],"kind":"List"}`, "read x.json: no pods: " + hint},
		{"only other kinds", `{"kind":"List","items":[{"kind":"Service"},{"kind":"Node"},{"kind":"Service"}]}`, "read x.json: no pods found, only objects of other kinds (Node 1, Service 2): " + hint},
		{"many other kinds", `{"kind":"List","items":[{"kind":"A"},{"kind":"B"},{"kind":"C"},{"kind":"D"},{"kind":"E"},{"kind":"F"}]}`, "read x.json: no pods found, only objects of other kinds (A 1, B 1, C 1, D 1, E 1, ...): " + hint},
		{"only bookmarks", `{"type":"BOOKMARK","object":{"kind":"Pod"}}`, "read x.json: no pods: " + hint},
		// Not JSON.
		{"yaml without pods", "apiVersion: v1\nkind: List\nitems: []\n", "read x.json: no pods: " + hint},
		{"yaml of a pod without a name", "---\nkind: Pod\n", "read x.json: item 1, byte 4: metadata.name of the \"Pod\" is missing"},
		{"table", "NAMESPACE   NAME   READY\nshop        a      1/1\n", "read x.json: byte 0: this is the table that kubectl prints without -o: " + hint},
		{"no resources", "No resources found\n", "read x.json: byte 0: kubectl found no pods: " + hint},
		{"array", "[" + a + "]", "read x.json: byte 0: this is a JSON array, not a List: record pods with `kubectl get pods -A -o json`, or split it with `jq '.[]'`"},
		{"template", "{{- if .Values.web }}\nkind: Pod\n{{- end }}\n", "read x.json: byte 0: this is a template: render it first, for example with `helm template`"},
		{"string", `"a"`, "read x.json: item 1, byte 0: line 1: a document must be an object, got a string or number: " + hint},
		{"number", "17", "read x.json: item 1, byte 0: line 1: a document must be an object, got a string or number: " + hint},
		{"letter", "hello", "read x.json: item 1, byte 0: line 1: a document must be an object, got a string or number: " + hint},
		{"binary", "\x7fELF\x02\x01\x01", "read x.json: byte 0: this is a binary file (byte 0x7f): " + hint},
		{"NUL", "\x00\x00\x00\x00", "read x.json: byte 0: this is a binary file (byte 0x00): " + hint},
		{"beyond ASCII", "é", "read x.json: item 1, byte 0: line 1: a document must be an object, got a string or number: " + hint},
		{"UTF-16", "\xff\xfe{\x00\"\x00", "read x.json: item 1, byte 2: unexpected end of JSON: the dump is truncated; record it again"},
		{"UTF-16, big end first", "\xfe\xff\x00{", "read x.json: item 1, byte 1: unexpected end of JSON: the dump is truncated; record it again"},
		{"UTF-32", "\xff\xfe\x00\x00{\x00\x00\x00", "read x.json: byte 0: UTF-32 is not supported: convert it with `iconv -f UTF-32 -t UTF-8`"},
		{"UTF-32, big end first", "\x00\x00\xfe\xff\x00\x00\x00{", "read x.json: byte 0: UTF-32 is not supported: convert it with `iconv -f UTF-32 -t UTF-8`"},
		{"zip", "PK\x03\x04\x14\x00", "read x.json: byte 0: zip archives are not supported: extract it and scan the folder"},
		{"bzip2", "BZh91AY&SY", "read x.json: byte 0: bzip2 is not supported: decompress it with `bzip2 -dc`"},
		{"xz", "\xfd7zXZ\x00\x00\x04", "read x.json: byte 0: xz is not supported: decompress it with `xz -dc`"},
		{"tar", tarOf(t, a), "read x.json: byte 0: tar archives are not supported: extract it and scan the folder"},
		{"tar in gzip", packed(t, tarOf(t, a)), "read x.json: byte 0: tar archives are not supported: extract it and scan the folder"},
		{"zstd", "\x28\xb5\x2f\xfd\x04", "read x.json: byte 0: the zstd data is truncated: record it again"},
		{"truncated gzip", packed(t, a)[:30], "read x.json: item 1, byte 19: the gzip data is truncated: record it again"},
		{"gzip header alone", "\x1f\x8b\x08", "read x.json: the gzip data is truncated: record it again"},
		{"damaged gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\xff\xff\xff", "read x.json: byte 0: the gzip data is damaged: flate: corrupt input before offset 1"},
		{"gzip of gzip", packed(t, packed(t, a)), "read x.json: byte 0: this is a binary file (byte 0x1f): " + hint},
		// Broken JSON.
		{"truncated in a pod", list + a[:40], "read x.json: item 2, byte 134: unexpected end of JSON: the dump is truncated; record it again"},
		{"truncated in a string", list + `{"kind":"Po`, "read x.json: item 2, byte 105: unexpected end of JSON: the dump is truncated; record it again"},
		{"truncated behind a backslash", list + `{"kind":"Po\`, "read x.json: item 2, byte 106: unexpected end of JSON: the dump is truncated; record it again"},
		{"truncated behind a key", list + `{"kind"`, "read x.json: item 2, byte 101: unexpected end of JSON: the dump is truncated; record it again"},
		{"truncated behind a colon", list + `{"kind":`, "read x.json: item 2, byte 102: unexpected end of JSON: the dump is truncated; record it again"},
		{"truncated in a number", list + `{"a":1`, "read x.json: item 2, byte 100: unexpected end of JSON: the dump is truncated; record it again"},
		{"truncated between items", list, "read x.json: byte 94: unexpected end of JSON: the dump is truncated; record it again"},
		{"truncated behind the items", list + a + "]", "read x.json: byte 164: unexpected end of JSON: the dump is truncated; record it again"},
		{"truncated at the first brace", "{", "read x.json: item 1, byte 1: unexpected end of JSON: the dump is truncated; record it again"},
		{"trailing comma in items", list + `]}`, "read x.json: byte 94: invalid JSON: expected another element, got ']'"},
		{"trailing comma in an object", `{"kind":"Pod",}`, "read x.json: item 1, byte 0: metadata.name of the \"Pod\" is missing"},
		{"no comma between items", list + a + a + `]}`, "read x.json: byte 163: invalid JSON: expected a comma or ']', got '{'"},
		{"no comma between keys", `{"kind":"Pod" "metadata":{}}`, `read x.json: item 1, byte 14: invalid JSON: expected a comma or '}', got '"'`},
		{"no colon", `{"kind" "Pod"}`, `read x.json: item 1, byte 8: invalid JSON: expected a colon, got '"'`},
		{"no value", `{"kind":}`, "read x.json: item 1, byte 0: the object has no kind: " + hint},
		{"key without quotes", `{kind:"Pod"}`, "read x.json: item 1, byte 0: the object has no kind: " + hint},
		{"single quotes", `{'kind':'Pod'}`, "read x.json: item 1, byte 0: metadata.name of the \"Pod\" is missing"},
		{"bad literal", `{"kind":nul}`, "read x.json: no pods found, only objects of other kinds (nul 1): " + hint},
		{"bad number", `{"x":01}`, "read x.json: item 1, byte 0: the object has no kind: " + hint},
		{"bad escape", `{"kind":"\x"}`, "read x.json: item 1, byte 10: invalid JSON: invalid character 'x' in string escape code"},
		{"control character in a string", "{\"kind\":\"P\nod\"}", "read x.json: no pods found, only objects of other kinds (P od 1): " + hint},
		{"NUL in a string", "{\"kind\":\"P\x00od\"}", `read x.json: item 1, byte 10: invalid JSON: invalid character '\x00' in string literal`},
		{"NUL between keys", "{\"kind\":\"Pod\",\x00", `read x.json: item 1, byte 14: invalid JSON: expected a key, got '\x00'`},
		{"invalid UTF-8 in a name", "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\xff\"}}", "read x.json: item 1, byte 35: invalid UTF-8: byte 0xff"},
		{"invalid UTF-8 between keys", "{\"kind\":\"Pod\",\xff}", "read x.json: item 1, byte 14: invalid JSON: expected a key, got byte 0xff"},
		{"garbage between items", list + "\x01\x02" + a + `]}`, `read x.json: item 2, byte 94: a list item must be an object, got '\x01'`},
		{"garbage behind the list", `{"items":[` + a + `]} garbage`, "read x.json: item 2, byte 81: line 1: a document must be an object, got a string or number: " + hint},
		{"array behind the list", `{"items":[` + a + `]}[]`, "read x.json: item 2, byte 81: line 1: a document must be an object, got a list: " + hint},
		{"wrong bracket", list + `{"kind":"Pod","a":{]}]}`, "read x.json: item 2, byte 113: invalid JSON: mismatched bracket ']'"},
		{"a brace that closes an array", `{"kind":"Pod","a":[}]}`, "read x.json: item 1, byte 19: invalid JSON: mismatched bracket '}'"},
		{"a quote is missing", list + `{"kind":"Pod","spec":{"image: 7,` + "\n" + `"name":"x"}},` + a + `]}`, `read x.json: item 2, byte 126: invalid JSON: invalid character '\n' in string literal`},
		{"too deep", `{"kind":"Pod","x":` + deep + `}`, "read x.json: item 1, byte 217: nested more than 200 levels deep"},
		{"too deep in a list", list + `{"kind":"Pod","x":` + deep + `}]}`, "read x.json: item 2, byte 311: nested more than 200 levels deep"},
		// JSON is not read again as YAML for what it says: that takes seconds, and loses the place.
		{"a null first item", `{"kind":"List","items":[null,` + a + `]}`, "read x.json: item 1, byte 24: a list item must be an object, got null"},
		{"too large", list + `{"kind":"Pod","x":"` + strings.Repeat("a", maxItem) + `"}]}`, "read x.json: item 2, byte 94: the item is larger than 4 MiB, more than a pod can be"},
		{"too large by one byte", list + `{"kind":"Pod","metadata":{"name":"b"},"x":"` + strings.Repeat("a", maxItem-44) + `"}]}`, "read x.json: item 2, byte 94: the item is larger than 4 MiB, more than a pod can be"},
		{"too large on its own", `{"kind":"Pod","metadata":{"name":"b"},"x":"` + strings.Repeat("a", maxItem-44) + `"}`, "read x.json: item 1, byte 0: the item is larger than 4 MiB, more than a pod can be"},
		{"too large, for want of a quote", list + `{"kind":"Pod","x":["` + strings.Repeat("a\n", maxItem) + `"]}]}`, `read x.json: item 2, byte 115: invalid JSON: invalid character '\n' in string literal`},
		{"too many keys behind the items", `{"items":[],"` + strings.Repeat("k", 1<<16) + `":1}`, "read x.json: byte 65551: the document has too many keys for a List or a Pod: " + hint},
		{"literal in a pod", list + `{"kind":"Pod","metadata":{"name":"b"},"x":[tru]}]}`, "read x.json: item 2, byte 140: invalid JSON: invalid character ']' in literal true (expecting 'e')"},
		{"invalid UTF-8 in a pod", list + "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"b\"},\"x\":[\"\xc3\"]}]}", "read x.json: item 2, byte 138: invalid UTF-8: byte 0xc3"},
		{"a pod that swallows its neighbour", list + `{"kind":"Pod","metadata":{"name":"b"},"x":["` + "\n" + pod("c") + ",\n" + `"]}]}`, "read x.json: item 2, byte 138: invalid JSON: invalid character '\\n' in string literal"},
		// What is left out is checked all the same.
		{"broken object of another kind", list + `{"kind":"Service","x":[tru]}]}`, "read x.json: item 2, byte 120: invalid JSON: invalid character ']' in literal true (expecting 'e')"},
		{"invalid UTF-8 in another kind", list + "{\"kind\":\"Service\",\"x\":[\"\xc3\"]}]}", "read x.json: item 2, byte 118: invalid UTF-8: byte 0xc3"},
		{"broken metadata of the list, before", `{"metadata":{"x":[1,]},"items":[` + a + `]}`, "read x.json: byte 0: the list has no kind: the dump is truncated; record it again"},
		{"broken metadata of the list, behind", `{"items":[` + a + `],"metadata":{"x":[1,]}}`, "read x.json: byte 100: invalid JSON: invalid character ']' looking for beginning of value"},
		{"broken type of a list", `{"type":{"x":[1,]},"items":[` + a + `]}`, "read x.json: byte 0: the list has no kind: the dump is truncated; record it again"},
		{"broken object of a list", `{"object":{"x":[1,]},"items":[` + a + `]}`, "read x.json: byte 0: the list has no kind: the dump is truncated; record it again"},
		{"broken key of a null list", `{"kind":"List","x":{"x":[1,]},"items":null}` + a, "read x.json: byte 27: invalid JSON: invalid character ']' looking for beginning of value"},
		{"broken key of an event", `{"type":"ADDED","x":[1,],"object":` + a + `}`, "read x.json: item 1, byte 23: invalid JSON: invalid character ']' looking for beginning of value"},
		{"broken deleted pod", `{"type":"DELETED","object":{"kind":"Pod","metadata":{"name":"a"},"x":[1,]}}`, "read x.json: item 1, byte 72: invalid JSON: invalid character ']' looking for beginning of value"},
		{"broken bookmark", `{"type":"BOOKMARK","object":{"kind":"Pod","x":[1,]}}`, "read x.json: item 1, byte 49: invalid JSON: invalid character ']' looking for beginning of value"},
		{"broken error", `{"type":"ERROR","object":{"x":[1,]}}`, "read x.json: item 1, byte 33: invalid JSON: invalid character ']' looking for beginning of value"},
		// Valid JSON, and not a recording.
		{"item that is a string", list + `"a"]}`, "read x.json: item 2, byte 94: a list item must be an object, got a string"},
		{"item that is null", list + `null]}`, "read x.json: item 2, byte 94: a list item must be an object, got null"},
		{"item that is an array", list + `[` + a + `]]}`, "read x.json: item 2, byte 94: a list item must be an object, got an array"},
		{"item that is a number", list + `7]}`, "read x.json: item 2, byte 94: a list item must be an object, got a number"},
		{"item that is true", list + `true]}`, "read x.json: item 2, byte 94: a list item must be an object, got a boolean"},
		{"no kind at all", `{"a":1}`, "read x.json: item 1, byte 0: the object has no kind: " + hint},
		{"null kind", `{"kind":null}`, "read x.json: item 1, byte 0: the object has no kind: " + hint},
		{"kind is a number", `{"kind":7}`, "read x.json: item 1, byte 0: kind must be a string, got a number"},
		{"kind is an object, of an item", list + `{"kind":{}}]}`, "read x.json: item 2, byte 94: kind must be a string, got an object"},
		{"kind is an array, of a list", `{"kind":[],"items":[]}`, "read x.json: byte 0: kind must be a string, got an array"},
		{"apiVersion is a number", `{"kind":"Pod","apiVersion":1}`, "read x.json: item 1, byte 0: apiVersion must be a string, got a number"},
		{"items without a kind, in a List", list + bare("b") + `]}`, "read x.json: item 2, byte 94: the object has no kind: " + hint},
		{"items without a kind, in a List whose kind is last", `{"items":[` + a + `,` + bare("b") + `],"kind":"List"}`, "read x.json: item 2, byte 80: the object has no kind: " + hint},
		{"items without a kind, in a list without one", `{"items":[` + bare("b") + `]}`, "read x.json: item 1, byte 10: the object has no kind: " + hint},
		{"items without a kind, in a ServiceList whose kind is last", `{"items":[` + bare("b") + `],"kind":"ServiceList"}`, "read x.json: item 1, byte 10: the object has no kind, and its list is a \"ServiceList\": " + hint},
		{"a Pod with items", `{"kind":"Pod","items":[]}`, "read x.json: byte 0: the object has items, but its kind \"Pod\" is not a list: " + hint},
		{"items, and last the kind of no list", `{"items":[],"kind":"Pod"}`, "read x.json: byte 0: the object has items, but its kind \"Pod\" is not a list: " + hint},
		{"List without items", `{"kind":"List"}`, "read x.json: byte 0: the List has no items: " + hint},
		{"List whose items are an object", `{"kind":"PodList","items":{}}`, "read x.json: byte 0: items must be an array, got an object: " + hint},
		{"List in a List", list + `{"kind":"List","items":[` + a + `]}]}`, "read x.json: item 2, byte 94: the item is a nested \"List\": split it with `jq '.items[]'`"},
		{"PodList in a watch", `{"type":"ADDED","object":{"kind":"PodList","items":[` + bare("a") + `]}}`, "read x.json: item 1, byte 25: the item is a nested \"PodList\": split it with `jq '.items[]'`"},
		{"duplicate items", `{"items":[` + a + `],"items":[]}`, `read x.json: byte 89: duplicate key "items"`},
		{"duplicate kind of the document", `{"kind":"Pod","kind":"List"}`, `read x.json: item 1, byte 21: duplicate key "kind"`},
		{"duplicate key of the document, escaped", `{"x":1,"\u0078":2}`, `read x.json: item 1, byte 16: duplicate key "x"`},
		{"duplicate kind of an item", list + `{"kind":"Pod","kind":"Service"}]}`, `read x.json: item 2, byte 115: duplicate key "kind"`},
		{"duplicate metadata", list + `{"metadata":{},"metadata":{}}]}`, `read x.json: item 2, byte 120: duplicate key "metadata"`},
		{"duplicate items of an item", list + `{"items":null,"items":[]}]}`, `read x.json: item 2, byte 116: duplicate key "items"`},
		{"duplicate name", list + `{"kind":"Pod","metadata":{"name":"a","name":"b"}}]}`, `read x.json: item 2, byte 138: duplicate key "name"`},
		{"duplicate namespace", list + `{"kind":"Pod","metadata":{"namespace":"a","namespace":null}}]}`, `read x.json: item 2, byte 148: duplicate key "namespace"`},
		{"duplicate uid", list + `{"kind":"Pod","metadata":{"uid":null,"uid":"b"}}]}`, `read x.json: item 2, byte 137: duplicate key "uid"`},
		{"pod without metadata", list + `{"kind":"Pod"}]}`, "read x.json: item 2, byte 94: metadata.name of the \"Pod\" is missing"},
		{"pod with null metadata", list + `{"kind":"Pod","metadata":null}]}`, "read x.json: item 2, byte 94: metadata.name of the \"Pod\" is missing"},
		{"pod with an empty name", list + `{"kind":"Pod","metadata":{"name":""}}]}`, "read x.json: item 2, byte 94: metadata.name of the \"Pod\" is missing"},
		{"pod whose name is a number", list + `{"kind":"Pod","metadata":{"name":7}}]}`, "read x.json: item 2, byte 94: metadata.name must be a string, got a number"},
		{"pod whose namespace is a boolean", list + `{"kind":"Pod","metadata":{"name":"a","namespace":false}}]}`, "read x.json: item 2, byte 94: metadata.namespace must be a string, got a boolean"},
		{"pod whose uid is an array", list + `{"kind":"Pod","metadata":{"name":"a","uid":[]}}]}`, "read x.json: item 2, byte 94: metadata.uid must be a string, got an array"},
		// Watches.
		{"watch ends with an error", `{"type":"ADDED","object":` + a + `}` + "\n" + `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version: 5 (9)","reason":"Expired","code":410}}`, `read x.json: item 2, byte 96: the watch ended with error 410, reason "Expired", message "too old resource version: 5 (9)": record it again`},
		{"watch error with control characters", `{"type":"ERROR","object":{"message":"\u001b[2J\n` + strings.Repeat("x", 200) + `","code":500}}`, `read x.json: item 1, byte 0: the watch ended with error 500, reason "", message "\x1b[2J\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...": record it again`},
		{"watch error of an odd shape", `{"type":"ERROR","object":{"code":"x"}}`, `read x.json: item 1, byte 0: the watch ended with error 0, reason "", message "": record it again`},
		{"unknown event type", `{"type":"PATCHED","object":` + a + `}`, `read x.json: item 1, byte 0: unknown watch event type "PATCHED"`},
		{"event without a type", `{"object":` + a + `}`, "read x.json: item 1, byte 0: the watch event has no type: record it with --output-watch-events"},
		{"event whose type is null", `{"type":null,"object":` + a + `}`, "read x.json: item 1, byte 0: the watch event has no type: record it with --output-watch-events"},
		{"event without an object", `{"type":"ADDED"}`, "read x.json: item 1, byte 0: the watch event has no object: record it with --output-watch-events"},
		{"event whose object is null", `{"type":"ADDED","object":null}`, "read x.json: item 1, byte 0: the watch event has no object: record it with --output-watch-events"},
		{"event of the object has no kind", `{"type":"ADDED","object":` + bare("a") + `}`, "read x.json: item 1, byte 25: the object has no kind: " + hint},
		{"deleted pod without a name", `{"type":"DELETED","object":{"kind":"Pod"}}`, "read x.json: item 1, byte 27: metadata.name of the \"Pod\" is missing"},
	}
}

func TestReadErrors(t *testing.T) {
	for _, tt := range errorTests(t) {
		t.Run(tt.name, func(t *testing.T) {
			// The error is the same however the bytes arrive.
			for name, s := range sources(tt.input) {
				if len(tt.input) > 1<<20 && name == "byte by byte" {
					continue // it takes seconds, and "by primes" reads as oddly
				}
				_, _, err := readAll(s)
				if err == nil {
					t.Fatalf("%s: no error, want %s", name, tt.want)
				}
				if err.Error() != tt.want {
					t.Errorf("%s:\ngot  %s\nwant %s", name, err, tt.want)
				}
				if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
					t.Errorf("%s: the error is not one plain line: %q", name, err)
				}
			}
		})
	}
}
