// Package strictyaml reads YAML files that people write by hand, such as policy tables: it refuses unknown, duplicate and missing
// fields, and reports every error of a file with its line instead of stopping at the first. It must not know what the files mean.
package strictyaml
