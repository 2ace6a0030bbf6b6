package election

import (
	"go/build"
	"testing"
)

// TestPlantedFaultIsInNoRelease: the gate that is always open is in a binary only where it is asked for by its tag.
func TestPlantedFaultIsInNoRelease(t *testing.T) {
	planted := build.Default
	planted.BuildTags = []string{"nogate"}
	for name, test := range map[string]struct {
		context build.Context
		want    map[string]bool
	}{
		"as released": {build.Default, map[string]bool{"look.go": true, "look_nogate.go": false}},
		"planted":     {planted, map[string]bool{"look.go": false, "look_nogate.go": true}},
	} {
		for file, want := range test.want {
			if got, err := test.context.MatchFile(".", file); err != nil || got != want {
				t.Errorf("%s: %s is built: %v %v, want %v", name, file, got, err, want)
			}
		}
	}
}
