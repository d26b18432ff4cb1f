package worklist

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestEach: every item once, by as many at a time as allowed.
func TestEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, n := range []int{0, 1, 3, 50} {
			const workers = 4
			items := make([]int, n)
			for i := range items {
				items[i] = i
			}
			var mu sync.Mutex
			seen := map[int]int{}
			gate := make(chan struct{})
			ended := make(chan error, 1)
			go func() {
				ended <- Each(items, workers, func(i int) error {
					mu.Lock()
					seen[i]++
					mu.Unlock()
					<-gate
					return nil
				})
			}()
			synctest.Wait()
			if got, want := len(seen), min(n, workers); got != want {
				t.Errorf("%d items: %d are worked on at a time, want %d", n, got, want)
			}
			close(gate)
			if err := <-ended; err != nil || len(seen) != n {
				t.Errorf("%d items: %d were seen, %v", n, len(seen), err)
			}
			for i, times := range seen {
				if times != 1 {
					t.Errorf("item %d was seen %d times", i, times)
				}
			}
		}
	})
}

// TestEachEndsWithAnError, and begins nothing more.
func TestEachEndsWithAnError(t *testing.T) {
	broken := errors.New("no space")
	var calls atomic.Int64
	err := Each(make([]int, 1000), 4, func(int) error {
		if calls.Add(1) == 10 {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) || calls.Load() > 20 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}
