// Package satisfy finds out whether a condition of a policy table can be true or false at all, by trying what the values of its paths
// may be. For each path it lists the outcomes: that there is no value, and every combination of answers that the leaves on that path
// can give for a value. Where the combinations are not known exactly it assumes more of them, so it may call an impossible condition
// possible, but never the reverse. It must not know what a warning says, nor where a condition comes from.
package satisfy
