package model

import (
	"bytes"
	"fmt"

	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/wal"
)

// Truth is what is known of one partition. Every method that returns an error returns it for a broken promise.
type Truth struct {
	entries []wal.Entry // by index-1: those that any replica has applied
	batches []*Batch    // in the order of their offsets
	byBody  map[string]*Batch
	next    int64       // offset behind the last applied batch
	last    map[int]int // by producer: Seq of its last batch in the log
	acked   int64       // offset behind the last acknowledged batch
	all     []*Batch
	leaders map[id.Term]id.ReplicaID
	high    map[id.Term]int64 // as the leader of the term said last
}

// NewTruth returns what is known of an empty partition.
func NewTruth() *Truth {
	return &Truth{byBody: map[string]*Batch{}, last: map[int]int{}, leaders: map[id.Term]id.ReplicaID{}, high: map[id.Term]int64{}}
}

// Made records a batch that is about to be sent.
func (t *Truth) made(b *Batch) {
	t.byBody[body(b.raw)] = b
	t.all = append(t.all, b)
}

// Applied takes an entry that a replica applies: whoever applied it before must have applied the same.
func (t *Truth) Applied(r id.ReplicaID, e *wal.Entry) error {
	if n := len(t.entries); int(e.Index) <= n {
		if o := &t.entries[e.Index-1]; o.Term != e.Term || o.Type != e.Type || !bytes.Equal(o.Data, e.Data) {
			return fmt.Errorf("replica %d applies an entry of term %d at %d, %s; another applied one of term %d, %s",
				r, e.Term, e.Index, t.name(e), o.Term, t.name(o))
		}
		return nil
	} else if int(e.Index) != n+1 {
		return fmt.Errorf("replica %d applies entry %d, nobody has applied %d", r, e.Index, n+1)
	}
	known := *e
	known.Data = append([]byte(nil), e.Data...)
	t.entries = append(t.entries, known)
	if e.Type != 0 || len(e.Data) < headerBytes {
		return nil
	}
	return t.appliedBatch(r, e)
}

func (t *Truth) name(e *wal.Entry) string {
	if len(e.Data) >= headerBytes {
		if b := t.byBody[body(e.Data)]; b != nil {
			return b.Name
		}
	}
	return fmt.Sprintf("type %d, %d bytes", e.Type, len(e.Data))
}

func (t *Truth) appliedBatch(r id.ReplicaID, e *wal.Entry) error {
	b, info := t.byBody[body(e.Data)], kwire.PeekBatch(e.Data)
	switch {
	case b == nil:
		return fmt.Errorf("replica %d applies a batch at %d that nobody sent", r, e.Index)
	case info.Base != t.next:
		return fmt.Errorf("%s has offset %d at entry %d, the offset before is %d", b.Name, info.Base, e.Index, t.next-1)
	case id.Term(info.Epoch) != e.Term:
		return fmt.Errorf("%s has leader epoch %d and is an entry of term %d", b.Name, info.Epoch, e.Term)
	case b.applied:
		return fmt.Errorf("%s is in the log twice, at offsets %d and %d", b.Name, b.at, info.Base)
	case b.acked && b.at != info.Base:
		return fmt.Errorf("%s was acknowledged with offset %d and has %d", b.Name, b.at, info.Base)
	}
	if last, ok := t.last[b.Producer]; ok && b.Seq < last || b.Info.ProducerID >= 0 && b.Seq != last+1 && ok {
		return fmt.Errorf("%s comes behind batch %d of its producer", b.Name, last)
	}
	t.last[b.Producer] = b.Seq
	b.applied, b.at = true, info.Base
	t.next = info.Base + int64(info.LastDelta) + 1
	t.batches = append(t.batches, b)
	return nil
}

// Acked takes an acknowledgement.
func (t *Truth) Acked(b *Batch, base int64) error {
	if (b.applied || b.acked) && b.at != base {
		return fmt.Errorf("%s is acknowledged with offset %d and has %d", b.Name, base, b.at)
	}
	if o := t.At(base); !b.applied && base < t.next {
		return fmt.Errorf("%s is acknowledged with offset %d, where %s is", b.Name, base, o.Name)
	}
	b.acked, b.at = true, base
	t.acked = max(t.acked, base+int64(b.Info.LastDelta)+1)
	return nil
}

// AckedEnd is the offset behind the last batch that was acknowledged.
func (t *Truth) AckedEnd() int64 { return t.acked }

// At returns the batch that holds an offset; nil beyond the end.
func (t *Truth) At(o int64) *Batch {
	for i := len(t.batches) - 1; i >= 0; i-- {
		if b := t.batches[i]; b.at <= o {
			if o <= b.at+int64(b.Info.LastDelta) {
				return b
			}
			return nil
		}
	}
	return nil
}

// Leads takes the word of a replica that it leads in a term, with a high watermark unless it does not know that.
func (t *Truth) Leads(r id.ReplicaID, term id.Term, high int64, known bool) error {
	if other, ok := t.leaders[term]; ok && other != r {
		return fmt.Errorf("replicas %d and %d lead in term %d", other, r, term)
	}
	t.leaders[term] = r
	if !known {
		return nil
	}
	before, ok := t.high[term]
	if !ok {
		for earlier, h := range t.high {
			if earlier < term {
				before = max(before, h)
			}
		}
	}
	if high < before {
		return fmt.Errorf("replica %d leads in term %d with the high watermark %d, it was %d", r, term, high, before)
	}
	t.high[term] = high
	return nil
}

// Read takes what a reader was given that asked for an offset: whole batches, as they were applied.
func (t *Truth) Read(from int64, data []byte) (end int64, err error) {
	for at := from; len(data) > 0; {
		b := t.At(at)
		if b == nil {
			return 0, fmt.Errorf("a read at %d gives %d bytes, nothing is known to be there", at, len(data))
		}
		n := len(b.raw)
		if len(data) < n || body(data[:n]) != body(b.raw) || kwire.PeekBatch(data).Base != b.at {
			return 0, fmt.Errorf("a read at %d does not give %s", at, b.Name)
		}
		at, data = b.at+int64(b.Info.LastDelta)+1, data[n:]
		end = at
	}
	return end, nil
}

// Shown takes what a reader was given like Read, but of a replica that may know of more than anybody was seen to apply: a restart applies
// what its WAL says is committed. What was shown is a promise from then on, as what was acknowledged is.
func (t *Truth) Shown(from int64, data []byte) error {
	for n := 0; len(data[n:]) >= headerBytes; {
		info := kwire.PeekBatch(data[n:])
		size := min(info.Length, len(data[n:]))
		if info.Base >= t.next {
			b := t.byBody[body(data[n:n+size])]
			if b == nil {
				return fmt.Errorf("a read at %d gives a batch at %d that nobody sent", from, info.Base)
			}
			if err := t.Acked(b, info.Base); err != nil {
				return err
			}
			data = append(data[:n:n], data[n+size:]...)
			continue
		}
		n += size
	}
	_, err := t.Read(from, data)
	return err
}

// End is the offset behind all that is applied.
func (t *Truth) End() int64 { return t.next }

// Counts are what has happened to the batches that were made.
type Counts struct{ Made, Acked, Void, Unknown int }

// Settle checks what can be said once nothing is under way any more: what was acknowledged is there, what failed is not.
func (t *Truth) Settle() (c Counts, err error) {
	c.Made = len(t.all)
	for _, b := range t.all {
		void := b.Tries == b.Failed
		switch {
		case b.acked && !b.applied:
			return c, fmt.Errorf("%s was acknowledged with offset %d and is gone", b.Name, b.at)
		case void && b.applied:
			return c, fmt.Errorf("%s failed definitely, %d times, and is there at offset %d", b.Name, b.Failed, b.at)
		case void:
			c.Void++
		case b.acked:
			c.Acked++
		default:
			c.Unknown++
		}
	}
	return c, nil
}
