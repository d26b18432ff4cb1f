package wal

import (
	"fmt"
	"slices"

	"ackline/broker/id"
	"ackline/broker/wal/ring"
)

// Entry is one raft entry.
type Entry = ring.Entry

// HardState is what raft must not forget beside its entries.
type HardState = ring.HardState

// Batch is what is written next. It exists between the beginning and the end of Collect, on the writer's goroutine; what
// it is given is copied before the call returns.
//
// A group's records take effect in the order in which they are added.
type Batch struct {
	b    ring.Builder
	lsn  id.LSN
	soft int           // what its length should not exceed
	fits [classes]bool // what the ring is not too full for

	entries int // added
}

// allFit is for batches that are no source's.
var allFit = [classes]bool{true, true, true}

func (b *Batch) reset(lsn id.LSN, soft int, fits [classes]bool) {
	b.b.Reset(soft)
	b.lsn, b.soft, b.fits, b.entries = lsn, soft, fits, 0
}

// LSN is where this batch will start.
func (b *Batch) LSN() id.LSN { return b.lsn }

// Room is how many more bytes the batch should take. A source that has more adds at least one entry, so that it gets on,
// and what fits, and signals itself again. Room is 0 when CheckpointsOnly.
func (b *Batch) Room() int {
	if b.CheckpointsOnly() {
		return 0
	}
	return b.soft - b.b.Len()
}

// CheckpointsOnly tells that the ring is too full for entries, and that this is a call that SignalCheckpoint or SignalVote
// asked for. Add checkpoints, snapshots and tombstones, and what Votes allows; keep entries back and signal for them as usual.
func (b *Batch) CheckpointsOnly() bool { return !b.fits[forEntries] }

// Votes tells that, be the ring too full for entries, there is room for hard states with another term or vote, and for entries
// without data, which are those that leaders begin their terms with.
func (b *Batch) Votes() bool { return b.fits[forVotes] }

// Entries adds entries with consecutive indexes. They replace the group's entries from es[0].Index on.
func (b *Batch) Entries(g id.GroupID, r id.ReplicaID, es []Entry) {
	if len(es) == 0 {
		return
	}
	if b.CheckpointsOnly() && (!b.Votes() || slices.ContainsFunc(es, func(e Entry) bool { return len(e.Data) > 0 })) {
		panic(fmt.Sprintf("wal: group %d adds %d entries to a batch that is for checkpoints only", g, len(es)))
	}
	b.entries += len(es)
	b.b.Entries(g, r, es)
}

// HardState adds the group's hard state. One that differs from the last in Commit alone needs no write of its own.
func (b *Batch) HardState(g id.GroupID, r id.ReplicaID, hs HardState) { b.b.HardState(g, r, hs) }

// Checkpoint says that entries up to flushed, whose term is given, are durable elsewhere and no longer needed here. hs is
// the group's newest hard state, not that of the time of the flush. payload is the caller's; the index keeps it in memory.
func (b *Batch) Checkpoint(g id.GroupID, r id.ReplicaID, flushed id.Index, term id.Term, hs HardState, payload []byte) {
	b.b.Checkpoint(g, r, flushed, term, hs, payload)
}

// Snapshot says that the group's log is empty and goes on behind index, whose term is given: all entries added before are
// void, those above index too. The hard state stays.
func (b *Batch) Snapshot(g id.GroupID, r id.ReplicaID, index id.Index, term id.Term, payload []byte) {
	b.b.Snapshot(g, r, index, term, payload)
}

// Delete adds a tombstone: all that the WAL holds of the group is void. It is kept until Forget.
func (b *Batch) Delete(g id.GroupID) { b.b.Delete(g) }
