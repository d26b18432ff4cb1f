package giveback

import (
	"errors"
	iofs "io/fs"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ackline/broker/vfs"
)

// waiting is how many bytes have not been given back, once every step that is due is done.
func (q *Queue) waiting() int64 {
	synctest.Wait()
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// gone makes files of these sizes without a name, and gives them back. The hook hears of all that is done to them.
func gone(t *testing.T, q *Queue, hook func(vfs.Op) error, sizes ...int64) {
	t.Helper()
	fs := vfs.Inject(vfs.NewMem(), hook)
	for _, size := range sizes {
		f, err := fs.Open("/f", vfs.OpenOptions{Create: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Preallocate(0, size); err != nil {
			t.Fatal(err)
		}
		give, err := q.Remove(fs, "/f")
		if _, gone := fs.Stat("/f"); err != nil || gone == nil {
			t.Fatal(err, gone)
		}
		if n, err := f.Size(); n != size || err != nil {
			t.Errorf("%d bytes before anything is given back, want %d (%v)", n, size, err)
		}
		f.Close()
		give()
	}
}

// Files shrink from their ends, a step at a time and each step synced, after a rest; and in the end nothing runs.
func TestStepByStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var cuts []int64
		var last time.Time
		syncs := 0
		q := &Queue{Free: func() (int64, error) { return 1 << 40, nil }}
		began := time.Now()
		gone(t, q, func(op vfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			switch op.Kind {
			case vfs.OpTruncate:
				if gap := time.Since(last); gap < stepPause || time.Since(began) < restPause {
					t.Errorf("cut %v after the last, %v after the beginning", gap, time.Since(began))
				}
				cuts, last = append(cuts, op.Off), time.Now()
			case vfs.OpSync:
				syncs++
			}
			return nil
		}, 3*stepBytes+5, stepBytes-1, 2*stepBytes)
		if got, want := q.waiting(), int64(5*stepBytes+5); got != want {
			t.Errorf("%d bytes wait, want %d", got, want)
		}
		time.Sleep(time.Minute)
		left := q.waiting()
		mu.Lock()
		defer mu.Unlock()
		want := []int64{2*stepBytes + 5, stepBytes + 5, 5, stepBytes}
		if len(cuts) != len(want) || syncs != len(want) || left != 0 {
			t.Fatalf("cut to %v with %d syncs, %d bytes wait; want %v", cuts, syncs, left, want)
		}
		for i := range want {
			if cuts[i] != want[i] {
				t.Errorf("cut to %v, want %v", cuts, want)
			}
		}
	})
}

// What is removed faster than that is given back faster too, and all of it at once when space is short.
func TestMuchAndScarce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := int64(1 << 62)
		var mu sync.Mutex
		q := &Queue{Free: func() (int64, error) { mu.Lock(); defer mu.Unlock(); return free, nil }}
		gone(t, q, func(vfs.Op) error { return nil }, 64<<30, 64<<30)
		time.Sleep(restPause + share*stepPause)
		if got := q.waiting(); got > 128<<30*38/100 || got < 128<<30*36/100 {
			t.Errorf("%d bytes wait after %d steps, want 1/e of them", got, share)
		}
		mu.Lock()
		free = 1 << 30
		mu.Unlock()
		time.Sleep(3 * stepPause)
		if got := q.waiting(); got != 0 {
			t.Errorf("%d bytes wait although space is short", got)
		}
		synctest.Wait()
	})
}

// Who removes because the disk is full has the space when that returns, and that of what was removed before with it.
func TestScarceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := 0
		q := &Queue{Free: func() (int64, error) { return 3*stepBytes - 1, nil }}
		hook := func(op vfs.Op) error {
			if op.Kind == vfs.OpClose {
				closed++
			}
			return nil
		}
		gone(t, q, hook, 2*stepBytes)
		if closed != 1 { // by gone, which had it open too
			t.Errorf("closed %d times with enough space, want once", closed)
		}
		began := time.Now()
		gone(t, q, hook, 2*stepBytes)
		if closed != 4 || time.Since(began) != 0 || q.waiting() != 0 {
			t.Errorf("closed %d times after %v, %d bytes wait; want 4 times, at once", closed, time.Since(began), q.waiting())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
	})
}

// A file that cannot be cut is closed, once, and those behind it have their turn.
func TestCutFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		cuts, closed := 0, 0
		gone(t, &Queue{}, func(op vfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			switch op.Kind {
			case vfs.OpClose:
				closed++
			case vfs.OpTruncate:
				if cuts++; cuts == 1 {
					return syscall.EIO
				}
			}
			return nil
		}, 9*stepBytes, 3*stepBytes)
		time.Sleep(time.Minute)
		synctest.Wait()
		if cuts != 3 || closed != 4 {
			t.Errorf("%d cuts, closed %d times; want 3, of which the first fails, and 4", cuts, closed)
		}
	})
}

// What cannot be removed keeps its blocks, and a name that is not there is an error as it always is.
func TestRemoveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		fs := vfs.Inject(mem, func(op vfs.Op) error {
			if op.Kind == vfs.OpRemove && op.Name == "/f" {
				return syscall.EROFS
			}
			return nil
		})
		f, err := fs.Open("/f", vfs.OpenOptions{Create: true})
		if err == nil {
			err = f.Preallocate(0, 3*stepBytes)
		}
		if err != nil {
			t.Fatal(err)
		}
		q := &Queue{}
		for name, want := range map[string]error{"/f": syscall.EROFS, "/g": iofs.ErrNotExist} {
			give, err := q.Remove(fs, name)
			if give(); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n, err := f.Size(); n != 3*stepBytes || err != nil {
			t.Errorf("%d bytes are left of a file that was not removed (%v)", n, err)
		}
	})
}
