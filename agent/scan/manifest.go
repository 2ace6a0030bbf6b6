package scan

import (
	"bytes"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/agent/dump"
)

// templatedField returns the field of a manifest that has an action of a template, such as one of Helm; empty if there is
// none. What a cluster recorded is not a template, and annotations may have templates for other programs.
func templatedField(e *dump.Event) string {
	switch {
	case e.Recorded || e.Op == dump.Delete:
		return ""
	case hasAction(e.Name):
		return "name"
	case hasAction(e.Namespace):
		return "namespace"
	case !bytes.Contains(e.JSON, []byte("{{")):
		return ""
	}
	for _, containers := range []string{"containers", "initContainers", "ephemeralContainers"} {
		if hasAction(gjson.GetBytes(e.JSON, "spec."+containers+".#.image").Raw) {
			return "image"
		}
	}
	return ""
}

func hasAction(text string) bool { return strings.Contains(text, "{{") }

// isPatch reports whether a pod, which is valid JSON, is a part that Kustomize merges into another manifest: nothing with
// containers can be applied without an image. What was recorded, or has a UID, is not a patch.
func (p *batchedPod) isPatch(pod []byte) bool {
	if p.UID != "" || p.Recorded || p.Listed && !p.Template {
		return false
	}
	patch := true
	gjson.GetBytes(pod, "spec.containers").ForEach(func(_, container gjson.Result) bool {
		patch = container.Get("image").String() == ""
		return patch
	})
	return patch
}
