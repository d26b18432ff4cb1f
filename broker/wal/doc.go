// Package wal is the node's write-ahead log: one ring file that every raft group of the node appends to.
//
// The problem: a record may be acknowledged only once it is on disk, a sync costs as much for a megabyte as for a byte,
// and a node has a thousand groups. So all of them share one log, and one sync covers whatever all of them queued while
// the previous one was under way. Nothing waits for company: a writer that finds the log idle writes at once, on its own
// goroutine.
//
// # The write path
//
//	Signal   a source (a group) says that it has something; it is put on a list. No I/O.
//	Drive    whoever has signalled calls it. If nobody is writing: become the writer, let each listed source add its
//	         records to the batch (Collect), seal it (header, CRC, padding), write and sync it, publish where the entries
//	         lie, pass the writer's role to the syncer goroutine if more was listed meanwhile, and tell the sources
//	         (Durable). If somebody is writing: return, the syncer goes on with what was listed.
//
// There is at most one batch in flight, and every batch is synced before the next is written. All else follows from that:
// a batch on disk proves that everything before it was durable.
//
// What lies in the file is package ring's: two superblocks, then batches in a circle, each at its LSN modulo the ring's size.
//
// # Why a crash loses nothing that was acknowledged
//
//  1. Durable is called after the sync: finish comes after write, in Drive and in syncer.
//  2. A block is overwritten only once the head has passed it, and the head moves in memory only after the superblock
//     that records it is synced. So recovery, which starts at that head or an older one, finds all that is needed.
//  3. Recovery reads batch by batch until one is bad. A power cut leaves at most the one batch that was in flight bad, and
//     nothing valid behind it. A bad batch with a valid one behind it that was written after the bad one had been synced
//     is therefore damage, not a cut: that is a CorruptError, never a silent truncation.
//  4. What recovery reads as the last batch may be in the page cache or the drive's cache only: the process may have been
//     killed between write and sync. Were it handed out and then lost by a power cut, a replica would forget what it
//     has promised. So before anything else, Open writes that batch's payload again, behind it, as the first batch of a
//     new generation, and syncs. Earlier batches were synced before the last was written.
//  5. If the power goes during or after that, the original may be gone while the repeat is there. The repeat says from
//     which LSN on it replaces everything, so that recovery steps over the gap.
//
// # Locks
//
// In this order; a goroutine that holds one takes only those below it:
//
//	the source's own lock   held when it calls Signal, Entries, Term, First, Last or State; never when Collect or
//	                        Durable is called
//	WAL.reclaiming          one Reclaim, Forget or Close at a time
//	the writer's role       not a mutex: queue.busy. Its holder owns the batch, the tail and the previous LSN. Close takes
//	                        it for good before WAL.reclaiming: a Reclaim that waits for it then is turned away
//	WAL.superMu             the superblock and its writing: head, and the bound that the writer may have to wait for
//	index.mu                where everything lies
//	queue.mu                who has something to write; head and tail
//
// Collect and Durable are called with none of the mutexes held; Fatal perhaps with WAL.reclaiming, so it may call Close, but
// not Reclaim or Forget.
package wal
