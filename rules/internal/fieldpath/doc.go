// Package fieldpath parses the paths of policy tables, such as spec.containers.#.image. It must not know how a path is evaluated,
// nor which fields a Pod has.
package fieldpath
