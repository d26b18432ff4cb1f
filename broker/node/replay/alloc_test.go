//go:build !race

package replay

import (
	"fmt"
	"runtime"
	"testing"

	"ackline/broker/id"
	"ackline/broker/partition"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/broker/wal"
)

// maxEntryBytes is what recovery may keep of an entry that no segment holds, in the WAL's index and in the partition together. What
// 4 GiB of entries of 1 KiB need is then at most 160 MiB.
const maxEntryBytes = 40

// TestRecoveryAllocatesLittleForAnEntry measures what lives behind a recovery, over that of half as many entries: buffers are not counted.
func TestRecoveryAllocatesLittleForAnEntry(t *testing.T) {
	for _, c := range []struct{ groups, perGroup, perBatch int }{
		{1, 100_000, 100},
		{1, 20_000, 1},
		{100, 2_000, 10},
	} {
		t.Run(fmt.Sprintf("groups=%d/batch=%d", c.groups, c.perBatch), func(t *testing.T) {
			half := recovered(t, ring(t, c.groups, c.perGroup/2, c.perBatch))
			full := recovered(t, ring(t, c.groups, c.perGroup, c.perBatch))
			each := float64(full-half) / float64(c.groups*c.perGroup/2)
			t.Logf("%.1f bytes live per entry", each)
			if each > maxEntryBytes {
				t.Errorf("%.1f bytes live per entry, at most %d may", each, maxEntryBytes)
			}
		})
	}
}

// ring returns a WAL of many small entries, each of one record and all of them committed.
func ring(t *testing.T, groups, perGroup, perBatch int) wal.Options {
	o := wal.Options{FS: vfs.NewMem(), Path: "/ring", RingBytes: 512 << 20, BatchBytes: 1 << 20, Method: syncmethod.All()[0], Inline: true}
	w, _, err := wal.Open(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	batch := make([]byte, 100)
	batch[16] = 2
	for i := range 8 { // no producer
		batch[43+i] = 0xFF
	}
	fs := make([]*filler, groups)
	for i := range fs {
		fs[i] = &filler{group: id.GroupID(i + 2), next: 1, batch: batch, each: perBatch}
	}
	for range perGroup / perBatch {
		for _, f := range fs {
			w.Signal(f)
		}
		w.Drive()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return o
}

// recovered is how many bytes live on behalf of a recovery: those that are gone once its results are. The disk's memory is not among them.
func recovered(t *testing.T, o wal.Options) int64 {
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools held is gone after the second
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	r := New(func(id.GroupID) *partition.Partition { return partition.New(partition.Config{}) })
	w, _, err := wal.Open(o, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	with := live()
	runtime.KeepAlive(r)
	runtime.KeepAlive(w)
	without := live()
	runtime.KeepAlive(o.FS)
	return with - without
}
