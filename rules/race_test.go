//go:build race

package rules_test

func init() { differentialPods = randomPods / 10 }
