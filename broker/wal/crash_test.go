package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
)

// count is how often a random test runs: in CI, and with ACKLINE_NIGHTLY set.
func count(ci, nightly int) int {
	switch {
	case os.Getenv("ACKLINE_NIGHTLY") != "":
		return nightly
	case testing.Short():
		return ci / 10
	}
	return ci
}

// newRing makes a ring in memory that every test life may begin with a clone of.
func newRing(t testing.TB, o Options) *vfs.Mem {
	t.Helper()
	m := vfs.NewMem()
	o.FS = m
	w, _, err := Open(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

// life opens the ring, checks that it holds one of the states that it may hold, and works on it until the power goes or
// the steps are done. It returns the states that the next life may find.
type life struct {
	opt   Options
	cut   int64 // which change is cut; negative for none
	steps int
	close bool // cleanly, at the end
}

func (l life) run(mem *vfs.Mem, rng *rand.Rand, may []model) (next []model, seenCut bool, err error) {
	cutter := vfs.NewCutter(l.cut)
	o := l.opt
	o.FS = vfs.Inject(mem, cutter.Hook)
	o.Inline, o.Fatal = true, func(error) {}
	v := seen{model{}}
	w, rec, err := Open(o, v)
	if err != nil {
		if cutter.Done() {
			return may, true, nil
		}
		return nil, false, fmt.Errorf("open: %w (%+v)", err, rec)
	}
	at, err := match(w, v, may)
	if err != nil {
		return nil, false, fmt.Errorf("%w\nrecovery: %+v", err, rec)
	}
	wd := newWorld(rng, w, at)
	for i := range l.steps {
		if cutter.Done() {
			break
		}
		wd.step()
		if i%16 == 15 && !cutter.Done() {
			if err := wd.acked.diff(w); err != nil {
				return nil, false, fmt.Errorf("while running: %w", err)
			}
		}
	}
	if l.close && !cutter.Done() {
		w.Close()
	}
	return []model{wd.acked, wd.inflight}, cutter.Done(), nil
}

// match returns the first of the states that the WAL is in. A tombstone that was forgotten may be back.
func match(w *WAL, v seen, may []model) (model, error) {
	var errs []error
	for i, m := range may {
		m = m.clone()
		for _, s := range w.index.states() {
			if _, ok := m[s.Group]; !ok && s.Deleted {
				m[s.Group] = modelGroup{deleted: true}
			}
		}
		err := m.diff(w)
		if err == nil {
			err = v.model.diff(w)
			if err != nil {
				return nil, fmt.Errorf("the visitor saw something else: %w", err)
			}
			return m, nil
		}
		errs = append(errs, fmt.Errorf("not state %d: %w", i, err))
	}
	return nil, errors.Join(errs...)
}

// Lives end by power cut or kill at a random moment, also while Open is at work, and the next begins from what is left.
// Each must find all that was acknowledged, and nothing but the one batch that was under way.
func TestCrashes(t *testing.T) {
	for _, m := range syncmethod.All() {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			o := testOptions(nil)
			o.Method = m
			fresh := newRing(t, o)
			for seed := range uint64(count(1000, 100_000) / len(syncmethod.All())) {
				if err := crashes(o, fresh.Clone(), seed); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		})
	}
}

func crashes(o Options, mem *vfs.Mem, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	may := []model{{}}
	for n := range 6 {
		l := life{opt: o, cut: rng.Int64N(200), steps: 200, close: rng.IntN(3) == 0}
		if rng.IntN(3) == 0 {
			l.cut = rng.Int64N(6) // while Open is at work
		}
		var err error
		if may, _, err = l.run(mem, rng, may); err != nil {
			return fmt.Errorf("life %d: %w", n, err)
		}
		if rng.IntN(3) == 0 {
			mem = mem.Clone() // kill -9
		} else {
			mem = mem.CrashClone(rng.Uint64())
		}
	}
	return nil
}

// One workload that goes round the ring is cut at every single write and sync.
func TestCrashAtEveryChange(t *testing.T) {
	for _, m := range []syncmethod.Method{syncmethod.DirectDsync, syncmethod.BufferedFdatasync} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			o := testOptions(nil)
			o.Method = m
			fresh := newRing(t, o)
			stride := int64(1)
			if testing.Short() {
				stride = 10
			}
			for cut := int64(0); ; cut += stride {
				mem, rng := fresh.Clone(), rand.New(rand.NewPCG(4, 2))
				may, wasCut, err := life{opt: o, cut: cut, steps: 120}.run(mem, rng, []model{{}})
				for seed := range uint64(3) {
					after := mem.CrashClone(seed)
					if err == nil {
						_, _, err = life{opt: o, cut: -1}.run(after, rng, may)
					}
				}
				if err != nil {
					t.Fatalf("cut at change %d: %v", cut, err)
				}
				if !wasCut {
					break
				}
			}
		})
	}
}

// What a start has shown to its caller must survive the next power cut, even if the process that wrote it was killed
// between write and sync.
func TestRecoveredBatchIsDurable(t *testing.T) {
	// Not one that syncs the whole file: there the sync of whatever is written next makes up for it.
	o := testOptions(nil)
	o.Method = syncmethod.BufferedDsync
	fresh := newRing(t, o)
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		mem := fresh.Clone()
		may, _, err := life{opt: o, cut: 2 + rng.Int64N(40), steps: 100}.run(mem, rng, []model{{}})
		if err != nil {
			t.Fatal(err)
		}
		mem = mem.Clone() // killed: the batch under way is in the page cache
		o.FS = mem
		w, _, err := Open(o, nil)
		if err != nil {
			t.Fatal(err)
		}
		at, err := match(w, seen{readAll(t, w)}, may)
		if err != nil {
			t.Fatal(err)
		}
		after := mem.CrashClone(seed)
		if _, _, err := (life{opt: o, cut: -1}).run(after, rng, []model{at}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		w.Close()
	}
}

// readAll is what w holds.
func readAll(t *testing.T, w *WAL) model {
	t.Helper()
	m := model{}
	for _, s := range w.index.states() {
		g := modelGroup{s.Replica, s.Deleted, s.Hard, s.Flushed, s.FlushedTerm, s.Snapshot, string(s.Payload), nil}
		if s.Last > s.Flushed {
			es, err := w.Entries(s.Group, s.Flushed+1, s.Last+1, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			g.entries = slices.Clone(es)
		}
		m[s.Group] = g
	}
	return m
}
