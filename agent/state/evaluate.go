package state

import (
	"fmt"

	"github.com/kube-devops/kube-devops/rules"
)

// evaluateOne is what evaluates one pod; tests put something in its place.
var evaluateOne = (*rules.Table).EvaluateInto

// evaluate writes the verdict of one pod. A pod whose evaluation panics is one without a verdict: it must not end the
// process, as it would be there again after the restart, on every replica.
func evaluate(table *rules.Table, verdict *rules.Verdict, json []byte) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			*verdict, err = rules.Verdict{}, fmt.Errorf("the evaluation panicked: %v", cause)
		}
	}()
	return evaluateOne(table, verdict, json)
}
