package seglog

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// work opens the log at a checkpoint and uses it for some steps, or until something fails. It returns every checkpoint that
// could be the one that is stored: the one it opened with, and all that Sync returned. The model holds what was taken;
// its low is what was asked for last, done or not.
func work(fs vfs.FS, m *model, at Checkpoint, steps int) ([]Checkpoint, error) {
	stored := []Checkpoint{at}
	l, err := Open(testOptions(fs), at)
	if err != nil {
		return stored, err
	}
	defer l.Close()
	for range steps {
		switch m.rng.IntN(8) {
		case 0, 1, 2:
			at, err := l.Sync()
			if err != nil {
				return stored, err
			}
			stored = append(stored, at)
		case 3:
			o := m.off - id.Offset(m.rng.IntN(40))
			m.drop(o)
			if err := l.DropBefore(o); err != nil {
				return stored, err
			}
		default:
			rs := m.gen(1 + m.rng.IntN(25))
			err := l.Append(rs)
			m.add(rs[:l.LastIndex()+1-rs[0].Index])
			if err != nil {
				return stored, err
			}
		}
	}
	return stored, nil
}

// recovered opens what a crash left, and checks that all that the checkpoint promised is there, byte for byte.
func recovered(t *testing.T, fs vfs.FS, m *model, at Checkpoint) {
	t.Helper()
	asked := m.low
	m.cut(at)
	l, err := Open(testOptions(fs), at)
	if err != nil {
		t.Fatalf("open at %+v: %v", at, err)
	}
	switch first := l.FirstIndex(); {
	case at.Active == 0 || asked > at.Active && first == at.Next:
		if at.Next == 0 {
			at = EmptyAt(1, 0, 0)
		}
		m.empty(at)
	case first < at.First || first > max(at.First, asked):
		t.Fatalf("log starts at %d; the checkpoint says %d, and it was dropped up to %d", first, at.First, asked)
	default:
		m.low = first
	}
	m.check(t, l)
	must(t, l.Close())
}

// clone is a model of its own with the same content.
func (m *model) clone(rng *rand.Rand) *model {
	c := *m
	c.recs, c.rng = slices.Clone(m.recs), rng
	return &c
}

// TestCrash cuts the power at every operation that changes the disk, draws what is left, and opens the log there at one of
// the checkpoints that may have been stored. Then it does the same once more from there.
func TestCrash(t *testing.T) {
	const steps = 24
	for seed := range uint64(2 * nightly()) {
		counter := vfs.NewCutter(-1)
		_, err := work(vfs.Inject(newFS(t), counter.Hook), newLargeModel(seed), Checkpoint{}, steps)
		must(t, err)
		for n := range counter.Seen() {
			rng := rand.New(rand.NewPCG(seed, uint64(n)))
			m, disk := newLargeModel(seed), newFS(t)
			at := Checkpoint{}
			cut := n
			for leg := range 3 {
				cutter := vfs.NewCutter(cut)
				stored, err := work(vfs.Inject(disk, cutter.Hook), m, at, steps)
				if err != nil && !cutter.Done() {
					t.Fatalf("seed %d, cut %d, leg %d: failed before the cut: %v", seed, n, leg, err)
				}
				at = pick(rng, stored)
				if rng.IntN(4) == 0 {
					disk = disk.Clone() // the process dies, the machine stays
				} else {
					disk = disk.CrashClone(rng.Uint64())
				}
				if !t.Run(fmt.Sprintf("seed %d cut %d leg %d", seed, n, leg), func(t *testing.T) {
					m = m.clone(rng)
					recovered(t, disk, m, at)
				}) {
					return
				}
				cut = rng.Int64N(80)
			}
		}
	}
}

// pick takes the newest checkpoint mostly; storing it may have failed.
func pick(rng *rand.Rand, stored []Checkpoint) Checkpoint {
	n := len(stored) - 1
	if rng.IntN(3) == 0 {
		n = rng.IntN(len(stored))
	}
	return stored[n]
}
