package lint

import (
	"slices"
	"strings"
)

// levelSettings are the fields of a security context that a pod and its containers have. The container's overrides the pod's.
var levelSettings = []string{"runAsNonRoot", "runAsUser", "runAsGroup", "seccompProfile", "seLinuxOptions", "windowsOptions", "appArmorProfile"}

// A levelUse is a leaf on such a setting of a container or of a pod.
type levelUse struct {
	*leaf
	at      string // the check
	setting string
	ofPod   bool
}

// noteLevels notes the settings that a condition looks at, and whether to warn about them.
func (l *linter) noteLevels(c *condition, warn bool) {
	c.eachLeaf(func(this *leaf) {
		for _, p := range this.paths {
			setting, ofPod := "", false
			inPod, isPod := strings.CutPrefix(strings.TrimPrefix(p.Source, "$."), "spec.securityContext.")
			own, isOwn := strings.CutPrefix(p.Source, containerSettings)
			_, other, isOther := strings.Cut(p.Source, "ontainers.#."+containerSettings)
			switch {
			case isPod && (p.Root || this.about.pod):
				setting, ofPod = inPod, true
			case isOwn && this.about.have("image", "securityContext"):
				setting = own
			case isOther:
				setting = other
			}
			if setting, _, _ = strings.Cut(setting, "."); !slices.Contains(levelSettings, setting) {
				continue
			}
			l.levels = append(l.levels, levelUse{this, l.At, setting, ofPod})
			if !warn || isOther {
				l.levels[len(l.levels)-1].leaf = nil
			}
		}
	})
}

// otherLevel warns about a setting of the container or of the pod, if no check of the table looks at that of the other.
func (l *linter) otherLevel() {
	for _, use := range l.levels {
		if use.leaf == nil || slices.ContainsFunc(l.levels, func(other levelUse) bool { return other.setting == use.setting && other.ofPod != use.ofPod }) {
			continue
		}
		source := use.paths[0].Source
		l.At = use.at
		if use.ofPod {
			own := containerSettings + strings.TrimPrefix(strings.TrimPrefix(source, "$."), "spec.securityContext.")
			use.hint(use.node, "a container's %s overrides the pod's; write forEach: allContainers and path: [%s, $.%s]", use.setting, own, strings.TrimPrefix(source, "$."))
		} else {
			use.hint(use.node, "a container without %s has the pod's; write path: [%s, $.spec.%s]", use.setting, source, source)
		}
	}
	l.At = ""
}
