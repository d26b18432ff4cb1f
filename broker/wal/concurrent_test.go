package wal

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// client is a group that appends one entry after the other, each when the last is durable.
type client struct {
	w       *WAL
	group   id.GroupID
	mu      sync.Mutex
	next    id.Index
	pending []Entry
	flushed id.Index
	ckpt    bool
	acked   chan struct{}
	reclaim chan struct{}
}

func (c *client) Collect(b *Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ckpt {
		c.ckpt = false
		b.Checkpoint(c.group, 1, c.flushed, 1, hard(1, 1, c.flushed), nil)
	}
	if len(c.pending) > 0 && b.CheckpointsOnly() {
		c.w.Signal(c)
		return
	}
	b.Entries(c.group, 1, c.pending)
	c.pending = c.pending[:0]
}

func (c *client) Durable(id.LSN) {
	poke(c.acked)
	poke(c.reclaim)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// append waits until its entry is durable. Who has waited for a while may be waiting for space, which nobody makes unless he does.
func (c *client) append(data []byte) {
	c.mu.Lock()
	c.next++
	i := c.next
	c.pending = append(c.pending, Entry{Index: i, Term: 1, Data: data})
	c.w.Signal(c)
	c.mu.Unlock()
	c.w.Drive()
	for c.w.Last(c.group) < i {
		select {
		case <-c.acked:
		case <-time.After(20 * time.Millisecond):
			c.checkpoint(c.w.Last(c.group))
			poke(c.reclaim)
		}
	}
}

func (c *client) checkpoint(flushed id.Index) {
	c.mu.Lock()
	c.flushed, c.ckpt = max(c.flushed, flushed), true
	c.w.SignalCheckpoint(c)
	c.mu.Unlock()
	c.w.Drive()
}

// Many goroutines append at once, checkpoint now and then, and read; the ring goes round several times. No entry may hang,
// be lost or be unreadable.
func TestConcurrentAppends(t *testing.T) {
	for _, window := range []time.Duration{0, 50 * time.Microsecond} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			o := testOptions(vfs.NewMem())
			o.Window = window
			w, _ := mustOpen(t, o)
			var wg, bg sync.WaitGroup
			reclaim := make(chan struct{}, 1)
			bg.Go(func() {
				for range reclaim {
					if used, usable := w.Usage(); used > usable/2 {
						if err := w.Reclaim(); err != nil && err != ErrClosed {
							t.Error(err)
						}
					}
				}
			})
			for g := range id.GroupID(8) {
				c := &client{w: w, group: g + 1, acked: make(chan struct{}, 1), reclaim: reclaim}
				wg.Go(func() { c.run(t, 150) })
			}
			wg.Wait()
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			close(reclaim)
			bg.Wait()
			if w.last.LSN < 3*testRing {
				t.Errorf("the last batch is at %d: the ring did not go round", w.last.LSN)
			}
		})
	}
}

// bulk makes the entries large enough that they fill the ring several times even if all groups share every batch.
var bulk = make([]byte, 800)

func (c *client) run(t *testing.T, n int) {
	for i := range n {
		c.append(append(fmt.Appendf(nil, "group %d entry %d ", c.group, i+1), bulk...))
		if i%7 == 6 {
			from := c.w.First(c.group)
			if from > c.next {
				continue // it waited for long, and the last checkpoint covers its entry
			}
			es, err := c.w.Entries(c.group, from, c.next+1, 1<<20)
			if err != nil || es[0].Index != from || len(es) != int(c.next+1-from) {
				t.Errorf("group %d: %d entries from %d to %d: %v", c.group, len(es), from, c.next, err)
			}
			c.checkpoint(c.next - id.Index(i%3))
		}
	}
}
