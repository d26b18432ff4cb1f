package api

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestCloseWaitsForEveryWait closes a handler while requests that have to wait still come in, as they do until the server stops
// reading: each is carried out, and none is under way when Close has returned, save for those that came later.
func TestCloseWaitsForEveryWait(t *testing.T) {
	for range 50 {
		h := New(Config{})
		var asked, began, ended atomic.Int64
		var closed atomic.Bool
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for done := false; !done; {
					done = closed.Load() // once more after Close
					asked.Add(1)
					h.async(func() {
						began.Add(1)
						<-h.ctx.Done()
						ended.Add(1)
					})
				}
			})
		}
		for asked.Load() < 8 {
			runtime.Gosched()
		}
		h.Close()
		closed.Store(true)
		readers.Wait()
		if a, b, e := asked.Load(), began.Load(), ended.Load(); b != a || e != a {
			t.Fatalf("%d waits were asked for, %d began, %d ended", a, b, e)
		}
	}
}
