package replay

import (
	"testing"

	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/partition"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/broker/wal"
)

// filler appends entries of one record batch each, some to a WAL batch.
type filler struct {
	group id.GroupID
	next  id.Index
	batch []byte
	each  int
}

func (f *filler) Collect(b *wal.Batch) {
	b.HardState(f.group, 2, wal.HardState{Term: 1, Vote: 2, Commit: f.next - 1})
	es := make([]wal.Entry, f.each)
	for i := range es {
		data := append([]byte(nil), f.batch...)
		kwire.PatchBatch(data, int64(f.next)-1, 1)
		es[i] = wal.Entry{Index: f.next, Term: 1, Data: data}
		f.next++
	}
	b.Entries(f.group, 2, es)
}

func (f *filler) Durable(id.LSN) {}

// replayFixture is a WAL of 10,000 entries of 1 KiB, each of one record, on a disk in memory.
func replayFixture(tb testing.TB, perBatch int) wal.Options {
	o := wal.Options{FS: vfs.NewMem(), Path: "/ring", RingBytes: 128 << 20, BatchBytes: 1 << 20, Method: syncmethod.All()[0], Inline: true}
	w, _, err := wal.Open(o, nil)
	if err != nil {
		tb.Fatal(err)
	}
	batch := make([]byte, 1024)
	batch[16] = 2
	for i := range 8 { // no producer
		batch[43+i] = 0xFF
	}
	f := &filler{group: 2, next: 1, batch: batch, each: perBatch}
	for f.next <= 10_000 {
		w.Signal(f)
		w.Drive()
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return o
}

func replayOnce(tb testing.TB, o wal.Options) {
	r := New(func(id.GroupID) *partition.Partition { return partition.New(partition.Config{}) })
	w, _, err := wal.Open(o, r)
	if err != nil {
		tb.Fatal(err)
	}
	if _, _, applied := r.parts[2].Recovered(); applied < 9_800 {
		tb.Fatalf("%d of 10,000 entries are applied", applied)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
}

func TestReplayAppliesWhatIsCommitted(t *testing.T) { replayOnce(t, replayFixture(t, 100)) }

// BenchmarkReplay replays 10,000 entries of 1 KiB, decoded and applied, from memory: ns/op is the time per 10,000.
func BenchmarkReplay(b *testing.B) {
	for name, perBatch := range map[string]int{"alone": 1, "batched": 100} {
		b.Run(name, func(b *testing.B) {
			o := replayFixture(b, perBatch)
			for b.Loop() {
				replayOnce(b, o)
			}
		})
	}
}
