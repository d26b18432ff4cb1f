package barrier

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ackline/broker/id"
)

// leader answers reads at once with what is committed.
type leader struct {
	b         *Barrier
	committed id.Index
	silent    bool
}

func (l *leader) read(n uint64) error {
	if !l.silent {
		l.b.Readable(n, l.committed, nil)
	}
	return nil
}

func alone(committed id.Index) *leader {
	l := &leader{committed: committed}
	l.b = New(Config{Self: 1, Leader: func() (id.NodeID, bool) { return 1, true }, ReadIndex: l.read})
	return l
}

// TestCatchUpWaitsForWhatIsCommitted: what the leader had committed when it was asked must be applied here first.
func TestCatchUpWaitsForWhatIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := alone(7)
		passed := make(chan error, 1)
		go func() { passed <- l.b.CatchUp(t.Context()) }()
		for i := range id.Index(7) {
			synctest.Wait()
			select {
			case err := <-passed:
				t.Fatalf("passed with %d of 7 entries applied: %v", i, err)
			default:
			}
			l.b.Applied(i + 1)
		}
		if err := <-passed; err != nil {
			t.Fatal(err)
		}
		l.b.Applied(3) // late, and no news
		if err := l.b.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(l.b.asked) != 0 {
			t.Errorf("%d reads are kept", len(l.b.asked))
		}
	})
}

// TestFollowerAsksTheLeader, and its own node's catalog is what has to be as new.
func TestFollowerAsksTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := alone(9)
		calls := 0
		f := New(Config{Self: 2, Leader: func() (id.NodeID, bool) { return 1, true }, Call: func(ctx context.Context, to id.NodeID, b []byte) ([]byte, error) {
			if calls++; calls == 1 {
				return nil, errors.New("the connection ended")
			}
			return l.b.Answer(ctx, 2, b)
		}})
		f.Applied(8)
		passed := make(chan error, 1)
		go func() { passed <- f.CatchUp(t.Context()) }()
		time.Sleep(pauseMin)
		synctest.Wait()
		if len(passed) > 0 {
			t.Fatalf("passed without entry 9: %v", <-passed)
		}
		f.Applied(9)
		if err := <-passed; err != nil || calls != 2 {
			t.Errorf("%v after %d calls, want 2: one failed", err, calls)
		}
	})
}

// TestLeaderIsFoundAgain: a leader that has to give up while it is asked answers nothing, and its successor is asked.
func TestLeaderIsFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("not the leader")
		tries := 0
		var b *Barrier
		b = New(Config{Self: 1,
			Leader: func() (id.NodeID, bool) { tries++; return 1, tries > 1 },
			ReadIndex: func(n uint64) error {
				switch tries {
				case 2:
					return gone
				case 3:
					b.Readable(n, 0, gone)
				default:
					b.Readable(n, 4, nil)
				}
				return nil
			}})
		b.Applied(4)
		if err := b.CatchUp(t.Context()); err != nil || tries != 4 {
			t.Errorf("%v after %d tries, want 4", err, tries)
		}
	})
}

// TestNoMajorityIsSaid: a read that cannot be answered ends with its context, and says why.
func TestNoMajorityIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := alone(1)
		l.silent = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.b.CatchUp(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "majority") {
			t.Errorf("%v", err)
		}
		b := New(Config{Self: 1, Leader: func() (id.NodeID, bool) { return 0, false }})
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.CatchUp(ctx); !errors.Is(err, errNoLeader) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody leads: %v", err)
		}
	})
}

// TestBadQuestionsAndAnswers come from a node of another version.
func TestBadQuestionsAndAnswers(t *testing.T) {
	l := alone(1)
	for _, q := range [][]byte{nil, {2}, {1, 1}} {
		if a, err := l.b.Answer(t.Context(), 2, q); err == nil {
			t.Errorf("question %x is answered with %x", q, a)
		}
	}
	f := New(Config{Self: 2, Leader: func() (id.NodeID, bool) { return 1, true },
		Call: func(context.Context, id.NodeID, []byte) ([]byte, error) { return []byte("yes"), nil }})
	if i, err := f.ask(t.Context()); err == nil {
		t.Errorf("three bytes are index %d", i)
	}
}
