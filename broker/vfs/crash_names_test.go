package vfs

import (
	"strings"
	"testing"
)

func TestNamesAreDurableAfterSyncDirOnly(t *testing.T) {
	exists := func(names ...string) func(*Mem) string {
		return func(m *Mem) string {
			var got []string
			for _, n := range names {
				if _, err := m.Stat(n); err == nil {
					got = append(got, n)
				}
			}
			return strings.Join(got, " ")
		}
	}
	m := NewMem()
	f := open(t, m, "a", OpenOptions{Create: true})
	write(t, f, page1(1), 0)
	must(t, f.Sync()) // the file's data, not its name
	wantOutcomes(t, outcomes(t, m, 50, exists("a")), "", "a")
	must(t, m.SyncDir("/"))
	wantOutcomes(t, outcomes(t, m, 50, exists("a")), "a")

	must(t, m.Rename("a", "b"))
	wantOutcomes(t, outcomes(t, m, 50, exists("a", "b")), "a", "b") // never both, never neither
	must(t, m.Rename("b", "c"))
	wantOutcomes(t, outcomes(t, m, 200, exists("a", "b", "c")), "a", "b", "c")
	must(t, m.SyncDir("/"))
	wantOutcomes(t, outcomes(t, m, 50, exists("a", "b", "c")), "c")
	for got := range outcomes(t, m, 50, sectors(t, "c")) {
		if got != "11111111" {
			t.Fatalf("renaming lost data: %q", got)
		}
	}

	must(t, m.Remove("c"))
	wantOutcomes(t, outcomes(t, m, 50, exists("c")), "", "c")
	must(t, m.SyncDir("/"))
	wantOutcomes(t, outcomes(t, m, 50, exists("c")), "")

	must(t, m.MkdirAll("d/e"))
	open(t, m, "d/e/f", OpenOptions{Create: true})
	must(t, m.SyncDir("d/e"))
	wantOutcomes(t, outcomes(t, m, 200, exists("d", "d/e", "d/e/f")), "", "d", "d d/e d/e/f")
	must(t, m.SyncDir("/"))
	must(t, m.SyncDir("d"))
	wantOutcomes(t, outcomes(t, m, 50, exists("d", "d/e", "d/e/f")), "d d/e d/e/f")
	must(t, m.Rename("d/e/f", "g"))
	must(t, m.SyncDir("/"))
	wantOutcomes(t, outcomes(t, m, 50, exists("d/e/f", "g")), "g")
	must(t, m.RemoveAll("d"))
	must(t, m.SyncDir("/"))
	wantOutcomes(t, outcomes(t, m, 50, exists("d", "d/e", "g")), "g")
}

func TestRenameOverAFile(t *testing.T) {
	m := NewMem()
	durableFile(t, m, "old", 1, OpenOptions{})
	f := open(t, m, "new", OpenOptions{Create: true})
	write(t, f, page1(2), 0)
	must(t, f.Sync())
	must(t, m.Rename("new", "old"))
	wantOutcomes(t, outcomes(t, m, 50, sectors(t, "old")), "11111111", "22222222")
	must(t, m.SyncDir("/"))
	wantOutcomes(t, outcomes(t, m, 50, sectors(t, "old")), "22222222")
	wantOutcomes(t, outcomes(t, m, 50, sectors(t, "new")), "missing")
}

// TestCrossDirectoryRenameKeepsOneName: the file was created in one directory and moved to another, of which
// only the second is synced. The creation must not come back as a second name.
func TestCrossDirectoryRenameKeepsOneName(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("x"))
	must(t, m.MkdirAll("y"))
	must(t, m.SyncDir("/"))
	open(t, m, "x/a", OpenOptions{Create: true})
	must(t, m.Rename("x/a", "y/b"))
	must(t, m.SyncDir("y"))
	wantOutcomes(t, outcomes(t, m, 50, sectors(t, "x/a")), "missing")
	wantOutcomes(t, outcomes(t, m, 50, sectors(t, "y/b")), "")
}

// TestRotation: cur becomes old, new becomes cur. Whatever a crash keeps of the two steps, the old content is
// somewhere.
func TestRotation(t *testing.T) {
	m := NewMem()
	durableFile(t, m, "cur", 1, OpenOptions{})
	f := open(t, m, "new", OpenOptions{Create: true})
	write(t, f, page1(2), 0)
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	must(t, m.Rename("cur", "old"))
	must(t, m.Rename("new", "cur"))
	got := outcomes(t, m, 200, func(m *Mem) string {
		return sectors(t, "cur")(m)[:1] + " " + sectors(t, "old")(m)[:1] + " " + sectors(t, "new")(m)[:1]
	})
	wantOutcomes(t, got, "1 m 2", "m 1 2", "2 1 m")
}
