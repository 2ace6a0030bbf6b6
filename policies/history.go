package policies

// history has, for each built-in table, the ids of checks that it once had. They remain known to disable, --check, overriding, waivers,
// baselines and policy tests, so that a new version does not break the tables and the scripts that use them.
var history = map[string]struct {
	renamed map[string]string // the present ids by the former ones
	retired []string          // ids without a successor
}{}
