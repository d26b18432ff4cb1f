package frame

import (
	"hash/crc32"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
)

// FullFrame is the body size beyond which a frame takes no further message; a larger message has a frame to itself. The
// receiver keeps a frame's memory for as long as any entry in it, so a group that goes quiet may hold back this much, and
// not more, of what others sent.
const FullFrame = 64 << 10

// Batch gathers what is to be sent over one connection and gives it out in pieces, so that any number of messages go to
// the kernel in one call. Small entries are copied; the data of large ones is referred to and never copied: it must not
// change, as raft's entries never do.
//
// One goroutine at a time: first Message and Heartbeat, then Seal, then Next and Advance, then Reset.
type Batch struct {
	maxBody int
	minRef  int

	buf    []byte // everything but the large data
	refs   []ref  // the large data
	frames []span
	sealed int // of frames
	left   int // bytes that Advance has not passed

	messages int

	pos, ref, refOff int // where Advance is: in buf, in refs, in refs[ref].data
}

// ref is large data that belongs before buf[at].
type ref struct {
	at   int
	data []byte
}

// span is one frame.
type span struct {
	kind              Kind
	at, ref           int // where it begins in buf, and the first of refs that may be in it
	size              int // with its header
	messages, entries int
}

// NewBatch returns an empty batch. Frames have bodies of up to maxBody bytes; an entry's data is referred to from minRef
// bytes on.
func NewBatch(maxBody, minRef int) *Batch { return &Batch{maxBody: maxBody, minRef: max(minRef, 1)} }

// Left is the number of bytes that are not sent yet.
func (b *Batch) Left() int { return b.left }

// Messages is how many messages the batch holds.
func (b *Batch) Messages() int { return b.messages }

// Frames is how many frames the batch holds.
func (b *Batch) Frames() int { return len(b.frames) }

// Reset empties the batch. Of its memory it keeps up to keep bytes.
func (b *Batch) Reset(keep int) {
	clear(b.refs) // or the data stays reachable
	b.buf, b.refs, b.frames = b.buf[:0], b.refs[:0], b.frames[:0]
	if cap(b.buf) > keep {
		b.buf, b.refs, b.frames = nil, nil, nil
	}
	b.sealed, b.left, b.messages, b.pos, b.ref, b.refOff = 0, 0, 0, 0, 0, 0
}

// Message adds a message and returns by how much the batch grew. A message that does not fit any frame is an error and
// not added; one that never leaves a node panics.
func (b *Batch) Message(g id.GroupID, m *pb.Message) (int, error) {
	size := MessageBytes(m)
	if err := checkMessage(m, size, b.maxBody); err != nil {
		return 0, err
	}
	before := b.left
	f := b.open(size, len(m.Entries))
	f.messages++
	f.entries += len(m.Entries)
	f.size += size
	b.buf = appendMessage(slices.Grow(b.buf, min(size, 2*FullFrame)), g, m)
	for i := range m.Entries {
		e := &m.Entries[i]
		b.buf = appendEntry(b.buf, e)
		if len(e.Data) >= b.minRef {
			b.refs = append(b.refs, ref{len(b.buf), e.Data})
		} else {
			b.buf = append(b.buf, e.Data...)
		}
	}
	b.messages++
	b.left += size
	return b.left - before, nil
}

// open returns the frame that takes size more bytes with so many entries.
func (b *Batch) open(size, entries int) *span {
	if n := len(b.frames); n > b.sealed {
		f := &b.frames[n-1]
		if f.kind == KindMessages && f.size-HeaderSize+size <= min(FullFrame, b.maxBody) && f.messages < MaxMessages && f.entries+entries <= MaxEntries {
			return f
		}
	}
	return b.begin(KindMessages)
}

func (b *Batch) begin(k Kind) *span {
	b.frames = append(b.frames, span{kind: k, at: len(b.buf), ref: len(b.refs), size: HeaderSize})
	b.buf = append(b.buf, make([]byte, HeaderSize)...)
	b.left += HeaderSize
	return &b.frames[len(b.frames)-1]
}

// Heartbeat adds a heartbeat, in a frame of its own.
func (b *Batch) Heartbeat(h *Heartbeat) int {
	f := b.begin(KindHeartbeat)
	before := len(b.buf)
	b.buf = h.append(b.buf)
	n := len(b.buf) - before
	f.size += n
	b.left += n
	return HeaderSize + n
}

// Seal completes the frames. It does nothing for those that are complete.
func (b *Batch) Seal() {
	for ; b.sealed < len(b.frames); b.sealed++ {
		f := &b.frames[b.sealed]
		end, r := len(b.buf), f.ref
		if b.sealed+1 < len(b.frames) {
			end = b.frames[b.sealed+1].at
		}
		head := b.buf[f.at:][:HeaderSize]
		putHeader(head, f.kind, f.size-HeaderSize, f.messages, f.entries)
		crc := crc32.Checksum(head[:crcOff], castagnoli)
		// A ref at end belongs to this frame: the next begins with a header, which stands in buf.
		for pos := f.at + HeaderSize; ; r++ {
			if r == len(b.refs) || b.refs[r].at > end {
				crc = crc32.Update(crc, castagnoli, b.buf[pos:end])
				break
			}
			crc = crc32.Update(crc, castagnoli, b.buf[pos:b.refs[r].at])
			crc = crc32.Update(crc, castagnoli, b.refs[r].data)
			pos = b.refs[r].at
		}
		le.PutUint32(head[crcOff:], crc)
	}
}

// Next appends to dst the next pieces to send, as long as dst has room and until they have maxBytes.
func (b *Batch) Next(dst [][]byte, maxBytes int) [][]byte {
	pos, r, off := b.pos, b.ref, b.refOff
	for len(dst) < cap(dst) && maxBytes > 0 {
		var piece []byte
		switch end := b.until(r); {
		case pos < end:
			piece, pos = b.buf[pos:end], end
		case r < len(b.refs):
			piece, off = b.refs[r].data[off:], 0
			r++
		default:
			return dst
		}
		piece = piece[:min(len(piece), maxBytes)]
		maxBytes -= len(piece)
		dst = append(dst, piece)
	}
	return dst
}

// until is where buf is interrupted by refs[r].
func (b *Batch) until(r int) int {
	if r < len(b.refs) {
		return b.refs[r].at
	}
	return len(b.buf)
}

// Advance passes over n bytes that were sent.
func (b *Batch) Advance(n int) {
	b.left -= n
	for n > 0 {
		if end := b.until(b.ref); b.pos < end {
			k := min(n, end-b.pos)
			b.pos += k
			n -= k
			continue
		}
		k := min(n, len(b.refs[b.ref].data)-b.refOff)
		b.refOff += k
		n -= k
		if b.refOff == len(b.refs[b.ref].data) {
			b.refs[b.ref].data = nil
			b.ref++
			b.refOff = 0
		}
	}
}
