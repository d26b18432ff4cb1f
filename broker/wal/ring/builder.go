package ring

import (
	"encoding/binary"
	"fmt"
	"math"

	"ackline/broker/crc"
	"ackline/broker/id"
	"ackline/broker/vfs"
)

// Builder makes a batch in aligned memory that grows as needed and is used again. What it is given is copied once, to
// where it is written from.
type Builder struct {
	mem     []byte // aligned; a whole number of blocks
	n       int    // bytes used, header included
	records uint32

	known    []known // parts of mem, in order
	combiner crc.Combiner
}

// Reset begins an empty batch. Memory of more than twice ordinary bytes is given back.
func (b *Builder) Reset(ordinary int) {
	if size := 2 * int(vfs.RoundUp(int64(ordinary))); len(b.mem) > size || b.mem == nil {
		b.mem = vfs.Aligned(size)
	}
	b.n, b.records, b.known = HeaderSize, 0, b.known[:0]
}

// Len is the batch's size so far, without padding.
func (b *Builder) Len() int { return b.n }

// Records is the number of records so far.
func (b *Builder) Records() uint32 { return b.records }

// Entries adds entries with consecutive indexes, at least one.
func (b *Builder) Entries(g id.GroupID, r id.ReplicaID, es []Entry) {
	size := entriesHeadSize
	for i := range es {
		if want := es[0].Index + id.Index(i); es[i].Index != want {
			panic(fmt.Sprintf("wal: group %d: entry %d stands where entry %d belongs", g, es[i].Index, want))
		}
		size += EntryHeaderSize + pad8(len(es[i].Data))
	}
	p := b.add(g, r, Entries, es[0].Index, size)
	le := binary.LittleEndian
	le.PutUint64(p, uint64(len(es)))
	p = p[entriesHeadSize:]
	at := b.n - len(p)
	for i := range es {
		e := &es[i]
		le.PutUint64(p, uint64(e.Term))
		le.PutUint32(p[8:], uint32(len(e.Data)))
		sum := e.CRC
		if sum == 0 {
			sum = DataCRC(e.Data)
		}
		le.PutUint32(p[12:], sum)
		le.PutUint64(p[16:], uint64(e.Type))
		if len(e.Data) >= crc.CombineFrom {
			b.known = append(b.known, known{at + EntryHeaderSize, len(e.Data), sum})
		}
		p = put(p[EntryHeaderSize:], e.Data)
		at += EntryHeaderSize + pad8(len(e.Data))
	}
}

// HardState adds a hard state.
func (b *Builder) HardState(g id.GroupID, r id.ReplicaID, hs HardState) {
	hs.put(b.add(g, r, Hard, 0, hardStateSize))
}

// Checkpoint adds a checkpoint.
func (b *Builder) Checkpoint(g id.GroupID, r id.ReplicaID, flushed id.Index, term id.Term, hs HardState, state []byte) {
	p := b.add(g, r, Checkpoint, flushed, termSize+hardStateSize+len(state))
	binary.LittleEndian.PutUint64(p, uint64(term))
	hs.put(p[termSize:])
	put(p[termSize+hardStateSize:], state)
}

// Snapshot adds a snapshot.
func (b *Builder) Snapshot(g id.GroupID, r id.ReplicaID, index id.Index, term id.Term, state []byte) {
	p := b.add(g, r, Snapshot, index, termSize+len(state))
	binary.LittleEndian.PutUint64(p, uint64(term))
	put(p[termSize:], state)
}

// Delete adds a tombstone.
func (b *Builder) Delete(g id.GroupID) { b.add(g, 0, Deleted, 0, 0) }

// Repeat takes the records of another batch, header included.
func (b *Builder) Repeat(batch []byte, records uint32) {
	b.n, b.known = HeaderSize, b.known[:0]
	copy(b.extend(len(batch)-HeaderSize), batch[HeaderSize:])
	b.records = records
}

// add appends a record's header and returns room for its payload and padding, with old bytes in it.
func (b *Builder) add(g id.GroupID, r id.ReplicaID, k Kind, index id.Index, size int) []byte {
	if int64(size) > math.MaxUint32-8 {
		panic(fmt.Sprintf("wal: group %d: %v of %d bytes, the format ends at %d", g, k, size, uint32(math.MaxUint32-8)))
	}
	p := b.extend(RecordHeaderSize + pad8(size))
	le := binary.LittleEndian
	le.PutUint64(p, uint64(g))
	le.PutUint64(p[8:], uint64(r))
	le.PutUint64(p[16:], uint64(size)|uint64(k)<<32)
	le.PutUint64(p[24:], uint64(index))
	b.records++
	return p[RecordHeaderSize:]
}

func (b *Builder) extend(n int) []byte {
	if b.n+n > len(b.mem) {
		mem := vfs.Aligned(int(vfs.RoundUp(int64(max(b.n+n, 2*len(b.mem))))))
		copy(mem, b.mem[:b.n])
		b.mem = mem
	}
	p := b.mem[b.n : b.n+n : b.n+n]
	b.n += n
	return p
}

// put copies data to p, clears up to the next multiple of 8 and returns what follows.
func put(p, data []byte) []byte {
	n := copy(p, data)
	clear(p[n:pad8(n)])
	return p[pad8(n):]
}

// Seal completes the batch with h, whose length and record count it fills in. It returns the batch up to its payload's
// end, and the blocks to write.
func (b *Builder) Seal(h *Header) (batch, blocks []byte) {
	h.Length, h.Records = uint32(b.n-HeaderSize), b.records
	batch, blocks = b.mem[:b.n], b.mem[:h.Size()]
	h.put(batch)
	sum := extend(&b.combiner, crc.Sum(batch[:batchCRCOff]), batch, HeaderSize, b.known)
	binary.LittleEndian.PutUint32(batch[batchCRCOff:], sum)
	clear(blocks[b.n:])
	return batch, blocks
}
