package scan

import "github.com/tidwall/gjson"

// mayBePatch says that nothing but the missing images tells a manifest from a part of one, as Kustomize merges them. What
// was recorded is whole.
func (p *batched) mayBePatch() bool { return p.UID == "" && !p.Watched && (p.Template || !p.Listed) }

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
