package scan

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/rules"
)

var waivePath = "metadata.annotations." + strings.ReplaceAll(rules.WaiveAnnotation, ".", `\.`)

// checkAnnotation finds the line of an annotation that has mistakes. One that stands on a workload and not on its pod template is a mistake
// that no live pod shows.
func (p *batchedPod) checkAnnotation(text []byte, table *rules.Table) {
	if p.MisplacedWaiver > 0 && table.AnnotationWaivers() != nil && p.verdict.SkipReason == "" {
		kind, _, _ := strings.Cut(p.Name, "/")
		p.verdict.Mistakes = append(p.verdict.Mistakes,
			fmt.Sprintf("annotation %s of a %s accepts nothing; move it to the metadata of its pod template", rules.WaiveAnnotation, kind))
		p.waiveLine = p.MisplacedWaiver
	}
	if len(p.verdict.Mistakes) > 0 && p.waiveLine == 0 && !p.Recorded && p.from.file != "" {
		if at := gjson.GetBytes(text, waivePath).Index; at > 0 {
			p.waiveLine = p.Line + bytes.Count(text[:at], []byte{'\n'})
		}
	}
}
