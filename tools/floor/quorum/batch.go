package quorum

import (
	"math/bits"

	"ackline/broker/vfs"
	"ackline/tools/floor/echo"
	"ackline/tools/floor/link"
)

// ownBit stands for the leader's own copy in a batch's sets; follower i has 1 << (i+1).
const ownBit = 1

// batch is what one turn of the leader has read: what is forwarded at once, to every follower as the same bytes.
type batch struct {
	buf     []byte // aligned: header, frames, and zeros up to a whole block once it is sealed
	fill    int    // bytes in use, the header included
	frames  int
	seq     uint64
	owed    []owed
	durable uint32 // copies that have it
	hopes   uint32 // copies that were given it and may yet have it
	refs    int    // pending, own, and each peer that has it in flight
}

// owed is one client's answers to the requests of a batch.
type owed struct {
	client *client
	bytes  int
}

// firstBatchBytes is the memory that a batch begins with; it keeps what it has grown to.
const firstBatchBytes = 16 << 10

// batch returns an empty one.
func (l *Leader) batch() *batch {
	if n := len(l.idle); n > 0 {
		b := l.idle[n-1] // the last one used: its memory is warm
		l.idle = l.idle[:n-1]
		return b
	}
	return &batch{buf: vfs.Aligned(min(firstBatchBytes, l.cfg.BatchBytes)), fill: echo.HeaderBytes}
}

func (l *Leader) unref(b *batch) {
	if b.refs--; b.refs > 0 {
		return
	}
	clear(b.owed)
	*b = batch{buf: b.buf, fill: echo.HeaderBytes, owed: b.owed[:0]}
	l.idle = append(l.idle, b)
}

// add appends a frame and notes that c is owed an answer of so many bytes.
func (b *batch) add(frame []byte, c *client, answer int) {
	if end := b.fill + len(frame); end > len(b.buf) {
		grown := vfs.Aligned(echo.Pad(max(end, 2*len(b.buf))))
		copy(grown, b.buf[:b.fill])
		b.buf = grown
	}
	b.fill += copy(b.buf[b.fill:], frame)
	b.frames++
	if n := len(b.owed); n > 0 && b.owed[n-1].client == c {
		b.owed[n-1].bytes += answer
		return
	}
	b.owed = append(b.owed, owed{c, answer})
}

// seal closes the open batch, if it holds anything, and gives it to every copy that is there and has room.
func (l *Leader) seal() {
	b := l.open
	if b.frames == 0 {
		return
	}
	l.open = l.batch()
	l.seq++
	b.seq = l.seq
	clear(b.buf[b.fill:echo.Pad(b.fill)])
	link.PutMessage(b.buf, link.Message{Header: echo.Header{Sequence: b.seq, PayloadLen: b.fill - echo.HeaderBytes, Frames: b.frames}, Kind: link.KindBatch})
	l.stats.Batches++
	l.stats.Requests += int64(b.frames)
	l.stats.Bytes += int64(b.fill - echo.HeaderBytes)
	b.refs++
	l.pending.push(b)
	for _, k := range l.peers {
		switch {
		case k.fd < 0:
		case k.size >= l.cfg.WindowBytes:
			l.stats.Skipped++
		default:
			b.refs++
			b.hopes |= k.bit
			k.size += b.fill
			k.flight.push(b)
			l.send(k)
		}
	}
	// Behind the followers: what they have to do takes longer.
	if l.ownSize >= l.cfg.WindowBytes {
		l.stats.Skipped++
		return
	}
	b.refs++
	b.hopes |= ownBit
	l.ownSize += b.fill
	l.own.push(b)
}

// decide ends the wait for batches at the front: those that a majority has are answered, those that no majority can have
// any more are given up and their clients dropped, because nobody can tell them what became of their requests. Answers
// keep the order of the requests, so a batch waits for those before it.
func (l *Leader) decide() {
	for l.pending.len() > 0 {
		b := *l.pending.at(0)
		switch {
		case bits.OnesCount32(b.durable) >= l.majority:
			for _, o := range b.owed {
				l.due(o.client, o.bytes)
			}
		case bits.OnesCount32(b.durable|b.hopes) < l.majority:
			for _, o := range b.owed {
				l.giveUp(o.client)
			}
		default:
			return
		}
		l.pending.pop()
		l.unref(b)
	}
}

// alive is how many copies can be had: followers that are connected, and the leader's own.
func (l *Leader) alive() int {
	n := 1
	for _, k := range l.peers {
		if k.fd >= 0 {
			n++
		}
	}
	return n
}

// roomy is how many copies would be given a batch that is sealed by now.
func (l *Leader) roomy() int {
	n := 0
	if l.ownSize < l.cfg.WindowBytes {
		n++
	}
	for _, k := range l.peers {
		if k.fd >= 0 && k.size < l.cfg.WindowBytes {
			n++
		}
	}
	return n
}
