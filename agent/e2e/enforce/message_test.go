package enforce_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// A refusal is a parsed message of a policy: the violations of each check, by the names of their subjects.
type refusal struct {
	checks map[string]subjects
	more   int // checks that the message counts and does not name
}

// subjects has the names of subjects: a container (web), an object in a container (web/80/TCP), or an object in the pod (/volume). The name of the
// pod is empty.
type subjects struct {
	names []string // sorted
	more  int      // subjects that the message counts and does not name
}

var (
	lineOfCheck  = regexp.MustCompile(`(?:^|; )([a-z][a-z0-9_]*)(?: \((.*?)\))?: `)
	moreChecks   = regexp.MustCompile(`; and ([0-9]+) more$`)
	moreSubjects = regexp.MustCompile(` and ([0-9]+) more$`)
	index        = regexp.MustCompile(`\.[0-9]+(\.|$)`)
)

// parseRefusal reads a message such as "latest_tag (web, proxy): Pin the image.; naked_pod: Use a Deployment.; and 3 more".
func parseRefusal(message string) (refusal, bool) {
	r := refusal{checks: make(map[string]subjects)}
	if found := moreChecks.FindStringSubmatch(message); found != nil {
		r.more, _ = strconv.Atoi(found[1])
	}
	for _, found := range lineOfCheck.FindAllStringSubmatch(message, -1) {
		var s subjects
		if more := moreSubjects.FindStringSubmatch(found[2]); more != nil {
			s.more, _ = strconv.Atoi(more[1])
			found[2] = strings.TrimSuffix(found[2], more[0])
		}
		for name := range strings.SplitSeq(found[2], ", ") {
			s.names = append(s.names, normal(name))
		}
		slices.Sort(s.names)
		if _, twice := r.checks[found[1]]; twice {
			return r, false
		}
		r.checks[found[1]] = s
	}
	return r, len(r.checks) > 0
}

// normal removes the indexes from a name. The engine names a subject without a name by its path, and the message by the path of its list.
func normal(name string) string {
	for index.MatchString(name) {
		name = index.ReplaceAllString(name, "$1")
	}
	return name
}

// A verdict has the violations that the engine finds in an object, by check, with the names of a message.
type verdict map[string][]string

// differs describes how a refusal differs from the verdict of the engine, in both directions. It returns "" if they are equal.
func (v verdict) differs(r refusal) string {
	var found []string
	for _, check := range slices.Sorted(maps.Keys(r.checks)) {
		got, want := r.checks[check], slices.Sorted(slices.Values(v[check]))
		switch {
		case got.more == 0 && !slices.Equal(got.names, want):
			found = append(found, fmt.Sprintf("%s: the engine finds %q, the policy %q", check, want, got.names))
		case got.more > 0 && (len(want) != len(got.names)+got.more || !isSubset(got.names, want)):
			found = append(found, fmt.Sprintf("%s: the engine finds %q, the policy %q and %d more", check, want, got.names, got.more))
		}
	}
	others := 0
	for _, check := range slices.Sorted(maps.Keys(v)) {
		if _, named := r.checks[check]; !named {
			others++
			if r.more == 0 {
				found = append(found, fmt.Sprintf("%s: the engine finds %q, the policy nothing", check, v[check]))
			}
		}
	}
	if r.more > 0 && r.more != others {
		found = append(found, fmt.Sprintf("the policy finds %d more checks, the engine %d", r.more, others))
	}
	return strings.Join(found, "; ")
}

func isSubset(part, of []string) bool {
	of = slices.Clone(of)
	for _, name := range part {
		i := slices.Index(of, name)
		if i < 0 {
			return false
		}
		of = slices.Delete(of, i, i+1)
	}
	return true
}

// violationsOf parses a message that names all violations, and returns each violation as check/subject.
func violationsOf(t *testing.T, message string) (all []string) {
	t.Helper()
	r, ok := parseRefusal(message)
	if !ok || r.more != 0 {
		t.Fatalf("cannot read the message: %s", message)
	}
	for check, s := range r.checks {
		for _, name := range s.names {
			all = append(all, check+"/"+name)
		}
	}
	return all
}

// differ compares two sets of violations.
func differ(want, got []string) string {
	return cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got)))
}

// documents reads the documents of a YAML stream.
func documents(t *testing.T, stream string) (all []object) {
	t.Helper()
	for text := range strings.SplitSeq("\n"+stream, "\n---\n") {
		var o object
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		if o != nil {
			all = append(all, o)
		}
	}
	return all
}
