package lint_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/golden"
	"github.com/kube-devops/kube-devops/rules/lint"
	"github.com/kube-devops/kube-devops/rules/schema"
)

func podSchema(t *testing.T) *schema.Schema {
	t.Helper()
	pods, err := schema.Parse(readFile(t, "../../policies/pod.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	return pods
}

var newYear = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// TestWarnings compares all warnings about the tables of testdata/warnings with messages.txt beside them, which UPDATE_GOLDEN=1
// writes again.
func TestWarnings(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found no warningful tables: %v", err)
	}
	known := lint.Options{
		Pods: podSchema(t), Now: newYear, Recording: "pods.json", Accepting: map[string]bool{"used": true, "container-of-any": true},
	}
	var messages strings.Builder
	for _, file := range files {
		text := readFile(t, file)
		warnings := lint.Warnings(load(t, string(text)), filepath.Base(file), text, known)
		if len(warnings) == 0 {
			t.Errorf("%s: no warning", file)
		}
		for _, warning := range warnings {
			if warning.Line < 1 {
				t.Errorf("%s: a warning without a line: %s", file, warning)
			}
			messages.WriteString(warning.String() + "\n")
		}
	}
	golden.Compare(t, "testdata/messages.txt", messages.String())
}

// TestNoWarnings has what is valid, however seldom it is said.
func TestNoWarnings(t *testing.T) {
	tests := []struct {
		name    string
		forEach string
		leaves  []string
	}{
		{"the pod", "", []string{
			`path: apiVersion, operator: equals, value: v1`, `path: metadata.labels.app, operator: absent`, `path: metadata.labels.anything, operator: quantityGreaterThan, value: 5`,
			`path: 'metadata.labels.app\.kubernetes\.io/name', operator: in, value: [a, b]`, `path: 'metadata.annotations.kubernetes\.io/config\.mirror', operator: exists`,
			`path: metadata.labels, operator: exists`, `path: metadata.labels, operator: length, value: {min: 5}`, `path: metadata.labels.0, operator: exists`,
			`path: metadata.creationTimestamp, operator: hasPrefix, value: "2024"`, `path: metadata.deletionTimestamp, operator: exists`,
			`path: metadata.ownerReferences.#.kind, operator: equals, value: Job`, `path: metadata.ownerReferences.0.controller, operator: equals, value: true`,
			`path: metadata.managedFields.0.fieldsV1.spec, operator: exists`, `path: spec.nodeSelector.disktype, operator: equals, value: ssd`,
			`path: spec.containers, operator: length, value: {min: 2}`, `path: spec.containers.#, operator: greaterThan, value: 1`, `path: spec.containers.0.image, operator: imageTag, value: latest`,
			`path: spec.ephemeralContainers.#.targetContainerName, operator: exists`, `path: spec.volumes.#.hostPath.path, operator: hasPrefix, value: /`,
			`path: spec.volumes.#.hostPath.type, operator: equals, value: ""`, `path: spec.tolerations.#.tolerationSeconds, operator: greaterThan, value: 300`,
			`path: spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution.#.topologyKey, operator: contains, value: zone`,
			`path: spec.overhead.cpu, operator: quantityGreaterThan, value: 1`, `path: spec.securityContext.sysctls.#.name, operator: exists`,
			`path: status.phase, operator: notIn, value: [Running, Succeeded]`, `path: 'status.conditions.#(type=="Ready").status', operator: equals, value: "False"`,
			`path: 'status.containerStatuses.#(name=="app").state.waiting.reason', operator: equals, value: CrashLoopBackOff`, `path: status.containerStatuses.#.restartCount, operator: greaterThan, value: 3`,
			`path: status.qosClass, operator: equals, value: BestEffort`, `path: status.podIPs.#.ip, operator: exists`,
			`path: status.containerStatuses.#.allocatedResources.cpu, operator: quantityLessThan, value: 1`,
		}},
		{"containers", "[spec.containers, spec.initContainers, spec.ephemeralContainers]", []string{
			`path: name, operator: hasPrefix, value: istio-`, `path: image, operator: matches, value: "^[^/]+$"`, `path: command.0, operator: equals, value: sh`, `path: args.#, operator: greaterThan, value: 0`,
			`path: args, operator: contains, value: --debug`, `path: args, operator: oneOf, value: [--debug, -v]`, `path: env.#.value, operator: contains, value: password`,
			`path: 'env.#(name=="PASSWORD").value', operator: exists`, `path: ports.#.hostPort, operator: greaterThan, value: 0`, `path: ports.#.protocol, operator: equals, value: SCTP`,
			`path: resources.limits.memory, operator: quantityGreaterThan, value: 1Gi`, `path: 'resources.limits.nvidia\.com/gpu', operator: exists`, `path: resources.limits, operator: length, value: 0`,
			`path: [securityContext.runAsUser, $.spec.securityContext.runAsUser], operator: in, value: [0, 65534]`, `path: securityContext.capabilities.add, operator: oneOf, value: [SYS_ADMIN, NET_ADMIN]`,
			`path: livenessProbe.httpGet.port, operator: equals, value: 80`, `path: livenessProbe.httpGet.port, operator: equals, value: http`, `path: imagePullPolicy, operator: notEquals, value: Always`,
			`path: livenessProbe, operator: length, value: {min: 1}`, `path: $.spec.hostNetwork, operator: equals, value: true`, `path: restartPolicy, operator: notEquals, value: Always`, `path: targetContainerName, operator: exists`,
		}},
		{"native sidecars", `'spec.initContainers.#(restartPolicy=="Always")#'`, []string{`path: startupProbe.exec.command.0, operator: exists`}},
		{"ports", "spec.containers.#.ports", []string{`path: containerPort, operator: lessThan, value: 1024`, `path: hostPort, operator: exists`}},
		{"states", "[status.containerStatuses, status.initContainerStatuses]", []string{`path: lastState.terminated.exitCode, operator: equals, value: 137`, `path: ready, operator: equals, value: false`}},
	}
	known := lint.Options{Pods: podSchema(t), Now: newYear}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, leaf := range tt.leaves {
				table, text := tableText(t, tt.forEach, "{"+leaf+"}")
				for _, warning := range lint.Warnings(table, "f", text, known) {
					t.Errorf("%s: %s", leaf, warning.Msg)
				}
			}
		})
	}
}

// tableText is a table of one check, and its text.
func tableText(t *testing.T, forEach, violation string) (*rules.Table, []byte) {
	t.Helper()
	text := "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\nchecks:\n  - id: c\n    weight: 1\n    violation: " + violation + "\n"
	if forEach != "" {
		text += "    forEach: " + forEach + "\n"
	}
	return load(t, text), []byte(text)
}

// TestWarningsAboutWaivers has waivers in a file of their own.
func TestWarningsAboutWaivers(t *testing.T) {
	table, _ := tableText(t, "spec.containers", "{path: image, operator: absent}")
	text := []byte("apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers:\n  - {id: old, reason: r, expires: 2029-01-01, pod: a}\n  - {id: good, reason: r, expires: 2031-01-01, pod: a}\n")
	with, err := table.WithWaivers("waivers.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, warning := range lint.Warnings(with, "waivers.yaml", text, lint.Options{Now: newYear}) {
		got = append(got, warning.String())
	}
	if diff := cmp.Diff([]string{"waivers.yaml:4: warning: waiver old: the waiver expired at 2029-01-01 00:00 UTC: its violations count"}, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if warnings := lint.Warnings(table, "waivers.yaml", text, lint.Options{}); warnings != nil {
		t.Errorf("warnings about waivers that the table does not have: %v", warnings)
	}
	for _, broken := range []string{"", "[]", "a: [", "5"} {
		if warnings := lint.Warnings(table, "f", []byte(broken), lint.Options{}); warnings != nil {
			t.Errorf("%q: warnings about what does not load: %v", broken, warnings)
		}
	}
}

// TestWarningsWithoutSchema takes every path for possible, and looks for values that are hard to find.
func TestWarningsWithoutSchema(t *testing.T) {
	for _, violation := range []string{
		`{any: [{path: nowhere, operator: exists}, {path: $.nowhere.#, operator: greaterThan, value: 1}, {path: image, operator: lessThan, value: 0}]}`,
		`{all: [{path: v, operator: greaterThan, value: 9007199254740992}, {path: v, operator: lessThan, value: 9007199254740994}]}`,
		`{all: [{path: v, operator: greaterThan, value: 0.1}, {path: v, operator: lessThan, value: 0.2}]}`,
		`{all: [{path: v, operator: hasPrefix, value: a}, {path: v, operator: hasPrefix, value: ab}, {path: v, operator: notIn, value: [a, ab]}]}`,
		`{all: [{path: v, operator: hasSuffix, value: a}, {path: v, operator: hasSuffix, value: ba}, {path: v, operator: notIn, value: [a, ba]}]}`,
		`{all: [{path: v, operator: contains, value: a}, {not: {path: v, operator: contains, value: ab}}, {path: v, operator: notEquals, value: a}]}`,
		`{all: [{path: v, operator: quantityGreaterThan, value: 1400m}, {path: v, operator: quantityLessThan, value: 1600m}, {path: v, operator: greaterThan, value: 1}, {path: v, operator: lessThan, value: 2}]}`,
		`{all: [{path: v, operator: length, value: {min: 2}}, {path: v, operator: length, value: {max: 4}}, {not: {path: v, operator: length, value: 4}}, {not: {path: v, operator: length, value: 2}}, {path: v, operator: hasPrefix, value: a}]}`,
		`{all: [{path: v.#.x, operator: equals, value: a}, {path: v.#.x, operator: equals, value: b}, {path: v.#.x, operator: absent}]}`,
	} {
		table, text := tableText(t, "spec.containers", violation)
		warnings := lint.Warnings(table, "f", text, lint.Options{})
		if strings.Contains(violation, "operator: absent") {
			if len(warnings) != 1 { // what has values is not absent
				t.Errorf("%s: warnings %v, want one", violation, warnings)
			}
			continue
		}
		if warnings != nil {
			t.Errorf("%s: warnings %v", violation, warnings)
		}
	}
}

// TestOverlaps pairs paths over a pod that has something at all of them: where the two count one subject twice
// there is a warning.
func TestOverlaps(t *testing.T) {
	paths := []string{
		"l", "l.0.l", "l.1.l", "l.#.l", `l.#(k=="a").l`, `l.#(k=="b")#.l`, `l.#(k=="a")#`, `l.#(k=="b")#`, `l.#(n=="x")#`, `l.#(n=="y").l`,
		"l.#.l.#.l", "l.0.l.0.l", `a\.l`, "a.l", "o.0", "o.0.l", "o.#.l",
	}
	const leaf = `[{"k":"a"},{"k":"b","l":[{"k":"a"}]}]`
	pod := []byte(`{"l":[{"k":"a","n":"x","l":` + leaf + `},{"k":"b","n":"x","l":` + leaf + `},{"k":"b","n":"y","l":` + leaf + `}],
		"a.l":[{}],"a":{"l":[{}]},"o":{"0":[{"l":[{}]}]}}`)
	overlapping, apart := 0, 0
	for i, a := range paths {
		for _, b := range paths[:i] {
			forEach, err := json.Marshal([]string{a, b})
			if err != nil {
				t.Fatal(err)
			}
			text := []byte("apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\nchecks:\n" +
				"- {id: c, weight: 1, forEach: " + string(forEach) + ", violation: {path: nothing, operator: absent}}\n")
			table := load(t, string(text))
			verdict, err := table.Evaluate(pod)
			if err != nil {
				t.Fatal(err)
			}
			counted := make(map[string]bool)
			twice := ""
			for _, v := range verdict.Violations {
				if counted[v.Path] {
					twice = v.Path
				}
				counted[v.Path] = true
			}
			warnings := lint.Warnings(table, "f", text, lint.Options{})
			if twice != "" {
				if overlapping++; len(warnings) != 1 || !strings.Contains(warnings[0].Msg, "count twice") {
					t.Errorf("%s counts %s twice, and the warnings are %v", forEach, twice, warnings)
				}
			} else if len(warnings) == 0 {
				apart++
			}
		}
	}
	if overlapping < 10 || apart < 10 {
		t.Errorf("%d pairs overlap and %d do not: the test tries too few", overlapping, apart)
	}
}
