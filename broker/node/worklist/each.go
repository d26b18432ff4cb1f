package worklist

import (
	"cmp"
	"sync"
)

// Each calls f with every item, by so many goroutines at most, and returns the first error. After it no further call is begun;
// those under way are waited for.
func Each[T any](items []T, workers int, f func(T) error) (err error) {
	var mu sync.Mutex // guards the rest
	take := func() (item T, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil || len(items) == 0 {
			return item, false
		}
		item, items = items[0], items[1:]
		return item, true
	}
	work := func() {
		for item, ok := take(); ok; item, ok = take() {
			failed := f(item)
			mu.Lock()
			err = cmp.Or(err, failed)
			mu.Unlock()
		}
	}
	var others sync.WaitGroup
	for range min(workers, len(items)) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	return err
}
