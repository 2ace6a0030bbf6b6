package state

import (
	"fmt"

	"github.com/kube-devops/kube-devops/rules"
)

// evaluateOne evaluates one pod. Tests replace it.
var evaluateOne = (*rules.Table).EvaluateInto

// evaluate writes the verdict of one pod. A panic becomes an error: it must not end the process, because the pod would end
// every replica again after its restart.
func evaluate(table *rules.Table, verdict *rules.Verdict, json []byte) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			*verdict, err = rules.Verdict{}, fmt.Errorf("the evaluation panicked: %v", cause)
		}
	}()
	return evaluateOne(table, verdict, json)
}
