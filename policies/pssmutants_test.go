package policies_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// TestPodSecurityFindsFaults breaks each check of the tables in every way that faultsOf knows. The random pods of a short run must
// reveal each fault.
func TestPodSecurityFindsFaults(t *testing.T) {
	random := newPSSPods(t, 1) // fixed, as a fault that one pod in a thousand reveals would be missed now and then
	pods, texts := make([]*corev1.Pod, 3_000), make([][]byte, 3_000)
	for i := range pods {
		pods[i], texts[i] = random.next(t)
	}
	faults := 0
	for name, level := range pssLevels {
		for _, check := range checksIn(t, name) {
			id := field(check, "id").Value
			forbids := pssChecks(level)[id]
			if forbids == nil {
				t.Fatalf("%s: the level has no check %s", name, id)
			}
			want := make([]bool, len(pods))
			for i, pod := range pods {
				want[i] = !forbids(&pod.ObjectMeta, &pod.Spec).Allowed
			}
			faultsOf(check, func(fault string) {
				if inheritsInVain[id] && strings.Contains(fault, "entry 2 of the list: $.spec") {
					return
				}
				// To find one fault takes up to 3,000 pods, so a short run plants every fourth.
				if faults++; testing.Short() && faults%4 != 0 {
					return
				}
				if !differs(t, check, texts, want) {
					t.Errorf("%s: %s: no pod reveals the fault: %s", name, id, fault)
				}
			})
		}
	}
	t.Logf("%d faults", faults)
}

// inheritsInVain has the checks that forbid a setting of the pod whatever its containers say. They ask for it as what a container inherits,
// too, so that reports and lint see which setting counts. Without that, they answer the same.
var inheritsInVain = map[string]bool{"pss_app_armor_profile": true, "pss_se_linux_options": true, "pss_seccomp_profile_baseline": true,
	"pss_windows_host_process": true, "pss_run_as_user": true}

// checksIn returns the checks in the text of a table, without those of tables that it extends.
func checksIn(t *testing.T, table string) []*yaml.Node {
	t.Helper()
	text, ok := policies.Shipped(table)
	if !ok {
		t.Fatalf("there is no table %s", table)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	return field(document.Content[0], "checks").Content
}

// differs reports whether the check answers otherwise than wanted for one of the pods.
func differs(t *testing.T, check *yaml.Node, pods [][]byte, want []bool) bool {
	t.Helper()
	text, err := yaml.Marshal(map[string]any{"apiVersion": rules.APIVersion, "kind": rules.Kind, "metadata": map[string]string{"name": "broken"}, "checks": []*yaml.Node{check}})
	if err != nil {
		t.Fatal(err)
	}
	table, err := rules.Load("broken", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var verdict rules.Verdict
	for i, pod := range pods {
		if err := table.EvaluateInto(&verdict, pod); err != nil {
			t.Fatal(err)
		}
		if len(verdict.Violations) > 0 != want[i] {
			return true
		}
	}
	return false
}

// faultsOf breaks a check in one place after the other, and calls try with a description while it is broken.
func faultsOf(check *yaml.Node, try func(fault string)) {
	if paths := field(check, "forEach"); paths != nil && strings.HasPrefix(paths.Value, "allContainers") {
		whole := *paths
		kinds := []string{"spec.containers", "spec.initContainers", "spec.ephemeralContainers"}
		for i, kind := range kinds {
			var rest []string
			for _, other := range slices.Delete(slices.Clone(kinds), i, i+1) {
				if within := strings.TrimPrefix(whole.Value, "allContainers"); within != "" {
					other += ".#" + within
				}
				rest = append(rest, other)
			}
			if err := paths.Encode(rest); err != nil {
				panic(err)
			}
			try("without " + kind)
			*paths = whole
		}
	}
	for i := 0; i < len(check.Content); i += 2 {
		switch check.Content[i].Value {
		case "when":
			rest := check.Content
			check.Content = slices.Concat(rest[:i], rest[i+2:])
			try("without when")
			check.Content = rest
			predicateFaults(check.Content[i+1], try)
		case "violation":
			predicateFaults(check.Content[i+1], try)
		}
	}
}

// predicateFaults breaks a predicate and each predicate within it.
func predicateFaults(predicate *yaml.Node, try func(fault string)) {
	line := predicate.Line
	whole := *predicate
	*predicate = yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: "not"}, &whole}}
	try(fmt.Sprintf("line %d negated", line))
	*predicate = whole
	for i := 0; i < len(predicate.Content); i += 2 {
		key, value := predicate.Content[i], predicate.Content[i+1]
		switch key.Value {
		case "all", "any":
			renamed(key, map[string]string{"all": "any", "any": "all"}[key.Value], try)
			dropEach(value, try)
			for _, operand := range value.Content {
				predicateFaults(operand, try)
			}
		case "not":
			predicateFaults(value, try)
		case "some":
			renamed(key, "every", try)
			predicateFaults(field(value, "is"), try)
		case "path":
			dropEach(value, try)
		case "value":
			dropEach(value, try)
			otherValue(value, try)
			for i, one := range value.Content {
				if value.Kind == yaml.SequenceNode || i%2 == 1 {
					otherValue(one, try)
				}
			}
		}
	}
}

func renamed(key *yaml.Node, name string, try func(fault string)) {
	was := key.Value
	key.Value = name
	try(fmt.Sprintf("line %d: %s in place of %s", key.Line, name, was))
	key.Value = was
}

// dropEach takes one entry after the other out of a list that has several.
func dropEach(list *yaml.Node, try func(fault string)) {
	whole := list.Content
	if list.Kind != yaml.SequenceNode || len(whole) < 2 {
		return
	}
	for i, entry := range whole {
		list.Content = slices.Concat(whole[:i], whole[i+1:])
		try(fmt.Sprintf("line %d: without the entry %d of the list: %s", entry.Line, i+1, entry.Value))
	}
	list.Content = whole
}

// otherValue replaces a scalar by one near to it.
func otherValue(scalar *yaml.Node, try func(fault string)) {
	if scalar.Kind != yaml.ScalarNode || scalar.Value == "" {
		return
	}
	was := scalar.Value
	switch scalar.Tag {
	case "!!bool":
		scalar.Value = map[string]string{"true": "false", "false": "true"}[was]
	case "!!int":
		scalar.Value += "1"
	default:
		scalar.Value = "x" + was
	}
	try(fmt.Sprintf("line %d: %s in place of %s", scalar.Line, scalar.Value, was))
	scalar.Value = was
}

// field returns the value of a key of a mapping; nil when there is none.
func field(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}
