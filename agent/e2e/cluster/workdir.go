package cluster

import (
	"os"
	"path/filepath"
	"time"
)

// WorkDir creates a folder for the data and logs of a test run. remove deletes the folder, unless E2E_LOGS names the folder to keep it in.
func WorkDir(pattern string) (dir string, remove func(), err error) {
	if logs := os.Getenv("E2E_LOGS"); logs != "" {
		logs, err := filepath.Abs(logs)
		if err != nil {
			return "", nil, err
		}
		dir := filepath.Join(logs, time.Now().UTC().Format("20060102T150405.000Z"))
		return dir, func() {}, os.MkdirAll(dir, 0o755)
	}
	dir, err = os.MkdirTemp("", pattern)
	return dir, func() { _ = os.RemoveAll(dir) }, err
}
