package report

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// A Baseline is the violations of an older report, as a set.
type Baseline struct {
	// Name is the file's, Policy and Hash are those of the report.
	Name, Policy, Hash string

	known map[Known]bool
}

// A Known names a violation in such a way that it is the same in the next report: by the workload, not by its pods, whose
// names and number change. An older report that does not know workloads names the pod.
type Known struct {
	Namespace string
	Workload  string // "Deployment/web"; empty where the report names the pod alone
	Pod       string // empty where the workload is named
	Check     string // the check's id
	Subject   string // the container, else the path; empty for the pod itself
}

func (k Known) compare(l Known) int {
	return cmp.Or(cmp.Compare(k.Namespace, l.Namespace), cmp.Compare(k.Workload, l.Workload), cmp.Compare(k.Pod, l.Pod),
		cmp.Compare(k.Check, l.Check), cmp.Compare(k.Subject, l.Subject))
}

// owner is the workload, or the pod where that is what is known.
func (k Known) owner() string {
	if k.Workload == "" {
		return "Pod/" + k.Pod
	}
	return k.Workload
}

// known names a violation by its workload, and by its pod.
func (s *Scan) known(v state.PodViolation) (byWorkload, byPod Known) {
	check := s.Snapshot.Table.Checks()[v.Check].ID
	subject := cmp.Or(v.Subject, v.Container, v.Path)
	return Known{Namespace: v.Namespace, Workload: originOf(v).Workload.String(), Check: check, Subject: subject},
		Known{Namespace: v.Namespace, Pod: v.Pod.Name, Check: check, Subject: subject}
}

// LoadBaseline reads a report that was printed as json, by a scan or by an agent. The error is one line that names the
// file. A report on a part of the data is refused: what it lacks would be new.
func LoadBaseline(name string, r io.Reader) (*Baseline, error) {
	b := &Baseline{Name: name, known: make(map[Known]bool)}
	d := &baselineReader{Decoder: json.NewDecoder(bufio.NewReaderSize(r, 1<<16)), into: b}
	if err := d.report(); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the file ends early")
		}
		return nil, fmt.Errorf("baseline %s: byte %d: %w; make it with: kube-devops scan -o json", printable(name), d.InputOffset(), err)
	}
	return b, nil
}

// A baselineReader reads a report violation by violation.
type baselineReader struct {
	*json.Decoder
	into *Baseline
}

func (d *baselineReader) report() error {
	if err := d.delim('{', "this is no report"); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string) // the decoder lets nothing else be a key
		if seen[key] {
			return fmt.Errorf("%q stands there twice", head(key, 40))
		}
		seen[key] = true
		if err := d.member(key); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if !seen["policy"] || !seen["violations"] {
		return errors.New("this is no report: it has no policy or no violations")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the report")
	}
	return nil
}

func (d *baselineReader) member(key string) error {
	switch key {
	case "policy":
		var policy policyJSON
		if err := d.Decode(&policy); err != nil {
			return err
		}
		d.into.Policy, d.into.Hash = policy.Name, policy.Hash
	case "incomplete":
		return errors.New("the report is on a part of the data")
	case "violations":
		return d.violations()
	default:
		var other json.RawMessage
		return d.Decode(&other)
	}
	return nil
}

func (d *baselineReader) violations() error {
	if err := d.delim('[', "violations is no list"); err != nil {
		return err
	}
	for n := 1; d.More(); n++ {
		var v violationJSON
		if err := d.Decode(&v); err != nil {
			return fmt.Errorf("violation %d: %w", n, err)
		}
		if v.Namespace == "" || v.Check == "" || v.Workload == "" && v.Pod == "" {
			return fmt.Errorf("violation %d has no namespace, no check or no pod", n)
		}
		known := Known{Namespace: v.Namespace, Workload: v.Workload, Check: v.Check, Subject: cmp.Or(v.Subject, v.Container, v.Path)}
		if v.Workload == "" {
			known.Pod = v.Pod
		}
		d.into.known[known] = true
	}
	_, err := d.Token()
	return err
}

func (d *baselineReader) delim(want json.Delim, otherwise string) error {
	token, err := d.Token()
	if err == nil && token != want {
		err = errors.New(otherwise)
	}
	return err
}

// A Baselined is what changed from a baseline to a scan.
type Baselined struct {
	Baseline *Baseline
	// New are the findings of the scan that the baseline does not have, the ones that cost most first. A finding is new as
	// a whole or not at all: another replica of a workload makes none.
	New []Finding
	// Violations counts those of the new findings.
	Violations int
	// Resolved are those of the baseline that the scan no longer has, sorted. What a waiver accepts by now is not among
	// them, nor what the scan did not look at: another namespace or check.
	Resolved []Known
	// Incomplete says that something was left out of the scan: what is resolved is not known, and Resolved is empty.
	Incomplete bool

	// known is what the baseline has of the scan, by workload: where it names pods, one of them stands for its workload.
	known map[Known]bool
}

// Against tells what changed from the baseline to the scan.
func (b *Baseline) Against(scan *Scan) *Baselined {
	d := &Baselined{Baseline: b, known: make(map[Known]bool), Incomplete: len(scan.Inputs.LeftOut) > 0}
	left := maps.Clone(b.known)
	if d.Incomplete {
		clear(left)
	}
	maps.DeleteFunc(left, func(k Known, _ bool) bool { return !scan.looksAt(k) })
	for v := range scan.Snapshot.AllViolations() {
		byWorkload, byPod := scan.known(v)
		if b.known[byWorkload] || b.known[byPod] {
			d.known[byWorkload] = true
			delete(left, byWorkload)
			delete(left, byPod)
		}
	}
	for _, found := range scan.findings(d) {
		for _, f := range found {
			if f.New {
				d.New = append(d.New, f)
				d.Violations += f.Violations
			}
		}
	}
	slices.SortFunc(d.New, compareCosts)
	d.Resolved = slices.SortedFunc(maps.Keys(left), Known.compare)
	return d
}

// looksAt says whether the scan would know of a violation.
func (s *Scan) looksAt(k Known) bool {
	if s.LooksAt != nil && !s.LooksAt(k.Namespace) {
		return false
	}
	return slices.ContainsFunc(s.Snapshot.Table.Checks(), func(c rules.Check) bool { return c.ID == k.Check })
}

// isNew tells whether the baseline lacks a violation; nothing is new where there is no baseline.
func (d *Baselined) isNew(scan *Scan, v state.PodViolation) bool {
	if d == nil {
		return false
	}
	byWorkload, _ := scan.known(v)
	return !d.known[byWorkload]
}

// otherPolicy says that the baseline was made under another policy; empty where it was not.
func (d *Baselined) otherPolicy(scan *Scan) string {
	table := scan.Snapshot.Table
	if d.Baseline.Policy == table.Name() && d.Baseline.Hash == table.Hash() {
		return ""
	}
	return "The baseline was made under another policy: " + name(d.Baseline.Policy) + ", " + plain(head(d.Baseline.Hash, len("sha256:")+12))
}

// headline is the change in one sentence.
func (d *Baselined) headline() string {
	if d.Incomplete {
		return fmt.Sprintf("Against %s: %s; what is resolved is not known, as something was left out.", name(d.Baseline.Name), counted(d.Violations, "new violation"))
	}
	return fmt.Sprintf("Against %s: %s, %s resolved.", name(d.Baseline.Name), counted(d.Violations, "new violation"), number(len(d.Resolved)))
}
