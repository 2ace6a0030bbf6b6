package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// A Document is a report that an agent serves at /api/v1/report, or that scan -o json writes. It may come from another machine and another version,
// so it is not trusted, and unknown keys are ignored.
type Document struct {
	Policy     PolicyName
	Scope      *Scope // nil: the whole cluster
	Incomplete []string
	Cluster    DocumentCounts
	Namespaces []DocumentNamespace
	Violations []DocumentViolation
	Waived     []DocumentViolation
	Warnings   []string
}

// A PolicyName identifies a policy table.
type PolicyName struct {
	Name string `json:"name"`
	Hash string `json:"hash"`
}

// DocumentCounts has the scores and counts of a cluster or a namespace. Scores without data are nil.
type DocumentCounts struct {
	// Count is the number of namespaces with a score. Only a cluster has it.
	Count      int            `json:"namespaces,omitempty"`
	Pods       int            `json:"pods"`
	Score      *float64       `json:"score"`
	Compliance *float64       `json:"compliance"`
	Grade      *string        `json:"grade"`
	Violations map[string]int `json:"violations"` // by check
}

// Maximum values, which no valid report reaches. They keep the sums of a fleet in the range of int, and the columns of tables narrow.
const (
	maxCount = math.MaxInt32
	maxScore = 1e12
)

// check returns an error for a number that is out of range, because it would make the numbers of a whole fleet wrong.
func (c *DocumentCounts) check() error {
	for _, score := range []struct {
		name  string
		value *float64
		most  float64
	}{{"compliance", c.Compliance, 100}, {"score", c.Score, maxScore}} {
		if score.value != nil && !(*score.value >= 0 && *score.value <= score.most) {
			return fmt.Errorf("%s is %g", score.name, *score.value)
		}
	}
	errs := []error{checkCount("namespaces", c.Count), checkCount("pods", c.Pods)}
	for _, check := range slices.Sorted(maps.Keys(c.Violations)) {
		errs = append(errs, checkCount("violations of "+head(check, 40), c.Violations[check]))
	}
	return cmp.Or(errs...)
}

func checkCount(name string, count int) error {
	if count < 0 || count > maxCount {
		return fmt.Errorf("%s is %d", name, count)
	}
	return nil
}

// A DocumentNamespace is a namespace of a report.
type DocumentNamespace struct {
	Namespace string `json:"namespace"`
	DocumentCounts
}

// A DocumentViolation is a violation of a report. A waived violation has Waiver and Expires.
type DocumentViolation struct {
	violationJSON
	Waiver  string `json:"waiver,omitempty"`
	Expires string `json:"expires,omitempty"`
}

// ReadOptions select what ReadDocument keeps. The zero value keeps no namespaces and no violations.
type ReadOptions struct {
	// Namespace reports whether to keep a namespace; nil keeps none.
	Namespace func(*DocumentNamespace) bool
	// Violations reports whether to keep the violations of a namespace; nil keeps none.
	Violations func(namespace string) bool
}

// maxToken is the maximum size of one namespace, one violation or one other member of a report, in bytes. Members that are not kept are skipped token
// by token, so that a report of any size needs little memory.
const maxToken = 1 << 20

// maxDepth is the maximum nesting depth of a skipped value.
const maxDepth = 100

var errTooLarge = fmt.Errorf("an element is larger than %d bytes", maxToken)

// ReadDocument reads one report. Data after the report is an error.
func ReadDocument(from io.Reader, o ReadOptions) (*Document, error) {
	r := &documentReader{budget: &budgetReader{from: from}, options: o}
	r.json = json.NewDecoder(r.budget)
	doc, err := r.read()
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("not a report: the JSON ends early: %w", io.ErrUnexpectedEOF)
	case err != nil:
		return nil, fmt.Errorf("not a report: %w", err)
	}
	return doc, nil
}

// A budgetReader limits the number of bytes that are read between two calls of reset.
type budgetReader struct {
	from io.Reader
	left int
}

func (b *budgetReader) reset() { b.left = maxToken }

func (b *budgetReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.from.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

type documentReader struct {
	json    *json.Decoder
	budget  *budgetReader
	options ReadOptions
}

func (r *documentReader) read() (*Document, error) {
	if err := r.delimiter('{'); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok && strings.HasPrefix(syntax.Error(), "invalid character '<'") {
			return nil, errors.New("the response is HTML; is it a login page?")
		}
		return nil, err
	}
	var doc Document
	version := 0
	seen := make(map[string]bool)
	for r.json.More() {
		token, err := r.token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string) // the name of a member is a string
		if seen[name] {
			return nil, fmt.Errorf("duplicate key %q", head(name, 40))
		}
		if len(seen) < 1000 {
			seen[name] = true
		}
		if err := r.member(name, &doc, &version); err != nil {
			return nil, fmt.Errorf("%q: %w", head(name, 40), err)
		}
	}
	if err := r.delimiter('}'); err != nil {
		return nil, err
	}
	if _, err := r.token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is data after its end")
	}
	switch {
	case version == 0 || !seen["policy"] || !seen["cluster"] || !seen["namespaces"]:
		return nil, errors.New("version, policy, cluster or namespaces is missing")
	case version != reportVersion:
		return nil, fmt.Errorf("its version is %d, this program reads version %d: upgrade it", version, reportVersion)
	}
	return &doc, nil
}

func (r *documentReader) member(name string, doc *Document, version *int) error {
	switch name {
	case "policy":
		return r.value(&doc.Policy)
	case "scope":
		return r.value(&doc.Scope)
	case "incomplete":
		return r.value(&doc.Incomplete)
	case "cluster":
		return cmp.Or(r.value(&doc.Cluster), doc.Cluster.check())
	case "warnings":
		return r.value(&doc.Warnings)
	case "version":
		return r.value(version)
	case "namespaces":
		return eachElement(r, r.options.Namespace != nil, func(ns *DocumentNamespace) error {
			if err := ns.check(); err != nil {
				return fmt.Errorf("%q: %w", head(ns.Namespace, 63), err)
			}
			if r.options.Namespace(ns) {
				doc.Namespaces = append(doc.Namespaces, *ns)
			}
			return nil
		})
	case "violations":
		return r.violations(&doc.Violations)
	case "waived":
		return r.violations(&doc.Waived)
	}
	return r.skip()
}

func (r *documentReader) violations(into *[]DocumentViolation) error {
	return eachElement(r, r.options.Violations != nil, func(v *DocumentViolation) error {
		if r.options.Violations(v.Namespace) {
			*into = append(*into, *v)
		}
		return nil
	})
}

// eachElement reads the elements of an array one by one, or skips the array.
func eachElement[T any](r *documentReader, wanted bool, each func(*T) error) error {
	if !wanted {
		return r.skip()
	}
	if err := r.delimiter('['); err != nil {
		return err
	}
	for r.json.More() {
		var element T
		if err := r.value(&element); err != nil {
			return err
		}
		if err := each(&element); err != nil {
			return err
		}
	}
	return r.delimiter(']')
}

func (r *documentReader) value(into any) error {
	r.budget.reset()
	return r.json.Decode(into)
}

func (r *documentReader) token() (json.Token, error) {
	r.budget.reset()
	return r.json.Token()
}

func (r *documentReader) delimiter(want json.Delim) error {
	token, err := r.token()
	if err == nil && token != want {
		err = fmt.Errorf("%q is missing", want.String())
	}
	return err
}

// skip reads a value without keeping it.
func (r *documentReader) skip() error {
	for depth := 0; ; {
		token, err := r.token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > maxDepth {
				return errors.New("it is nested too deeply")
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
