// Package seglog keeps a partition's committed records. The problem: consumers want contiguous bytes by offset, raft wants
// entries by index, the operator wants old data gone and damage noticed, and ten thousand partitions on one node may cost
// neither memory nor a sync each. What makes it easy is that only committed entries come here, so that nothing but the
// last page of a file is ever written again, and nothing but a crash or a full disk ever shortens one.
//
// A log is a chain of segments. A segment is three files that are named after the index of its first entry:
//
//	00000000000000000042.seg   record batches, one per data entry: exactly the bytes that a Fetch returns
//	00000000000000000042.idx   a header with the state before the first entry, then one row of 64 bytes per entry
//	00000000000000000042.ctl   payloads of entries that are not data, missing when there are none
//
// and the empty file 00000000000000000042.low names the entry that the whole log begins with. Names are indexes, not
// offsets, because segments without data would share an offset. Indexes have no gap, so a row stands where its index says;
// offset, byte position, time and term are searched for among the rows, a page at a time, through the page cache. Memory
// holds a few hundred bytes per segment and no row. Package layout has the formats, package fdcache the descriptors.
//
// # What survives a crash
//
// Sync makes everything durable and returns a Checkpoint, which the caller stores (in the WAL). Open gets the newest one that
// was stored. The argument that all of it is there:
//
//  1. Sync syncs every file that was written, and then the directory if names changed, before it returns the checkpoint. So
//     what a checkpoint covers is on the disk before the checkpoint is.
//  2. The checkpoint states the lengths of the newest segment's files; each header states those of the segment before.
//     A header is written once, after its predecessor's last byte, and so is covered by every checkpoint that needs it.
//  3. What lies beyond the checkpoint may be anything: whole, torn, zeros, files with or without names. Open removes it, and the
//     next Sync makes that durable before its checkpoint, the first one that it could be in the way of. Cut ends are
//     synced with the data that follows them.
//  4. Retention removes whole segments from the old end. Renaming .low is what decides it, atomically and without needing
//     space on a full disk; the rename is synced before any file goes. Open believes the .low file where it is ahead
//     of the checkpoint, and finishes the removal. A checkpoint whose segments are all gone leaves an empty log that
//     goes on where the checkpoint ended.
//
// Hence a file that is missing or shorter than the checkpoint or the next header says was damaged, and is never a crash's
// doing. Every byte is under some checksum: header and base state have one each, each row has one that covers its place
// too, and holds that of its payload. Rows are checked whenever they are read; payloads once after Open, before they are
// handed out. Verify reads what nobody reads.
//
// # What a full disk does
//
// A write that fails for want of space leaves the log as it was before the chunk that failed: the ends are cut back, a
// segment that was just begun is removed, and readers never saw any of it. The error matches ErrNoSpace; appending goes on
// when there is space. A failed sync, and any other failed write, is ErrFatal and final.
//
// # Considered and left out
//
// A per-segment table of every 64th offset in memory would find a row with one read; guessing by proportion needs no table
// and finds it with one or two when rows are alike (layout's TestSearch holds it to that). An empty marker file created by
// each retention step would need an inode on a disk that may be full for want of just that step; renaming the one that is
// there does not.
package seglog
