// Package lint warns about policies that load but hardly mean what they say: a path that no Pod has, a check that can never fail, a
// waiver that has expired. It reads the text of a table a second time, for the line numbers. It must not know how pods are evaluated,
// and rules must not know it.
package lint
