package rules_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/kube-devops/kube-devops/rules"
)

// anyPod is a table with which the check of the text is all that can fail.
func anyPod(t testing.TB) *rules.Table { return tableOf(t, "", `{path: a, operator: exists}`) }

func TestEvaluateInvalidJSON(t *testing.T) {
	keys := func(n int, last string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"k%02d":0,`, i)
		}
		return "{" + b.String() + last + "}"
	}
	tests := []struct {
		name string
		pod  string
		want string
	}{
		{"nothing", ``, "unexpected end of JSON at byte 0"},
		{"spaces", " \n", "unexpected end of JSON at byte 2"},
		{"null", `null`, "a pod must be a JSON object at byte 0"},
		{"an array", ` [{}]`, "a pod must be a JSON object at byte 1"},
		{"a text", `"{}"`, "a pod must be a JSON object at byte 0"},
		{"a byte order mark", "\ufeff{}", "a pod must be a JSON object at byte 0"},
		{"YAML", "kind: Pod", "a pod must be a JSON object at byte 0"},
		{"two pods", `{}{}`, "text after the end of the pod at byte 2"},
		{"two pods in lines", "{}\n{}\n", "text after the end of the pod at byte 3"},
		{"a bracket too many", `{"a":[]}]`, "text after the end of the pod at byte 8"},
		{"NUL behind", "{}\x00", "text after the end of the pod at byte 2"},

		{"no key", `{,}`, "expected a key at byte 1"},
		{"a comma at the end", `{"a":1,}`, "expected a key at byte 7"},
		{"a comma at the end of an array", `{"a":[1,]}`, "invalid value at byte 8"},
		{"two commas", `{"a":[1,,2]}`, "invalid value at byte 8"},
		{"a comma and no element", `{"a":[,1]}`, "invalid value at byte 6"},
		{"a key without quotes", `{a:1}`, "expected a key at byte 1"},
		{"a number as a key", `{1:1}`, "expected a key at byte 1"},
		{"no colon", `{"a" 1}`, "expected a colon after the key at byte 5"},
		{"a comma for a colon", `{"a",1}`, "expected a colon after the key at byte 4"},
		{"no value", `{"a":}`, "invalid value at byte 5"},
		{"no comma", `{"a":1 "b":2}`, `found '"' instead of a comma or '}' at byte 7`},
		{"no comma in an array", `{"a":[1 2]}`, `found '2' instead of a comma or ']' at byte 8`},
		{"a wrong bracket", `{"a":[1}`, `found '}' instead of a comma or ']' at byte 7`},
		{"another wrong bracket", `{"a":{"b":1]}`, `found ']' instead of a comma or '}' at byte 11`},
		{"a comment", `{/*x*/}`, "expected a key at byte 1"},
		{"a vertical tab", "{\v}", "expected a key at byte 1"},
		{"a space that is none in JSON", "{\u00a0}", "expected a key at byte 1"},

		{"a word in capitals", `{"a":True}`, "invalid value at byte 5"},
		{"half a word", `{"a":nul}`, "invalid value at byte 5"},
		{"a word and more", `{"a":nullx}`, `found 'x' instead of a comma or '}' at byte 9`},
		{"NaN", `{"a":NaN}`, "invalid value at byte 5"},
		{"nan", `{"a":nan}`, "invalid value at byte 5"},
		{"infinity", `{"a":-Infinity}`, "invalid value at byte 5"},
		{"plus", `{"a":+1}`, "invalid value at byte 5"},
		{"minus alone", `{"a":-}`, "invalid value at byte 5"},
		{"a leading zero", `{"a":01}`, `found '1' instead of a comma or '}' at byte 6`},
		{"a leading dot", `{"a":.5}`, "invalid value at byte 5"},
		{"no digit behind the dot", `{"a":1.}`, "invalid number at byte 7"},
		{"no digit in the exponent", `{"a":1e}`, "invalid number at byte 7"},
		{"a sign and no digit in the exponent", `{"a":1E+}`, "invalid number at byte 8"},
		{"a hexadecimal number", `{"a":0x10}`, `found 'x' instead of a comma or '}' at byte 6`},
		{"a single quote", `{'a':1}`, "expected a key at byte 1"},

		{"cut behind a minus", `{"a":-`, "unexpected end of JSON at byte 6"},
		{"cut behind a dot", `{"a":1.`, "unexpected end of JSON at byte 7"},
		{"cut behind an exponent", `{"a":1e-`, "unexpected end of JSON at byte 8"},
		{"cut within a word", `{"a":fals`, "unexpected end of JSON at byte 9"},
		{"cut within an escape", `{"a":"\u00`, "unexpected end of JSON at byte 10"},
		{"cut behind a backslash", `{"a":"\`, "unexpected end of JSON at byte 7"},
		{"a line break in a text", "{\"a\":\"12345678\n\"}", "control character in a string at byte 14"},
		{"a control character in a long text", "{\"a\":\"1234567890\x1f12345\"}", "control character in a string at byte 16"},
		{"a control character in the tail of a text", "{\"a\":\"1\x1f\"}", "control character in a string at byte 7"},
		{"NUL in a text", "{\"a\":\"\x00\"}", "control character in a string at byte 6"},
		{"NUL in a key", "{\"\x00\":1}", "control character in a string at byte 2"},
		{"NUL for a value", "{\"a\":\x00}", "invalid value at byte 5"},
		{"an unknown escape", `{"a":"\x41"}`, "invalid escape in a string at byte 6"},
		{"an escaped line break", "{\"a\":\"\\\n\"}", "invalid escape in a string at byte 6"},
		{"a short escape", `{"a":"\u12"}`, "invalid escape in a string at byte 6"},
		{"an escape of no digits", `{"a":"\u12g4"}`, "invalid escape in a string at byte 6"},
		{"an escape of three digits", `{"a":"\u123g"}`, "invalid escape in a string at byte 6"},
		{"an escape that the end of the text cuts", `{"a":"\u123"}`, "invalid escape in a string at byte 6"},
		{"an unknown escape in a key", `{"\q":1}`, "invalid escape in a string at byte 2"},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", "invalid UTF-8 at byte 6"},
		{"half a letter", "{\"a\":\"\xc3\"}", "invalid UTF-8 at byte 6"},
		{"a letter that is too long", "{\"a\":\"\xc0\x80\"}", "invalid UTF-8 at byte 6"},
		{"a surrogate in UTF-8", "{\"a\":\"é\xed\xa0\x80\"}", "invalid UTF-8 at byte 8"},
		{"invalid UTF-8 behind the pod", "{} \xff", "invalid UTF-8 at byte 3"},

		{"a key twice", `{"a":1,"b":2,"a":3}`, `duplicate key "a" at byte 13`},
		{"an empty key twice", `{"":1,"":2}`, `duplicate key "" at byte 6`},
		{"a key twice deep down", `{"x":[{"a":{"b":1,"b":1}}]}`, `duplicate key "b" at byte 18`},
		{"a key twice behind an object that has it", `{"a":{"a":1},"b":{"a":1},"a":1}`, `duplicate key "a" at byte 25`},
		{"a key twice in two spellings", `{"a":1,"\u0061":2}`, `duplicate key "a" at byte 7`},
		{"a key twice in two other spellings", `{"\u002f":1,"\/":2}`, `duplicate key "/" at byte 12`},
		{"a key twice with escapes", `{"\b\f\n\r\t\"\\":1,"\u0008\u000C\u000a\u000d\u0009\u0022\u005c":2}`, `duplicate key "\b\f\n\r\t\"\\" at byte 20`},
		{"a key twice beyond the basic plane", `{"😀":1,"\ud83d\ude00":2}`, `duplicate key "😀" at byte 10`},
		{"halves of pairs are one replacement", `{"\ud83d":1,"\udeadx":2,"\ude00":3}`, "duplicate key \"\uFFFD\" at byte 24"},
		{"half a pair before another escape", `{"\ud83d\u0061":1,"\ufffda":2}`, "duplicate key \"\uFFFDa\" at byte 18"},
		{"the 49th key twice", keys(48, `"k47":1`), `duplicate key "k47" at byte 385`},
		{"the 50th key twice", keys(49, `"k00":1`), `duplicate key "k00" at byte 393`},
		{"the 51st key twice", keys(50, `"k49":1`), `duplicate key "k49" at byte 401`},
		{"the 49th key twice, later", keys(50, `"k48":1`), `duplicate key "k48" at byte 401`},
		{"one of many keys in another spelling", keys(90, `"k\u0035\u0035":1`), `duplicate key "k55" at byte 721`},
		{"a key of many in an object within", keys(60, `"x":{"k01":1,"k01":2}`), `duplicate key "k01" at byte 494`},
		{"a long key twice", `{"` + strings.Repeat("é", 100) + `":1,"` + strings.Repeat("é", 100) + `":2}`, `duplicate key "` + strings.Repeat("é", 64) + `" at byte 206`},
	}
	table := anyPod(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			verdict, err := table.Evaluate([]byte(tt.pod))
			var syntax *rules.SyntaxError
			if !errors.As(err, &syntax) || err.Error() != tt.want {
				t.Fatalf("error %v, want %s", err, tt.want)
			}
			if !strings.HasSuffix(tt.want, fmt.Sprintf(" at byte %d", syntax.Offset)) {
				t.Errorf("offset %d in the error %s", syntax.Offset, tt.want)
			}
			if len(verdict.Subjects)+len(verdict.Violations) > 0 {
				t.Errorf("there is a verdict: %v", verdict)
			}
		})
	}
}

func TestEvaluateValidJSON(t *testing.T) {
	tests := []struct {
		name string
		pod  string
	}{
		{"numbers", `{"a":[0,-0,1,-1,10,1.0,0.5,1e1,1E1,1e+1,1e-1,0e0,-0.0E-0,123456789012345678901234567890,1e400]}`},
		{"texts", `{"a":["","\"\\\/\b\f\n\r\t\u0000\uABCD\uabcd","\ud800","\ud83d\ude00","é😀\u007f` + "\x7f" + `"]}`},
		{"words", `{"a":[true,false,null]}`},
		{"empty containers", `{"a":[],"b":{},"c":[[],{}],"d":[ ],"e":{ }}`},
		{"spaces everywhere", " { \"a\" :\t[ 1 ,\n2 ] ,\r\n\"b\" : { } } "},
		{"a key again in another object", `{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}],"c":{"b":1,"c":1}}`},
		{"keys that differ in case", `{"a":1,"A":2,"á":3}`},
		{"a key that looks like an escape", `{"\\u0061":1,"a":2,"\\\\u0061":3}`},
	}
	table := anyPod(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := table.Evaluate([]byte(tt.pod)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEvaluateDepth(t *testing.T) {
	nested := func(open, end string, n int) string {
		return `{"a":` + strings.Repeat(open, n-1) + `1` + strings.Repeat(end, n-1) + `}`
	}
	tests := []struct{ name, open, end, want string }{
		{"arrays", `[`, `]`, "JSON nested deeper than 200 at byte 204"},
		{"objects", `{"a":`, `}`, "JSON nested deeper than 200 at byte 1000"},
	}
	table := anyPod(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := table.Evaluate([]byte(nested(tt.open, tt.end, rules.MaxDepth))); err != nil {
				t.Errorf("depth 200: %v", err)
			}
			for _, depth := range []int{rules.MaxDepth + 1, 100_000} {
				if _, err := table.Evaluate([]byte(nested(tt.open, tt.end, depth))); err == nil || err.Error() != tt.want {
					t.Errorf("depth %d: error %v, want %s", depth, err, tt.want)
				}
			}
		})
	}
}

// TestEvaluateTruncated cuts a pod at every byte. Half of a pod has no verdict, wherever it is cut.
func TestEvaluateTruncated(t *testing.T) {
	pod := realisticPod(t, false)
	table := defaultTable(t)
	for n := range len(pod) {
		verdict, err := table.Evaluate(pod[:n])
		var syntax *rules.SyntaxError
		if !errors.As(err, &syntax) || syntax.Offset != n || err.Error() != fmt.Sprintf("unexpected end of JSON at byte %d", n) {
			t.Fatalf("cut at byte %d: error %v", n, err)
		}
		if len(verdict.Subjects)+len(verdict.Violations) > 0 {
			t.Fatalf("cut at byte %d: there is a verdict: %v", n, verdict)
		}
	}
	if verdict := evaluateOrFail(t, table, string(pod)); len(verdict.Violations) != 6 {
		t.Errorf("violations of the whole pod: %v, want six", verdict.Violations)
	}
}

// TestEvaluateAcceptsJSON compares the check of the text with a second opinion, on JSON with some damage.
func TestEvaluateAcceptsJSON(t *testing.T) {
	table := anyPod(t)
	taken, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for range 30 {
			if text := damagedPod(r); takesWhatIsJSON(t, table, text) {
				taken++
			} else {
				refused++
			}
		}
	})
	if taken < refused/10 || refused < taken/10 {
		t.Errorf("%d texts taken and %d refused: one side is hardly tried", taken, refused)
	}
}

func FuzzJSON(f *testing.F) {
	r := newRand(3)
	for range 20 {
		f.Add(damagedPod(r))
	}
	f.Add([]byte(`{"a":1,"\u0061":2}`))
	table := anyPod(f)
	f.Fuzz(func(t *testing.T, text []byte) { takesWhatIsJSON(t, table, text) })
}

// takesWhatIsJSON fails the test where the engine's opinion of a text is not that of whatIsWrong, and returns it.
func takesWhatIsJSON(t rapid.TB, table *rules.Table, text []byte) bool {
	want := whatIsWrong(text)
	verdict, err := table.Evaluate(text)
	if (err == nil) != (want == nil) {
		t.Fatalf("error %v, second opinion %v: %q", err, want, text)
	}
	if err == nil {
		return true
	}
	var syntax *rules.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(text) {
		t.Fatalf("error %v has no place in %q", err, text)
	}
	// What is merely cut short can be made whole, and what is wrong cannot: so the two must not be mixed up.
	if cut := strings.HasPrefix(err.Error(), "unexpected end of JSON"); cut != (syntax.Offset == len(text)) && utf8.Valid(text) {
		t.Fatalf("error %v in %d bytes: %q", err, len(text), text)
	}
	if len(verdict.Subjects)+len(verdict.Violations) > 0 {
		t.Fatalf("error %v and verdict %v: %q", err, verdict, text)
	}
	return false
}

// damagedPod is a random pod; most of the time some bytes are changed, lost, duplicated or moved.
func damagedPod(r *rand.Rand) []byte {
	text := randomPod(r)
	for range r.IntN(3) {
		at := r.IntN(len(text) + 1)
		n := min(r.IntN(4)*r.IntN(4), len(text)-at)
		var patch []byte
		switch r.IntN(4) {
		case 0:
			patch = []byte(pick(r, []string{`"`, `\`, `{`, `}`, `[`, `]`, `,`, `:`, `0`, `-`, `.`, `e`, ` `, "\n", "\x00", "\xff", "é", "null", `"a":1,`, `{"a":[]}`, `\u0061`}))
		case 1:
			patch = bytes.Repeat(text[at:at+n], 2)
		case 2:
			from := r.IntN(len(text) + 1)
			patch = text[from:min(from+r.IntN(20), len(text))]
		}
		text = bytes.Join([][]byte{text[:at], patch, text[at+n:]}, nil)
		if len(text) == 0 {
			break
		}
	}
	return text
}

// whatIsWrong checks a text independently, by encoding/json and its tokens: duplicate keys and depth.
func whatIsWrong(text []byte) error {
	switch {
	case !utf8.Valid(text):
		return errors.New("invalid UTF-8")
	case !json.Valid(text):
		return errors.New("no JSON")
	case bytes.TrimLeft(text, " \t\r\n")[0] != '{':
		return errors.New("no object")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	type level struct {
		keys  map[any]bool // nil in an array
		value bool         // the next token of an object is a value
	}
	var open []*level
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if token == json.Delim(']') || token == json.Delim('}') {
			open = open[:len(open)-1]
			continue
		}
		if len(open) > 0 {
			if l := open[len(open)-1]; l.keys != nil && !l.value {
				if l.keys[token] {
					return fmt.Errorf("duplicate key %v", token)
				}
				l.keys[token], l.value = true, true
				continue
			} else {
				l.value = false
			}
		}
		switch token {
		case json.Delim('{'):
			open = append(open, &level{keys: make(map[any]bool)})
		case json.Delim('['):
			open = append(open, &level{})
		}
		if len(open) > rules.MaxDepth {
			return errors.New("too deep")
		}
	}
}
