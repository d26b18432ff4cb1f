package seglog

import (
	"fmt"
	"testing"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// TestModel appends, syncs, drops and reopens at random, and compares with the model all the time.
func TestModel(t *testing.T) {
	for seed := range uint64(8 * nightly()) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			fs := newFS(t)
			m := newLargeModel(seed)
			l := open(t, fs, Checkpoint{})
			at := Checkpoint{}
			for range 60 {
				switch m.rng.IntN(10) {
				case 0, 1:
					var err error
					at, err = l.Sync()
					must(t, err)
				case 2:
					o := m.off - id.Offset(m.rng.IntN(60))
					must(t, l.DropBefore(o))
					m.drop(o)
				case 3:
					must(t, l.Close())
					l = reopen(t, fs, m, at)
				case 4:
					if m.rng.IntN(5) == 0 { // as after a snapshot from the leader
						must(t, l.Close())
						at = EmptyAt(m.next+id.Index(m.rng.IntN(100)), m.off+id.Offset(m.rng.IntN(1000)), m.term+1)
						m.empty(at)
						l = open(t, fs, at)
					}
				default:
					rs := m.gen(1 + m.rng.IntN(40))
					must(t, l.Append(rs))
					m.add(rs)
				}
				m.check(t, l)
			}
			must(t, l.Close())
		})
	}
}

// reopen opens the log at a checkpoint and cuts the model to it.
func reopen(t testing.TB, fs vfs.FS, m *model, at Checkpoint) *Log {
	t.Helper()
	b, err := at.MarshalBinary()
	must(t, err)
	at = Checkpoint{}
	must(t, at.UnmarshalBinary(b))
	l := open(t, fs, at)
	if at.Next == 0 {
		at = EmptyAt(1, 0, 0)
	}
	m.cut(at)
	if at.Active == 0 || m.low > at.Active {
		m.empty(at)
	}
	return l
}
