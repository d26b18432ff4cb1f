// Package version tells which commit a binary was built from, so that a figure can be traced to the code that made it.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// commit is set by the Makefile with -ldflags "-X ackline/tools/version.commit=…"; a build without it falls back to
// what the go tool recorded, if it recorded anything.
var commit string

// Commit returns the commit the binary was built from, with "-dirty" behind it when the tree had changes, or "unknown".
func Commit() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	rev, dirty := "unknown", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			rev = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "-dirty"
			}
		}
	}
	return rev + dirty
}

// String is what --version prints: commit, Go version, platform.
func String() string {
	return fmt.Sprintf("ackline %s %s %s/%s", Commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
