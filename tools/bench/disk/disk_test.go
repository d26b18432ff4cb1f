package disk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
)

func fixture(t *testing.T, text string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "proc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "proc/diskstats"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestRead(t *testing.T) {
	root := fixture(t, "   7 0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"+
		" 259 0 nvme0n1 36257 7887 2042114 8148 18890 22373 2064352 5363 0 5696 14755 3945 66 261896 1033 6239 209\n"+
		" 259 1 nvme0n1p1 1 1 1 1 1 1 1 1 1 1 1\n")
	got, err := Read(root, "nvme0n1")
	want := Counters{Reads: 36257, ReadBytes: 2042114 * 512, Writes: 18890, WriteBytes: 2064352 * 512, Flushes: 6239, BusyNs: 5696e6}
	if err != nil || got != want {
		t.Errorf("read %+v, %v\nwant %+v", got, err, want)
	}
	if d := got.Sub(Counters{Reads: 1, ReadBytes: 2, Writes: 3, WriteBytes: 4, Flushes: 5, BusyNs: 6}); d.Reads != 36256 || d.Flushes != 6234 ||
		d.WriteBytes != want.WriteBytes-4 || d.BusyNs != want.BusyNs-6 || d.Writes != want.Writes-3 || d.ReadBytes != want.ReadBytes-2 {
		t.Errorf("difference %+v", d)
	}
	old, err := Read(root, "nvme0n1p1") // a kernel before 4.18 has eleven columns
	if err != nil || old.Flushes != 0 || old.WriteBytes != 512 {
		t.Errorf("eleven columns read as %+v, %v", old, err)
	}
	if _, err := Read(root, "sda"); err == nil || !strings.Contains(err.Error(), `"sda"`) {
		t.Errorf("a device that is not there: %v", err)
	}
	if _, err := Read(fixture(t, "8 0 sda 1 2 3 4 many 6 7 8 9 10 11\n"), "sda"); err == nil || !strings.Contains(err.Error(), "many") {
		t.Errorf("a line that is not numbers: %v", err)
	}
}

// It waits while the number of discards grows or something is in flight, a moment longer, and not for ever.
func TestSettle(t *testing.T) {
	for name, c := range map[string]struct {
		look  func(i int64) (flight, discards int64, err error)
		looks int64
	}{
		"nothing":      {func(int64) (int64, int64, error) { return 0, 7, nil }, trimQuiet + 1},
		"discards":     {func(i int64) (int64, int64, error) { return 0, min(i, 40), nil }, 40 + trimQuiet},
		"one by one":   {func(i int64) (int64, int64, error) { return 0, min(i, 40) / (trimQuiet - 1), nil }, 36 + trimQuiet},
		"in flight":    {func(i int64) (int64, int64, error) { return max(0, 30-i), 7, nil }, 29 + trimQuiet},
		"without end":  {func(i int64) (int64, int64, error) { return 1, i, nil }, int64(trimLimit / trimPoll)},
		"no such disk": {func(int64) (int64, int64, error) { return 0, 0, os.ErrNotExist }, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			looks := int64(0)
			settle(func() (int64, int64, error) { looks++; return c.look(looks) })
			if looks != c.looks {
				t.Errorf("%s: %d looks, want %d", name, looks, c.looks)
			}
		})
	}
}

// After Evict the file's pages are not in memory.
func TestEvict(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "sub", "f")
	os.MkdirAll(filepath.Dir(name), 0o755)
	const size = 1 << 20
	if err := os.WriteFile(name, make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	if resident(t, name, size) == 0 {
		t.Skip("needs page-cache: this file system keeps none")
	}
	if err := Evict(dir); err != nil {
		t.Fatal(err)
	}
	if n := resident(t, name, size); n != 0 {
		t.Errorf("%d of %d pages are still in memory", n, size/os.Getpagesize())
	}
	if err := Evict(filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that is not there was evicted")
	}
}

func resident(t *testing.T, name string, size int) int {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err == nil && st.Type == unix.TMPFS_MAGIC {
		return 0
	}
	m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	vec := make([]byte, size/os.Getpagesize())
	if err := mincore(m, vec); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, v := range vec {
		n += int(v & 1)
	}
	return n
}
