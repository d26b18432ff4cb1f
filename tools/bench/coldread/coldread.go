// Package coldread reads what a WAL holds once: the least that any recovery must do, and so what a recovery stands beside.
package coldread

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ackline/broker/vfs"
	"ackline/walbench/raw"
)

// Ring reads the first n bytes of the WAL's file in dir, which is the one as large as the ring, around the page cache, in the way
// that is fastest here, and returns the milliseconds.
func Ring(ctx context.Context, dir string, ringBytes, n int64) (ms float64, err error) {
	name, err := find(dir, ringBytes)
	if err != nil {
		return 0, err
	}
	c := raw.ReadConfig{Blocks: []int{4 << 20}, Depths: []int{2, 4}, Rounds: 1, Limit: n}
	sweep, err := raw.ReadFile(ctx, vfs.OS(), name, c, nil)
	if err != nil {
		return 0, fmt.Errorf("read the WAL once: %w", err)
	}
	return float64(n) / sweep.Best[0].Rate() * 1e3, nil
}

// find finds the file that is as large as the ring.
func find(dir string, ringBytes int64) (string, error) {
	found := ""
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if st, err := os.Stat(name); err == nil && st.Size() >= ringBytes {
			found = name
		}
		return nil
	})
	if err == nil && found == "" {
		err = fmt.Errorf("no file in the broker's directory is as large as its ring of %d bytes", ringBytes)
	}
	return found, err
}
