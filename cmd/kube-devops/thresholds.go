package main

// thresholds are the flags that are held against the scores and violations.
func (o *scanOptions) thresholds() []string {
	var flags []string
	for _, flag := range []struct {
		set  bool
		name string
	}{{o.failOn.set, "--fail-on"}, {o.failUnder.set, "--fail-under"}, {o.maxScore.set, "--max-score"}, {o.baseline != "", "--baseline"}} {
		if flag.set {
			flags = append(flags, flag.name)
		}
	}
	return flags
}
