package coldread

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRing(t *testing.T) {
	dir := t.TempDir()
	if _, err := Ring(context.Background(), dir, 1<<20, 4096); err == nil || !strings.Contains(err.Error(), "as large as its ring of 1048576") {
		t.Errorf("an empty directory: %v", err)
	}
	for name, size := range map[string]int{"a/small": 1 << 19, "b/wal.ring": 1 << 20} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := find(dir, 1<<20); err != nil || filepath.Base(found) != "wal.ring" {
		t.Errorf("found %s, %v", found, err)
	}
}
