package fieldpath_test

import (
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
)

func TestHint(t *testing.T) {
	tests := []struct{ source, want string }{
		{"spec.containers[*].image", "write spec.containers.#.image"},
		{"spec.containers[].image", "write spec.containers.#.image"},
		{".spec.containers[]?.image", "write spec.containers.#.image"},
		{"spec.containers.[*].image", "write spec.containers.#.image"},
		{"spec.containers.*.image", "write spec.containers.#.image"},
		{"$.spec.containers[0].image", "write $.spec.containers.0.image"},
		{"{.spec.containers[0].image}", "write spec.containers.0.image"},
		{".spec.hostNetwork", "write spec.hostNetwork"},
		{"metadata.labels['app.kubernetes.io/name']", `write metadata.labels.app\.kubernetes\.io/name`},
		{`metadata.labels["team"]`, "write metadata.labels.team"},
		{`status.conditions[?(@.type=="Ready")].status`, `write status.conditions.#(type=="Ready")#.status`},
		{"args[*]", "write args for the list, and forEach, some or every for each of its elements"},
		{"args[]", "write args for the list, and forEach, some or every for each of its elements"},
		{".spec.containers | length", "write spec.containers.#"},
		{"/spec/containers/0/image", "write spec.containers.0.image"},
		{"$..image", "a path cannot search at every depth: write all its keys, such as spec.containers.#.image"},
		{"..image", "a path cannot search at every depth: write all its keys, such as spec.containers.#.image"},
		{"spec.**.image", "a path cannot search at every depth: write all its keys, such as spec.containers.#.image"},
		{"spec.containers.#.image", ""},
		{"spec.containers.#", ""},
		{"spec.*", ""},
		{"", ""},
		{"$", ""},
		{"spec..name", ""},
		{"spec.é", ""},
		{"[spec,status]", ""},
		{"@this", ""},
	}
	for _, tt := range tests {
		t.Run(tt.source, func(t *testing.T) {
			if got := strings.TrimPrefix(fieldpath.Hint(tt.source, false), "; "); got != tt.want {
				t.Errorf("hint %q, want %q", got, tt.want)
			}
		})
	}
}

// TestHintForEach: a path of forEach selects each element by itself.
func TestHintForEach(t *testing.T) {
	if got, want := fieldpath.Hint("spec.containers[*]", true), "; write spec.containers"; got != want {
		t.Errorf("hint %q, want %q", got, want)
	}
}
