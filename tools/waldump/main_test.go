package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ackline/broker/id"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/broker/wal"
)

// group appends what it is told to.
type group struct{ add func(b *wal.Batch) }

func (g *group) Collect(b *wal.Batch) { g.add(b) }
func (g *group) Durable(id.LSN)       {}

// newLog makes a data directory whose log holds three batches and was not closed.
func newLog(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	w, _, err := wal.Open(wal.Options{FS: vfs.OS(), Path: filepath.Join(dir, ringName), Method: syncmethod.BufferedDsync,
		RingBytes: 256 << 10, BatchBytes: 4 << 10, RingID: 7, Inline: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	hs := wal.HardState{Term: 3, Vote: 11, Commit: 1}
	for _, add := range []func(b *wal.Batch){
		func(b *wal.Batch) {
			b.HardState(1, 11, hs)
			b.Entries(1, 11, []wal.Entry{{Index: 1, Term: 2, Data: []byte("one")}, {Index: 2, Term: 3, Type: 1, Data: []byte("second")}})
		},
		func(b *wal.Batch) {
			b.Checkpoint(1, 11, 1, 2, hs, []byte("state"))
			b.Snapshot(2, 21, 50, 4, nil)
		},
		func(b *wal.Batch) { b.Delete(2) },
	} {
		w.Signal(&group{add})
		w.Drive()
	}
	return dir
}

func dumped(t *testing.T, wantCode int, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(context.Background(), args, &out, &errs); code != wantCode {
		t.Errorf("%v: exit %d, want %d: %s", args, code, wantCode, errs.String())
	}
	return out.String() + errs.String()
}

const wantText = `DIR/wal.ring: ring 0000000000000007 of 262144 bytes
superblock at pos 0: number 4  head LSN 262144  synced LSN 266240  bound 282624  generation 1
superblock at pos 4096: number 5  head LSN 262144  synced LSN 266240  bound 294912  generation 1  <- counts
LSN 262144  pos 65536  4096 bytes  generation 1 begins here
LSN 266240  pos 69632  4096 bytes  generation 1
    group 1 replica 11  hard state  (term 3 vote 11 commit 1)
    group 1 replica 11  entries 1-2  term 2-3  9 bytes
LSN 270336  pos 73728  4096 bytes  generation 1
    group 1 replica 11  checkpoint at 1  term 2  payload 5 bytes  (term 3 vote 11 commit 1)
    group 2 replica 21  snapshot at 50  term 4  payload 0 bytes
LSN 274432  pos 77824  4096 bytes  generation 1
    group 2  deleted
LSN 278528  pos 81920  the end
live: 4 batches, 16384 bytes, 5 records, 2 entries, 2 groups
`

func TestText(t *testing.T) {
	dir := newLog(t)
	if got := strings.ReplaceAll(dumped(t, 0, dir), dir, "DIR"); got != wantText {
		t.Errorf("printed\n%s\nwant\n%s", got, wantText)
	}
	if got := dumped(t, 0, filepath.Join(dir, ringName), "--group", "2", "--from", "274432"); strings.Count(got, "group ") != 1 ||
		!strings.Contains(got, "group 2  deleted") || strings.Contains(got, "LSN 270336") {
		t.Errorf("group 2 from the last batch:\n%s", got)
	}
	if got := dumped(t, 0, "--verify", dir); strings.Contains(got, "LSN 270336") || !strings.Contains(got, "live: 4 batches") {
		t.Errorf("--verify printed\n%s", got)
	}
}

func TestJSON(t *testing.T) {
	var types []string
	entries := 0
	for line := range strings.Lines(dumped(t, 0, "--json", newLog(t))) {
		var o struct {
			Type    string
			Records []struct{ Entries []struct{ Index id.Index } }
		}
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		types = append(types, o.Type)
		for _, r := range o.Records {
			entries += len(r.Entries)
		}
	}
	if got := strings.Join(types, " "); got != "file superblock superblock batch batch batch batch end" || entries != 2 {
		t.Errorf("printed %s with %d entries", got, entries)
	}
}

// flip changes one bit at pos.
func flip(t *testing.T, dir string, pos int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, ringName), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], pos); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], pos); err != nil {
		t.Fatal(err)
	}
}

func TestFaults(t *testing.T) {
	dir := newLog(t)
	flip(t, dir, 77824+70) // the last batch
	if got := dumped(t, 0, dir); !strings.Contains(got, "LSN 274432  pos 77824  a torn batch, never acknowledged: the end") {
		t.Errorf("a torn tail:\n%s", got)
	}
	flip(t, dir, 77824+70)
	flip(t, dir, 69632+70) // the one with the entries
	got := dumped(t, 1, dir)
	for _, want := range []string{"LSN 266240  pos 69632  a damaged batch", "DAMAGED: wal: ", "the batch at LSN 266240 (pos 69632) is damaged",
		"! LSN 270336", "live: 1 batches"} {
		if !strings.Contains(got, want) {
			t.Errorf("damage in the middle: %q is missing in\n%s", want, got)
		}
	}
	if got := dumped(t, 1, "--json", dir); !strings.Contains(got, `"damage":{"later_lsn":270336,"lsn":266240`) {
		t.Errorf("damage in JSON:\n%s", got)
	}
	flip(t, dir, 20) // a superblock
	if got := dumped(t, 1, dir); !strings.Contains(got, "superblock at pos 0: the superblock's CRC is") {
		t.Errorf("a damaged superblock:\n%s", got)
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--version"}, 0, "ackline "},
		{[]string{"--help"}, 0, "A torn batch at the end"},
		{nil, 2, "waldump --help explains"},
		{[]string{"--nonsense"}, 2, "--nonsense"},
		{[]string{"/no/such/file"}, 1, "/no/such/file"},
		{[]string{t.TempDir()}, 1, ringName},
		{[]string{"main_test.go"}, 1, "superblock"},
	} {
		got := strings.Join(strings.Fields(dumped(t, c.code, c.args...)), " ")
		if !strings.Contains(got, c.want) {
			t.Errorf("%v: printed %q, want %q in it", c.args, got, c.want)
		}
	}
}
