package lint_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules/lint"
)

// suggested is a whole predicate that a warning suggests.
var suggested = regexp.MustCompile(`\{path: .*value: [^}.]*\}|\{path: [^}]*operator: (absent|exists)\}|\{some: .*\}\}\}`)

// example is an image for which a condition on images has an answer that is hardly meant.
var example = regexp.MustCompile(`such as (\S*example\.org/\S+?)[;,]`)

const containers = "spec.containers"

// TestAdvice has violations that may be true and false, and hardly mean what they say. Each has one like it that does.
func TestAdvice(t *testing.T) {
	tests := []struct{ name, forEach, violation, want string }{
		{"a glob as a suffix", containers, `{path: image, operator: equals, value: "*:latest"}`, `write {path: image, operator: hasSuffix, value: ":latest"}`},
		{"a glob as a prefix", "", `{path: metadata.name, operator: notEquals, value: "web-*"}`, `write {path: metadata.name, operator: hasPrefix, value: "web-"}`},
		{"a glob around a text", "", `{path: metadata.labels.app, operator: in, value: [a, "*web*"]}`, `write {path: metadata.labels.app, operator: contains, value: "web"}`},
		{"a glob within a text", containers, `{path: image, operator: equals, value: "*/web:?.*"}`, `write {path: image, operator: matches, value: '^.*/web:.\..*$'}`},
		{"a glob behind a prefix", containers, `{path: image, operator: hasPrefix, value: "registry.example.com/*"}`, `"registry.example.com/*" is not a pattern there`},
		{"a line break in an expression", containers, `{path: name, operator: matches, value: "^web|d\nb"}`, "write ^(web|d b)"},
		{"a * that is one", containers, `{path: args, operator: contains, value: "* * * * *"}`, ""},
		{"a * in a variable", containers, `{path: env.#.value, operator: equals, value: "*"}`, ""},
		{"a * in an expression", containers, `{path: image, operator: matches, value: "^[^/]*$"}`, ""},

		{"a registry without a slash", containers, `{not: {path: image, operator: hasPrefix, value: registry.example.com}}`, `write "registry.example.com/", or use imageFrom`},
		{"a registry with a port", containers, `{path: image, operator: hasPrefix, value: "registry.example.com:5000"}`, `write "registry.example.com:5000/"`},
		{"a registry with a slash", containers, `{not: {path: image, operator: hasPrefix, value: registry.example.com/}}`, ""},
		{"a prefix of a repository", containers, `{not: {path: image, operator: hasPrefix, value: registry.example.com/team-}}`, ""},
		{"a prefix of a name", containers, `{path: name, operator: hasPrefix, value: registry.example.com}`, ""},
		{"a prefix that is not a registry", containers, `{path: image, operator: hasPrefix, value: nginx}`, ""},
		{"a registry anywhere", containers, `{not: {path: image, operator: contains, value: registry.example.com/}}`, "use hasPrefix or imageFrom"},
		{"a repository anywhere", containers, `{path: image, operator: contains, value: /debug/}`, ""},

		{"an expression that is not bound", containers, `{not: {path: image, operator: matches, value: 'registry\.example\.com/'}}`, "such as example.org/registry.example.com/a; begin it with ^"},
		{"an alternative that is bound", containers, `{not: {path: image, operator: matches, value: '(^|/)registry\.example\.com/'}}`, ""},
		{"an expression that is bound", containers, `{not: {path: image, operator: matches, value: '^registry\.example\.com/'}}`, ""},
		{"a dot for any character", containers, `{not: {path: image, operator: matches, value: "^registry.example.com/"}}`, `a dot matches any character; write registry\.example\.com`},
		{"a dot in a group", containers, `{not: {path: image, operator: matches, value: '^(quay\.io|registry.example.com)/'}}`, `write registry\.example\.com`},
		{"a dot in brackets", containers, `{not: {path: image, operator: matches, value: '^[a-z.]+/'}}`, ""},
		{"a tag", containers, `{path: image, operator: matches, value: ':v[0-9]+.[0-9]+'}`, ""},

		{"^ of one alternative", containers, `{path: image, operator: matches, value: "^a/|b/"}`, "^ belongs to the first alternative only; write ^(a/|b/)"},
		{"$ of one alternative", containers, `{path: image, operator: matches, value: ":latest|:main$"}`, "$ belongs to the last alternative only; write (:latest|:main)$"},
		{"^ and $ of one alternative each", containers, `{path: name, operator: matches, value: "^web|db$"}`, "write ^(web|db)$"},
		{"^ of all alternatives", containers, `{path: name, operator: matches, value: "^(web|db)$"}`, ""},
		{"each alternative has its own", containers, `{path: name, operator: matches, value: "^web|^db$"}`, ""},
		{"parentheses", containers, `{path: name, operator: matches, value: "(^web)|(db$)"}`, ""},
		{"the same text at both ends", containers, `{path: image, operator: matches, value: "^-|-$"}`, ""},
		{"empty or not", containers, `{path: image, operator: matches, value: "^$|web"}`, ""},
		{"a | in brackets", containers, `{path: image, operator: matches, value: "^[a|b]$"}`, ""},

		{"thousandths of a byte", containers, `{path: resources.limits.memory, operator: quantityGreaterThan, value: 512m}`, "512m is 512 thousandths of a byte; write 512Mi"},
		{"bytes", containers, `{path: resources.limits.memory, operator: quantityLessThan, value: 64}`, "64 is a number of bytes; write 64Mi"},
		{"no bytes", containers, `{path: resources.limits.memory, operator: quantityLessThan, value: 1}`, ""},
		{"mebibytes", containers, `{path: resources.limits.memory, operator: quantityGreaterThan, value: 512Mi}`, ""},
		{"thousandths of a CPU", containers, `{path: resources.limits.cpu, operator: quantityGreaterThan, value: 512m}`, ""},
		{"a quantity as text", containers, `{path: resources.limits.memory, operator: equals, value: 1Gi}`, "use quantityEquals"},
		{"two quantities as text", containers, `{path: resources.limits.memory, operator: notEquals, valueFrom: resources.requests.memory}`, "use quantityEquals"},
		{"two quantities", containers, `{not: {path: resources.limits.memory, operator: quantityEquals, valueFrom: resources.requests.memory}}`, ""},
		{"two kinds of quantities", containers, `{path: resources.limits.cpu, operator: quantityGreaterThan, valueFrom: resources.requests.memory}`, "it compares bytes with CPUs"},
		{"a quantity as a number", containers, `{path: resources.limits.memory, operator: greaterThan, value: 1}`, "use quantityGreaterThan"},

		{"the empty string in a list", "", `{path: spec.serviceAccountName, operator: in, value: [default, ""]}`, "write any with {path: spec.serviceAccountName, operator: absent}"},
		{"the empty string", "", `{path: spec.nodeName, operator: equals, value: ""}`, "write {path: spec.nodeName, operator: absent}"},
		{"not the empty string", "", `{path: spec.nodeName, operator: notEquals, value: ""}`, "write {path: spec.nodeName, operator: exists}"},
		{"not in a list with the empty string", "", `{path: spec.serviceAccountName, operator: notIn, value: [app, ""]}`, "write all with {path: spec.serviceAccountName, operator: exists}"},
		{"the empty string or absent", "", `{any: [{path: spec.serviceAccountName, operator: in, value: [default, ""]}, {path: spec.serviceAccountName, operator: absent}]}`, ""},
		{"an empty label", "", `{path: metadata.labels.team, operator: in, value: [none, ""]}`, ""},
		{"an empty type", "", `{path: spec.volumes.#.hostPath.type, operator: in, value: [Directory, ""]}`, ""},

		{"no element has a field", containers, `{path: ports.#.name, operator: absent}`, "write {some: {in: ports, is: {path: name, operator: absent}}}"},
		{"no element has a field, the other way", containers, `{not: {path: ports.#.name, operator: exists}}`, "write {some: {in: ports, is: {path: name, operator: absent}}}"},
		{"an element has a field", containers, `{path: ports.#.name, operator: exists}`, ""},
		{"there is no element", "", `{path: metadata.ownerReferences.#.kind, operator: absent}`, ""},
		{"an element that is queried", containers, `{path: 'env.#(name=="A").valueFrom', operator: absent}`, ""},

		{"a kind that is not a pod's", "", `{path: kind, operator: equals, value: Deployment}`, "the subject is always a Pod, never a Deployment"},
		{"a kind at the root", containers, `{all: [{path: $.kind, operator: in, value: [Pod, Job]}, {path: image, operator: absent}]}`, "never a Job"},
		{"a kind of an owner", "", `{path: metadata.ownerReferences.#.kind, operator: equals, value: Job}`, ""},
		{"a kind behind the owner", "", `{path: metadata.ownerReferences.#.kind, operator: equals, value: Deployment}`, "the owner of a pod of a Deployment is a ReplicaSet"},
		{"a kind in lower case", "", `{path: metadata.ownerReferences.#.kind, operator: in, value: [Job, daemonSet]}`, `write "DaemonSet"`},

		{"an owner of some", "", `{some: {in: metadata.ownerReferences, is: {path: kind, operator: equals, value: CronJob}}}`, "the owner of a pod of a CronJob is a Job"},
		{"an owner for each", "metadata.ownerReferences", `{path: kind, operator: equals, value: replicaSet}`, `write "ReplicaSet"`},
		{"the kind of something else", containers, `{some: {in: env, is: {path: valueFrom.fieldRef.fieldPath, operator: equals, value: kind}}}`, ""},
		{"a glob of some", "", `{some: {in: spec.containers, is: {not: {path: image, operator: equals, value: "web:*"}}}}`, `write {path: image, operator: hasPrefix, value: "web:"}`},
		{"a setting of some container alone", "", `{some: {in: spec.containers, is: {path: securityContext.runAsUser, operator: equals, value: 0}}}`, "write path: [securityContext.runAsUser, $.spec.securityContext.runAsUser]"},
		{"both settings of every container", "", `{every: {in: spec.containers, is: {path: [securityContext.runAsUser, $.spec.securityContext.runAsUser], operator: equals, value: 0}}}`, ""},
		{"no element of some has a field", "", `{some: {in: spec.containers, is: {path: ports.#.name, operator: absent}}}`, "write {some: {in: ports, is: {path: name, operator: absent}}}"},
		{"some element without a field", containers, `{some: {in: ports, is: {path: name, operator: absent}}}`, ""},

		{"a namespace that is excluded", "", `{path: metadata.namespace, operator: equals, value: kube-system}`, `"kube-*" in namespaces.exclude excludes namespace "kube-system"`},
		{"a namespace that is excluded once more", "", `{path: metadata.namespace, operator: notIn, value: [kube-system, shop]}`, ""},
		{"a namespace that is not", "", `{path: metadata.namespace, operator: equals, value: shop}`, ""},
		{"a namespace that cannot be", "", `{path: metadata.namespace, operator: equals, value: Shop}`, `write "shop"`},
		{"a name that cannot be", "", `{path: metadata.name, operator: equals, value: web_1}`, "can be the name of no pod"},

		{"a setting of the container alone", containers, `{path: securityContext.runAsNonRoot, operator: notEquals, value: true}`, "write path: [securityContext.runAsNonRoot, $.spec.securityContext.runAsNonRoot]"},
		{"a setting of all containers alone", "allContainers", `{path: securityContext.seccompProfile.type, operator: notIn, value: [RuntimeDefault]}`, "write path: [securityContext.seccompProfile.type, $.spec.securityContext.seccompProfile.type]"},
		{"a setting of the pod alone", "", `{path: spec.securityContext.runAsNonRoot, operator: notEquals, value: true}`, "write forEach: allContainers and path: [securityContext.runAsNonRoot, $.spec.securityContext.runAsNonRoot]"},
		{"both settings", containers, `{path: [securityContext.runAsNonRoot, $.spec.securityContext.runAsNonRoot], operator: notEquals, value: true}`, ""},
		{"a setting of containers only", containers, `{path: securityContext.privileged, operator: equals, value: true}`, ""},
		{"a setting of pods only", "", `{path: spec.securityContext.fsGroup, operator: absent}`, ""},

		{"not in a list of a list", containers, `{path: args, operator: notIn, value: [--debug]}`, "write not: {path: args, operator: oneOf"},
		{"not equal to a list", containers, `{path: args, operator: notEquals, value: --debug}`, "write not: {path: args, operator: contains"},
		{"in a list of a list", containers, `{path: args, operator: in, value: [--debug]}`, "write {path: args, operator: oneOf"},
		{"equal to a list", containers, `{path: args, operator: equals, value: --debug}`, "write {path: args, operator: contains"},
		{"a list contains", containers, `{not: {path: args, operator: contains, value: --debug}}`, ""},
	}
	known := lint.Options{Pods: podSchema(t), Now: newYear}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table, text := tableText(t, tt.forEach, tt.violation)
			warnings := lint.Warnings(table, "f", text, known)
			switch {
			case tt.want == "":
				if len(warnings) > 0 {
					t.Errorf("%v, want no warning", warnings)
				}
			case len(warnings) != 1 || !strings.Contains(warnings[0].Msg, tt.want) || warnings[0].Line != 7:
				t.Errorf("%v, want one warning in line 7 with %q", warnings, tt.want)
			default:
				if image := example.FindStringSubmatch(warnings[0].Msg); image != nil {
					pod := `{"spec":{"containers":[{"image":"` + image[1] + `"}]}}`
					if negated := strings.HasPrefix(tt.violation, "{not:"); violates(t, table, pod) == negated {
						t.Errorf("%s: the image %s is violated: %t", warnings[0].Msg, image[1], negated)
					}
				}
				if instead := suggested.FindString(warnings[0].Msg); instead != "" {
					tableText(t, tt.forEach, instead) // it loads
				}
			}
		})
	}
}

// TestAdviceOnTables has tables with several checks or conditions.
func TestAdviceOnTables(t *testing.T) {
	const (
		ofContainer = "{id: a, weight: 1, forEach: spec.containers, violation: {path: securityContext.runAsUser, operator: equals, value: 0}}"
		ofPod       = "{id: b, weight: 1, violation: {path: spec.securityContext.runAsUser, operator: equals, value: 0}}"
		otherOfPod  = "{id: b, weight: 1, violation: {path: spec.securityContext.fsGroup, operator: equals, value: 0}}"
		image       = "violation: {path: image, operator: imageTag, value: latest}}"
	)
	for _, tt := range []struct{ name, fields, want string }{
		{"both levels by two checks", "checks: [" + ofContainer + ", " + ofPod + "]", ""},
		{"other settings by two checks", "checks: [" + ofContainer + ", " + otherOfPod + "]", "a container without runAsUser has the pod's"},
		{"the pod's in when", "checks: [{id: a, weight: 1, forEach: spec.containers, when: {path: $.spec.securityContext.runAsUser, operator: absent}, violation: {path: securityContext.runAsUser, operator: equals, value: 0}}]", ""},
		{"a setting in when alone", "checks: [{id: a, weight: 1, forEach: spec.containers, when: {path: securityContext.runAsUser, operator: exists}, " + image + "]", ""},
		{"when on an excluded namespace", "namespaces: {exclude: [dev-*]}\nchecks: [{id: a, weight: 1, forEach: spec.containers, when: {path: $.metadata.namespace, operator: in, value: [dev-1, shop]}, " + image + "]", `"dev-*" in namespaces.exclude excludes namespace "dev-1"`},
		{"when on a namespace that is not included", "namespaces: {include: [shop]}\nchecks: [{id: a, weight: 1, forEach: spec.containers, when: {path: $.metadata.namespace, operator: equals, value: dev}, " + image + "]", `the table does not include namespace "dev"`},
		{"when on a namespace", "namespaces: {include: [shop]}\nchecks: [{id: a, weight: 1, forEach: spec.containers, when: {path: $.metadata.namespace, operator: equals, value: shop}, " + image + "]", ""},
		{"absent in when", "checks: [{id: a, weight: 1, when: {path: spec.nodeName, operator: exists}, violation: {path: spec.nodeName, operator: in, value: [a, \"\"]}}]", ""},
		{"no element has a field, in when", "checks: [{id: a, weight: 1, when: {path: spec.volumes.#.hostPath, operator: absent}, violation: {path: spec.hostPID, operator: equals, value: true}}]", ""},
		{"a kind in a skip", "pods: {skip: [{reason: a, when: {path: kind, operator: in, value: [Pod, Job]}}]}\nchecks: [{id: a, weight: 1, forEach: spec.containers, " + image + "]", "never a Job"},
		{"a glob in a named list", "lists: {images: [\"web:*\"]}\nchecks: [{id: a, weight: 1, forEach: spec.containers, violation: {path: image, operator: in, value: {list: images}}}]", `write {path: image, operator: hasPrefix, value: "web:"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\n" + tt.fields + "\n"
			warnings := lint.Warnings(load(t, text), "f", []byte(text), lint.Options{Pods: podSchema(t), Now: newYear})
			if tt.want == "" && len(warnings) > 0 || tt.want != "" && (len(warnings) != 1 || !strings.Contains(warnings[0].Msg, tt.want)) {
				t.Errorf("%v, want %q", warnings, tt.want)
			}
		})
	}
}
