package scan

import "github.com/tidwall/gjson"

// mayBePatch says that only the missing images tell a manifest from a part of one, as Kustomize merges them. What was
// recorded, or has a uid, is whole.
func (p *batchedPod) mayBePatch() bool { return p.UID == "" && !p.Recorded && (p.Template || !p.Listed) }

// hasImage says whether a container of a pod, given as JSON that was checked, has an image: without one nothing can be
// applied.
func hasImage(pod []byte) bool {
	found := false
	gjson.GetBytes(pod, "spec.containers").ForEach(func(_, container gjson.Result) bool {
		found = container.Get("image").String() != ""
		return !found
	})
	return found
}
