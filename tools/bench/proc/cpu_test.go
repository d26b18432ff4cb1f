package proc

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadCPU(t *testing.T) {
	root := t.TempDir()
	read := func(text string) (CPU, error) {
		if err := os.WriteFile(filepath.Join(root, "stat"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return ReadCPU(root)
	}
	before, err := read("cpu  100 1 50 800 4 0 5 40 33 2\ncpu0 1 2 3\nintr 5\n")
	if err != nil || before != (CPU{Total: 1000, Stolen: 40}) {
		t.Fatalf("read %+v, %v; want 1000 ticks without those of guests, 40 of them stolen", before, err)
	}
	after, err := read("cpu  150 1 50 820 4 0 5 70 33 2\n")
	if got := after.Sub(before).StolenFraction(); err != nil || math.Abs(got-0.3) > 1e-12 {
		t.Errorf("%v was stolen (%v), want 30 of 100 ticks", got, err)
	}
	if got := after.Sub(after).StolenFraction(); got != 0 {
		t.Errorf("%v was stolen in no time", got)
	}
	for _, bad := range []string{"", "cpu0 1 2 3 4 5 6 7 8\n", "cpu 1 2 3 4 5 6 7\n", "cpu 1 2 3 4 5 6 7 many\n"} {
		if c, err := read(bad); err == nil || !strings.Contains(err.Error(), "CPU time") {
			t.Errorf("%q: understood %+v, %v", bad, c, err)
		}
	}
	if _, err := ReadCPU(t.TempDir()); err == nil {
		t.Error("a machine without /proc/stat was read")
	}
}
