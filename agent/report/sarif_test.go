package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// sarifSchema is the published schema of SARIF 2.1.0, errata 01.
func sarifSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	const name = "sarif-schema-2.1.0.json"
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(name, document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// A sarifLog is what a reader of a log looks at.
type sarifLog struct {
	Runs []struct {
		Tool struct {
			Driver struct{ Rules []sarifRule }
		}
		Invocations []sarifInvocationRead
		Results     []sarifResultRead
	}
}

func sarifOf(t *testing.T, text []byte) sarifLog {
	t.Helper()
	var log sarifLog
	if err := json.Unmarshal(text, &log); err != nil {
		t.Fatal(err)
	}
	return log
}

// TestSARIFKeepsTheSchema holds the logs of all recordings, and that of hostile names, against the published schema, and
// against what a schema cannot say: each result points to its rule, and all violations are in one of them.
func TestSARIFKeepsTheSchema(t *testing.T) {
	schema := sarifSchema(t)
	logs := recorded(t)
	logs["hostile"] = func() (*Scan, Options) { return hostileScan(t), Options{} }
	logs["nothing"] = func() (*Scan, Options) { return newScan(shipped(t, "recommended")).done(), Options{Version: "v1.2.3"} }
	for name, open := range logs {
		t.Run(name, func(t *testing.T) {
			scan, o := open()
			text := printed(t, SARIF, scan, o)
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(value); err != nil {
				t.Fatalf("%.3000v", err)
			}
			run := sarifOf(t, text).Runs[0]
			if want := len(scan.Inputs.Unreadable) == 0; run.Invocations[0].ExecutionSuccessful != want {
				t.Errorf("successful: %v, want %v", !want, want)
			}
			counting, suppressed := 0, 0
			prints := make(map[string]bool)
			for _, result := range run.Results {
				rule := run.Tool.Driver.Rules[result.RuleIndex]
				if rule.ID != result.RuleID || rule.DefaultConfiguration.Level != result.Level {
					t.Errorf("the result of rule %s points to %s", result.RuleID, rule.ID)
				}
				print := result.PartialFingerprints["kubeDevopsFinding/v1"]
				if prints[print] {
					t.Errorf("two results have the fingerprint %s", print)
				}
				prints[print] = true
				if len(result.Suppressions) > 0 {
					suppressed += result.OccurrenceCount
				} else {
					counting += result.OccurrenceCount
				}
			}
			wantCounting, wantSuppressed := len(slices.Collect(scan.Snapshot.Violations())), len(slices.Collect(scan.Snapshot.Waived()))
			if counting != wantCounting || suppressed != wantSuppressed {
				t.Errorf("%d violations and %d suppressed, want %d and %d", counting, suppressed, wantCounting, wantSuppressed)
			}
		})
	}
}

// TestSARIFSchemaRefuses makes sure that the schema is in force.
func TestSARIFSchemaRefuses(t *testing.T) {
	schema := sarifSchema(t)
	scan, o := recorded(t)["bookshop"]()
	text := string(printed(t, SARIF, scan, o))
	for _, change := range [][2]string{
		{`"level":"error"`, `"level":"high"`}, {`"startLine":6`, `"startLine":0`}, {`"ruleId"`, `"rule"`}, {`"version": "2.1.0"`, `"version": "2.2"`},
		{`"kind":"external"`, `"kind":"waiver"`}, {`"executionSuccessful":true`, `"executionSuccessful":1`},
	} {
		changed := strings.Replace(text, change[0], change[1], 1)
		if changed == text {
			t.Errorf("%s is not in the log", change[0])
		}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(changed))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err == nil {
			t.Errorf("the schema takes %s", change[1])
		}
	}
}

// TestFingerprintsOutliveThePods scans the same workloads again, when their pods have other names and are more.
func TestFingerprintsOutliveThePods(t *testing.T) {
	scanOf := func(pods ...string) *Scan {
		b := newScan(shipped(t, "default"))
		for _, pod := range pods {
			object := `{"kind": "Pod", "metadata": {"namespace": "shop", "name": "` + pod + `", "labels": {"pod-template-hash": "` + pod[4:6] + `"},
				"ownerReferences": [{"kind": "ReplicaSet", "name": "web-` + pod[4:6] + `"}]}, "spec": {"containers": [{"name": "main", "image": "a:latest"}]}}`
			if err := b.add([]byte(object), "", 0); err != nil {
				t.Fatal(err)
			}
		}
		return b.done()
	}
	before := sarifOf(t, printed(t, SARIF, scanOf("web-a1-x", "web-a1-y"), Options{})).Runs[0].Results
	after := sarifOf(t, printed(t, SARIF, scanOf("web-b2-p", "web-b2-q", "web-b2-r"), Options{})).Runs[0].Results
	if len(before) != 3 || len(after) != 3 {
		t.Fatalf("%d and %d results, want 3: one for each check", len(before), len(after))
	}
	for i := range before {
		if a, b := before[i].PartialFingerprints["kubeDevopsFinding/v1"], after[i].PartialFingerprints["kubeDevopsFinding/v1"]; a != b || a == "" {
			t.Errorf("fingerprints %q and %q", a, b)
		}
		if before[i].OccurrenceCount != 2 || after[i].OccurrenceCount != 3 {
			t.Errorf("counts %d and %d, want 2 and 3", before[i].OccurrenceCount, after[i].OccurrenceCount)
		}
	}
}

// TestFileURI names files as URIs.
func TestFileURI(t *testing.T) {
	for name, want := range map[string]string{
		"deploy/web.yaml": "deploy/web.yaml", "/srv/a b.yaml": "file:///srv/a%20b.yaml",
		"a b#1?.yaml": "a%20b%231%3F.yaml", "c:odd.yaml": "./c:odd.yaml", "100%.yaml": "100%25.yaml",
	} {
		if got := fileURI(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// What the tests read of a log.
type (
	sarifMessage struct{ Text string }
	sarifRule    struct {
		ID               string
		ShortDescription sarifMessage
		Help             struct{ Text, Markdown string }
		Properties       struct {
			Severity         string
			SecuritySeverity string `json:"security-severity"`
		}
		DefaultConfiguration struct{ Level string }
	}
	sarifInvocationRead struct {
		ExecutionSuccessful        bool
		ToolExecutionNotifications []struct {
			Level   string
			Message sarifMessage
		}
	}
	sarifResultRead struct {
		RuleID              string
		RuleIndex           int
		Level               string
		Message             sarifMessage
		Locations           []sarifLocationRead
		OccurrenceCount     int
		PartialFingerprints map[string]string
		BaselineState       string
		Suppressions        []struct {
			Kind, Status, Justification string
			Properties                  map[string]string
		}
	}
	sarifLocationRead struct {
		PhysicalLocation *struct {
			ArtifactLocation struct{ URI string }
			Region           *struct{ StartLine int }
		}
		LogicalLocations []struct{ Name, FullyQualifiedName, Kind string }
	}
)
