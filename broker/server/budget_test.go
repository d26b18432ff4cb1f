package server

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func never() bool { return false }

// taking starts a take and returns a channel that gets its result.
func taking(t *testing.T, b *budget, k *taker, n int64, growing bool, stop func() bool) <-chan bool {
	done := make(chan bool, 1)
	before := b.waiting.Load()
	go func() { done <- b.take(k, n, growing, stop) }()
	until(t, "the taker to queue", func() bool { return b.waiting.Load() == before+1 || len(done) == 1 })
	return done
}

func pending(t *testing.T, c <-chan bool) {
	t.Helper()
	select {
	case <-c:
		t.Error("granted too early")
	default:
	}
}

func TestBudgetIsFirstComeFirstServed(t *testing.T) {
	b := &budget{limit: 100}
	if !b.tryTake(100) || b.tryTake(1) || b.used.Load() != 100 {
		t.Fatal("tryTake")
	}
	big := taking(t, b, newTaker(), 80, false, never)
	small := taking(t, b, newTaker(), 10, false, never)
	b.give(50)
	pending(t, big)
	pending(t, small) // would fit, but stands behind
	if b.tryTake(1) {
		t.Error("tryTake overtakes the queue")
	}
	b.give(30)
	if !<-big {
		t.Error("big was not granted")
	}
	pending(t, small)
	b.give(80)
	if !<-small {
		t.Error("small was not granted")
	}
	if b.used.Load() != 30 {
		t.Errorf("%d in use", b.used.Load())
	}
}

func TestBudgetLetsOneGrowingFrameOverdraw(t *testing.T) {
	b := &budget{limit: 100}
	b.tryTake(100)
	fresh := taking(t, b, newTaker(), 10, false, never)
	one, two := newTaker(), newTaker()
	if !<-taking(t, b, one, 40, true, never) || b.used.Load() != 140 {
		t.Fatal("the first growing frame waits")
	}
	second := taking(t, b, two, 40, true, never)
	pending(t, second)
	if !<-taking(t, b, one, 40, true, never) || b.used.Load() != 180 {
		t.Fatal("the first growing frame waits the second time")
	}
	b.complete(two) // not the one that overdraws
	pending(t, second)
	b.complete(one)
	if !<-second {
		t.Error("the second growing frame waits")
	}
	pending(t, fresh)
	b.give(210)
	if !<-fresh {
		t.Error("a new frame waits")
	}
}

func TestBudgetStops(t *testing.T) {
	b := &budget{limit: 100}
	b.tryTake(100)
	var stop atomic.Bool
	k := newTaker()
	first := taking(t, b, k, 60, false, stop.Load)
	second := taking(t, b, newTaker(), 10, false, never)
	b.give(20)
	pending(t, second)
	stop.Store(true)
	k.nudge()
	if <-first {
		t.Error("granted after stop")
	}
	if !<-second {
		t.Error("what stood behind was not granted")
	}
	if b.used.Load() != 90 || b.waiting.Load() != 0 {
		t.Errorf("%d in use, %d waiting", b.used.Load(), b.waiting.Load())
	}
}

// TestBudgetUnderContention: nothing is lost, nobody is forgotten, and the limit holds but for one overdraft.
func TestBudgetUnderContention(t *testing.T) {
	const limit, largest = 1000, 600
	b := &budget{limit: limit}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			k := newTaker()
			for range 3000 {
				total, grew := int64(0), false
				for range 1 + rng.IntN(3) {
					n := 1 + rng.Int64N(largest/3)
					if !b.tryTake(n) {
						growing := total > 0
						grew = grew || growing
						if !b.take(k, n, growing, never) {
							t.Error("take ended early")
						}
					}
					total += n
				}
				// 8 may be adding and taking back in tryTake at this moment.
				if u := b.used.Load(); u > limit+largest+8*largest/3 {
					t.Errorf("%d in use", u)
				}
				b.give(total)
				if grew {
					b.complete(k)
				}
			}
		}()
	}
	wg.Wait()
	if b.used.Load() != 0 || b.waiting.Load() != 0 || len(b.queue) != 0 || b.overdrawn != nil {
		t.Errorf("left: %d in use, %d waiting, %d queued, %v", b.used.Load(), b.waiting.Load(), len(b.queue), b.overdrawn)
	}
}
