package seglog

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"ackline/broker/id"
	"ackline/broker/seglog/layout"
	"ackline/broker/vfs"
)

// appendSynced opens at a checkpoint, appends and syncs.
func appendSynced(t *testing.T, fs vfs.FS, at Checkpoint, m *model, rs []Record) Checkpoint {
	t.Helper()
	l := open(t, fs, at)
	must(t, l.Append(rs))
	m.add(rs)
	at, err := l.Sync()
	must(t, err)
	must(t, l.Close())
	return at
}

// crashed opens every one of many states that a power cut may leave, and compares with the model.
func crashed(t *testing.T, fs *vfs.Mem, at Checkpoint, m *model) {
	t.Helper()
	for seed := range uint64(60) {
		l, err := Open(testOptions(fs.CrashClone(seed)), at)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		m.check(t, l)
		must(t, l.Close())
	}
}

// roll makes a record the first of a segment.
func roll(r Record) Record {
	r.Roll = []byte("state")
	return r
}

// control is a control record with a payload.
func control(i id.Index, p string) Record {
	return Record{Index: i, Term: 1, LastDelta: Control, MaxTimestamp: NoTimestamp, Data: []byte(p)}
}

// TestKilledBeforeNameOfStart: the process dies after it renamed the .low file and before it synced the name. The next one
// sees the new name, and must not remove segments while a power cut can still bring the old one back.
func TestKilledBeforeNameOfStart(t *testing.T) {
	fs, m := newFS(t), newModel(1)
	at := appendSynced(t, fs, Checkpoint{}, m, []Record{data(1, 0, 9), roll(data(2, 1, 9)), roll(data(3, 2, 9))})
	armed := false
	l := open(t, vfs.Inject(fs, func(op vfs.Op) error {
		if armed && op.Kind == vfs.OpSyncDir {
			return syscall.EIO
		}
		return nil
	}), at)
	armed = true
	if err := l.DropBefore(2); !errors.Is(err, ErrFatal) {
		t.Fatalf("drop: %v", err)
	}
	m.drop(2)
	next := fs.Clone()
	counter := vfs.NewCutter(-1)
	m.check(t, open(t, vfs.Inject(next.Clone(), counter.Hook), at))
	for n := range counter.Seen() + 1 {
		disk, cutter := next.Clone(), vfs.NewCutter(n)
		_, err := Open(testOptions(vfs.Inject(disk, cutter.Hook)), at)
		if err != nil && !cutter.Done() {
			t.Fatal(err)
		}
		for seed := range uint64(60) {
			l, err := Open(testOptions(disk.CrashClone(seed)), at)
			if err != nil {
				t.Fatalf("cut %d, seed %d: %v", n, seed, err)
			}
			if first := l.FirstIndex(); first != 1 && first != 3 {
				t.Fatalf("cut %d, seed %d: the log starts at %d, want 1 or 3", n, seed, first)
			}
		}
	}
}

// TestKilledBeforeNameOfControl: the process dies after it created .ctl and before it synced the name. The next one finds the
// file, writes to it, and must sync the name although it did not create it.
func TestKilledBeforeNameOfControl(t *testing.T) {
	fs, m := newFS(t), newModel(1)
	at := appendSynced(t, fs, Checkpoint{}, m, []Record{data(1, 0, 9)})
	l := open(t, fs, at)
	must(t, l.Append([]Record{control(2, "lost")}))
	next := fs.Clone()
	r := control(2, "kept")
	r.Base = 1
	at = appendSynced(t, next, at, m, []Record{r})
	crashed(t, next, at, m)
}

// TestFullThenOtherwise: a write fails for want of space at each place, and then the caller does something else than to try the
// same again: it starts a segment, or does not. Nothing of the failed attempt may be left to disturb the chain.
func TestFullThenOtherwise(t *testing.T) {
	for _, ext := range []string{".idx", ".seg", ".ctl", ".low"} {
		for _, first := range []bool{false, true} {
			for _, removable := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s roll first %v, removable %v", ext, first, removable), func(t *testing.T) {
					fs, m := newFS(t), newModel(1)
					var full, stuck bool
					l := open(t, vfs.Inject(fs, func(op vfs.Op) error {
						switch {
						case full && strings.HasSuffix(op.Name, ext) && (op.Kind == vfs.OpWrite || op.Create),
							stuck && (op.Kind == vfs.OpRemove || op.Kind == vfs.OpTruncate):
							return syscall.ENOSPC
						}
						return nil
					}), Checkpoint{})
					must(t, l.Append([]Record{data(1, 0, 9), {Index: 2, Term: 1, LastDelta: Control}}))
					m.add([]Record{data(1, 0, 9), {Index: 2, Term: 1, Base: 1, LastDelta: Control, MaxTimestamp: NoTimestamp}})
					rs := []Record{data(3, 1, 900), control(4, "conf"), data(5, 2, 9)}
					rs[1].Base = 2
					full, stuck = true, !removable
					with, without := append([]Record{roll(rs[0])}, rs[1:]...), rs
					if !first {
						with, without = without, with
					}
					if err := l.Append(with); err != nil && !errors.Is(err, ErrNoSpace) {
						t.Fatal(err)
					}
					for _, name := range files(t, fs) {
						if l.LastIndex() == 2 && removable && strings.Contains(name, "3.") {
							t.Errorf("%s was left behind", name)
						}
					}
					full, stuck = false, false
					taken := l.LastIndex() - 2
					m.add(with[:taken])
					must(t, l.Append(without[taken:]))
					m.add(without[taken:])
					m.check(t, l)
					more := roll(data(6, 3, 9))
					must(t, l.Append([]Record{more}))
					m.add([]Record{more})
					at, err := l.Sync()
					must(t, err)
					crashed(t, fs, at, m)
				})
			}
		}
	}
}

// TestVerifyChain: rows whose checksum is right and whose content is not: Verify sees that they do not follow each other.
func TestVerifyChain(t *testing.T) {
	fs, m := newFS(t), newModel(1)
	at := appendSynced(t, fs, Checkpoint{}, m, []Record{data(1, 0, 9), data(2, 1, 9), control(3, "x"), data(4, 2, 9), data(5, 3, 9)})
	for what, change := range map[string]func(*Row){
		"term":          func(r *Row) { r.Term = 0 },
		"base":          func(r *Row) { r.Base-- },
		"delta":         func(r *Row) { r.LastDelta++ },
		"timestamp":     func(r *Row) { r.MaxTimestamp = 9 },
		"top timestamp": func(r *Row) { r.TopTimestamp++ },
		"position":      func(r *Row) { r.SegPos-- },
		"control":       func(r *Row) { r.CtlPos++ },
		"length":        func(r *Row) { r.Length-- },
		"checksum":      func(r *Row) { r.CRC++ },
	} {
		disk := fs.Clone()
		l := open(t, disk, at)
		r, err := l.Row(4)
		must(t, err)
		change(&r)
		f, err := disk.Open(layout.Name(testDir, 1, layout.Idx), vfs.OpenOptions{})
		must(t, err)
		_, err = f.WriteAt(r.AppendTo(nil, testGroup), layout.HeaderSize+3*layout.RowSize)
		must(t, err)
		if err := scrub(l, 1<<20); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s changed: %v, want ErrCorrupt", what, err)
		}
	}
}

// TestLastRow: Open compares the newest row with each field of the checkpoint that it can.
func TestLastRow(t *testing.T) {
	fs, m := newFS(t), newModel(1)
	at := appendSynced(t, fs, Checkpoint{}, m, []Record{data(1, 0, 9), control(2, "x"), data(3, 1, 9)})
	for what, change := range map[string]func(*Checkpoint){
		"next offset": func(c *Checkpoint) { c.NextOffset++ },
		"term":        func(c *Checkpoint) { c.Term++ },
		"data":        func(c *Checkpoint) { c.SegBytes-- },
		"control":     func(c *Checkpoint) { c.CtlBytes-- },
		"fewer rows":  func(c *Checkpoint) { c.Next-- },
		"more rows":   func(c *Checkpoint) { c.Next++ },
		"start":       func(c *Checkpoint) { c.Start++ },
	} {
		bad := at
		change(&bad)
		if _, err := Open(testOptions(fs.Clone()), bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s changed: %v, want ErrCorrupt", what, err)
		}
	}
}
