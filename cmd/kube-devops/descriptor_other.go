//go:build !unix

package main

import "os"

// duplicate knows no descriptors but those of Unix.
func duplicate(int) (*os.File, error) { return nil, errNotOpen }
