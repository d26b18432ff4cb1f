// Package ahead makes batches before they are needed.
//
// The problem: to compress a batch takes longer than to store it. Done by the thread that waits for answers, it would let them be seen late; done when
// an operation is due, it would count as the system's time. So it is done on a goroutine of its own, some batches in advance, and a batch
// that is needed before it is made is waited for, which the caller counts as the generator's lag.
package ahead

import "ackline/loadgen/frame"

// Batch is one that is made.
type Batch struct {
	Stream int // index into what Start was given
	Seq    uint64
	Bytes  []byte // without times and CRC
	Values int64  // bytes of its values
}

// Make makes it the one that begins with record seq of a stream, whose number is id. draw is that of its key, where keys are drawn.
func (b *Batch) Make(maker *frame.Shaped, stream int, id uint32, seq, draw uint64) {
	b.Stream, b.Seq = stream, seq
	b.Bytes, b.Values = maker.Drawn(b.Bytes[:0], id, seq, draw)
}

// Maker makes the batches of one connection: of its streams in turn, each from record 0 on. Its methods are called from one goroutine.
type Maker struct {
	full, free  chan *Batch
	stop, done  chan struct{}
	taken, late int64
}

const (
	// most is how many batches are made in advance, unless they may take more than mostBytes.
	most      = 64
	mostBytes = 16 << 20
)

// Start starts making batches of the streams with these numbers.
func Start(maker *frame.Shaped, ids []uint32) *Maker {
	n := max(2, min(most, mostBytes/maker.MaxLen()))
	m := &Maker{full: make(chan *Batch, n), free: make(chan *Batch, n), stop: make(chan struct{}), done: make(chan struct{})}
	for range n {
		m.free <- &Batch{}
	}
	seqs := make([]uint64, len(ids))
	go func() {
		defer close(m.done)
		for turn := 0; ; turn++ {
			select {
			case <-m.stop:
				return
			case b := <-m.free:
				i := turn % len(ids)
				b.Make(maker, i, ids[i], seqs[i], 0)
				seqs[i] += uint64(maker.Records())
				m.full <- b // there is room: there are no more batches than places
			}
		}
	}()
	return m
}

// Take returns the next batch, which is the caller's until Free.
func (m *Maker) Take() *Batch {
	m.taken++
	select {
	case b := <-m.full:
		return b
	default:
		m.late++
		return <-m.full
	}
}

// Free gives a batch back.
func (m *Maker) Free(b *Batch) { m.free <- b }

// Counts is how many batches were taken, and how many of them had to be waited for.
func (m *Maker) Counts() (late, taken int64) { return m.late, m.taken }

// Close ends the making.
func (m *Maker) Close() {
	close(m.stop)
	<-m.done
}
