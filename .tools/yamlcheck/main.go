// Command yamlcheck fails on a file that is not YAML, has a duplicate key, or has only one of apiVersion and kind.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"gopkg.in/yaml.v3"
)

func main() {
	failed := len(os.Args) == 1
	if failed {
		fmt.Fprintln(os.Stderr, "usage: yamlcheck FILE...")
	}
	for _, name := range os.Args[1:] {
		if err := check(name); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// check reads all documents of one file. Decoding into a value, and not into a node, is what refuses a key twice.
func check(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for number := 1; ; number++ {
		var document any
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("document %d: %w", number, err)
		}
		fields, _ := document.(map[string]any)
		if (fields["apiVersion"] == nil) != (fields["kind"] == nil) {
			return fmt.Errorf("document %d: has only one of apiVersion and kind", number)
		}
	}
}
