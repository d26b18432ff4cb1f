// Package ring is the WAL's file: what lies in it, and how to tell at start which of it counts. The problem is a file
// that is overwritten in a circle and may be cut off by a power failure at any byte: of what is found in it, some is
// present, some is left from earlier laps, some was replaced after a crash, some is half written, and some may be damaged.
// Nothing of that may be taken for another.
//
// A byte's place is its LSN modulo the ring's size, so that a batch says by its LSN where it must lie, and what an earlier
// lap left is told from the present by its place alone. Batches and superblocks are drawn in format.go, records in
// record.go. LSNs begin at the ring's size, so that 0 is never one.
//
// The file is filled with zeros and synced when it is made: a write then changes blocks that exist, and a sync needs no
// metadata.
//
// The package writes where it is told and scans; when to write what is package wal's business.
package ring
