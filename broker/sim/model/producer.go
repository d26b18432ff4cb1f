package model

import (
	"fmt"
	"math/rand/v2"
)

// Outcome is how a try ended.
type Outcome uint8

// The outcomes. After a Failed one the batch is in no log; after an Unknown one it may be.
const (
	Acked Outcome = iota
	Failed
	Unknown
)

// Producer sends numbered batches to one partition. A plain one has one in flight and makes a new batch for every try; an
// idempotent one has several, and when one fails waits for the others and sends again from the first that is not
// acknowledged.
type Producer struct {
	ID    int
	truth *Truth
	r     *rand.Rand
	plain bool

	queue    []*slot // sent or to be sent, none before the first that is not acknowledged
	cursor   int     // the next to send
	inFlight int
	broken   bool
	seq      int   // of the next slot
	record   int32 // sequence of its first record
	Done     int   // acknowledged in order
}

type slot struct {
	seq    int
	record int32
	n      int
	tries  int
	batch  *Batch
	done   bool
}

// window is how many batches an idempotent producer has in flight: what a broker remembers is two more.
const window = 3

// NewProducer returns a producer of a partition.
func NewProducer(n int, plain bool, t *Truth, seed uint64) *Producer {
	return &Producer{ID: n, truth: t, plain: plain, r: rand.New(rand.NewPCG(seed, uint64(n)))}
}

// Next returns what to send now, nil if the producer waits. fresh allows a batch that was not sent before.
func (p *Producer) Next(fresh bool) (*Batch, error) {
	most := window
	if p.plain {
		most = 1
	}
	if p.broken {
		if p.inFlight > 0 {
			return nil, nil
		}
		p.broken, p.cursor = false, 0
	}
	for p.cursor < len(p.queue) && p.queue[p.cursor].done {
		p.cursor++
	}
	if p.cursor == len(p.queue) {
		if len(p.queue) >= most || !fresh {
			return nil, nil
		}
		p.queue = append(p.queue, &slot{seq: p.seq, record: p.record, n: 1 + p.r.IntN(3)})
		p.seq++
		p.record += int32(p.queue[p.cursor].n)
	}
	s := p.queue[p.cursor]
	if s.batch == nil || p.plain {
		name, pid, record := fmt.Sprintf("producer %d, batch %d", p.ID, s.seq), int64(p.ID), s.record
		if p.plain {
			name, pid, record = fmt.Sprintf("plain %s, try %d", name, s.tries), -1, -1
		}
		epoch := int16(0)
		if p.plain {
			epoch = -1
		}
		b, err := newBatch(name, s.n, pid, epoch, record)
		if err != nil {
			return nil, err
		}
		b.Producer, b.Seq = p.ID, s.seq
		s.batch = b
		p.truth.made(b)
	}
	s.tries++
	s.batch.Tries++
	p.cursor++
	p.inFlight++
	return s.batch, nil
}

// Ended takes the outcome of a try.
func (p *Producer) Ended(b *Batch, o Outcome, base int64) error {
	p.inFlight--
	switch o {
	case Acked:
		if err := p.truth.Acked(b, base); err != nil {
			return err
		}
		for _, s := range p.queue {
			s.done = s.done || s.batch == b
		}
		for len(p.queue) > 0 && p.queue[0].done {
			p.queue = p.queue[1:]
			p.cursor = max(0, p.cursor-1)
			p.Done++
		}
	case Failed:
		b.Failed++
		p.broken = true
	case Unknown:
		p.broken = true
	}
	return nil
}

// Idle tells whether everything that was sent is acknowledged.
func (p *Producer) Idle() bool { return len(p.queue) == 0 && p.inFlight == 0 }
