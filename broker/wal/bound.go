package wal

import (
	"time"

	"ackline/broker/id"
	"ackline/broker/wal/ring"
)

// The superblock's bound says that nothing was ever written beyond it, so that recovery, where it finds no valid batch, has to look for one
// that proves damage no farther than that. It is moved on ahead of the tail, so that hardly any batch waits for it: by leaseBytes, or a
// sixteenth of a small ring, whenever less than half of that is left. To look through 64 MiB instead took as long as to read a WAL
// of 64 MiB.
const leaseBytes = 8 << 20

func (w *WAL) lease() id.LSN { return id.LSN(min(leaseBytes, w.file.Size()/16)) }

// reach makes sure that the bound is not before end, which is where the next batch ends, and has it moved on meanwhile if it is near. The
// caller holds the writer's role.
func (w *WAL) reach(end id.LSN) error {
	bound := id.LSN(w.bound.Load())
	if end+w.lease()/2 <= bound {
		return nil
	}
	if end > bound || w.opt.Inline {
		return w.extend(end)
	}
	if w.extending.CompareAndSwap(false, true) {
		w.stopped.Go(func() {
			defer w.extending.Store(false)
			if err := w.extend(end); err != nil {
				w.fail(err)
			}
		})
	}
	return nil
}

// extend moves the bound on to a lease beyond end, unless that was done meanwhile.
func (w *WAL) extend(end id.LSN) error {
	w.superMu.Lock()
	defer w.superMu.Unlock()
	if end+w.lease()/2 <= w.super.Bound {
		return nil
	}
	s := w.super
	s.Bound = end + w.lease()
	return w.putSuper(s)
}

// putSuper writes and syncs s as the next superblock. superMu is held.
func (w *WAL) putSuper(s ring.Super) error {
	s.Seq++
	w.stats.super.begin(time.Now())
	err := w.file.WriteSuper(&s)
	w.stats.super.end()
	if err != nil {
		return err
	}
	w.super = s
	w.bound.Store(uint64(s.Bound))
	return nil
}
