// Package consume is the readers of a load: those that stay at the end of a topic while it is written, and those that drain what lies there.
//
// The problem: a system that takes writes while nobody reads is not how anybody uses it, and a consumer that was away has to catch up with what came
// meanwhile. Neither is timed record by record: the one is load, the other a rate. An end-to-end time is a Tail's.
package consume

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/result"
)

// catchUp is how long consumers may take for what was acknowledged before the end of a slice.
const catchUp = 3 * time.Second

// Fan is the consumers that read everything at the tail and are not timed: the load that a system has from its readers.
type Fan struct {
	tails []*Tail
	read  []atomic.Int64 // by consumer: this run's records that it had
	acked int64          // records acknowledged in all slices so far; its owner's goroutine's own
}

// StartFan starts n consumers, each of which reads every partition from the given offsets.
func StartFan(n int, cl *cluster.Cluster, topic cluster.Topic, from map[int32]int64, p *frame.Payloads) *Fan {
	f := &Fan{read: make([]atomic.Int64, n)}
	for i := range n {
		f.tails = append(f.tails, StartTail(context.Background(), cl, topic, from, func(value []byte, _ int64) {
			if _, _, ours := p.Peek(value); ours {
				f.read[i].Add(1)
			}
		}))
	}
	return f
}

// Stop ends the consumers and returns what went wrong while they ran.
func (f *Fan) Stop() (err error) {
	for _, t := range f.tails {
		err = errors.Join(err, t.Stop())
	}
	return err
}

// Sum waits a little for the consumers to have what a slice of so many acknowledged records added, and says what they had.
func (f *Fan) Sum(records int64) *result.Consumers {
	f.acked += records
	for deadline := time.Now().Add(catchUp); ; time.Sleep(5 * time.Millisecond) {
		c := &result.Consumers{Count: len(f.tails)}
		for i := range f.read {
			n := f.read[i].Load()
			c.Records += n
			c.Behind = max(c.Behind, f.acked-n)
		}
		if c.Behind == 0 || time.Now().After(deadline) {
			return c
		}
	}
}
