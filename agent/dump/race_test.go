//go:build race

package dump

func init() { pooled = 0.85 }
