package echo

import (
	"fmt"
	"time"

	"ackline/broker/syncmethod"
)

// Pause makes the bare echo wait where the durable one waits for its disk. An echo that answers at once finds every
// processor awake, its own and the client's; after a disk's time both have gone to sleep, and to wake them is a part of
// every durable answer that belongs to neither disk nor code: 3 to 12 µs on a virtual machine, a fifth of a fast disk's
// write. A timer puts them to sleep as the disk does. It is late by as much as a wake-up takes, as is a raw sync, so
// that what counts is how long each pause was and not how long it was to be.
//
// It belongs to the goroutine that runs Serve, and to whoever reads the median afterwards.
type Pause struct {
	length time.Duration
	clock  *syncmethod.Pacer // made by the first wait, because it belongs to that thread
	counts []uint32          // of pauses, by length in steps of pauseStep; the last one is for all that are longer
	total  uint64
}

const (
	pauseStep = 100 * time.Nanosecond

	// MaxPause is longer than any disk's write that would be worth imitating.
	MaxPause = 100 * time.Millisecond
)

// NewPause returns a pause of that length, above 0 and at most MaxPause.
func NewPause(length time.Duration) (*Pause, error) {
	if length <= 0 || length > MaxPause {
		return nil, fmt.Errorf("floor: pause of %v, want more than 0 and at most %v", length, MaxPause)
	}
	return &Pause{length: length, counts: make([]uint32, 2*MaxPause/pauseStep)}, nil
}

// wait sleeps once.
func (p *Pause) wait() error {
	if p.clock == nil {
		clock, err := syncmethod.NewPacer()
		if err != nil {
			return err
		}
		p.clock = clock
	}
	start := p.clock.Now()
	p.clock.SleepUntil(start + int64(p.length))
	p.count(time.Duration(p.clock.Now() - start))
	return nil
}

func (p *Pause) count(d time.Duration) {
	p.counts[min(int(d/pauseStep), len(p.counts)-1)]++
	p.total++
}

// close gives the thread back.
func (p *Pause) close() {
	if p.clock != nil {
		p.clock.Close()
		p.clock = nil
	}
}

// Median returns how long the pauses were, 0 when there was none. Only after Serve has returned.
func (p *Pause) Median() time.Duration {
	before := uint64(0)
	for i, n := range p.counts {
		if before += uint64(n); n > 0 && 2*before >= p.total {
			return time.Duration(i)*pauseStep + pauseStep/2
		}
	}
	return 0
}
