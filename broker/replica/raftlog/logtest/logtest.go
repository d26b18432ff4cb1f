// Package logtest is the conformance suite of raftlog.LogStorage: every implementation has to pass it.
package logtest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica/raftlog"
)

// Test runs the suite. open returns an empty log; settle, if it is not nil, moves part of a log's entries to wherever the
// implementation keeps older ones, and is called between steps.
func Test(t *testing.T, open func(t *testing.T) raftlog.LogStorage, settle func(l raftlog.LogStorage)) {
	if settle == nil {
		settle = func(raftlog.LogStorage) {}
	}
	t.Run("empty", func(t *testing.T) { empty(t, open(t)) })
	t.Run("gap is refused", func(t *testing.T) {
		l := open(t)
		if err := l.Append(entries(2, 1, 1)); err == nil {
			t.Fatal("an append at index 2 of an empty log was taken")
		}
	})
	t.Run("append get range", func(t *testing.T) {
		l := open(t)
		must(t, l.Append(entries(1, 10, 1)))
		settle(l)
		must(t, l.Append(entries(11, 10, 2)))
		m := model{append(entries(1, 10, 1), entries(11, 10, 2)...)}
		m.check(t, l)
	})
	t.Run("append replaces the suffix", func(t *testing.T) {
		l := open(t)
		must(t, l.Append(entries(1, 10, 1)))
		settle(l)
		must(t, l.Append(entries(4, 3, 2)))
		m := model{append(entries(1, 3, 1), entries(4, 3, 2)...)}
		m.check(t, l)
	})
	t.Run("truncate after", func(t *testing.T) {
		l := open(t)
		must(t, l.Append(entries(1, 10, 1)))
		settle(l)
		must(t, l.TruncateAfter(4))
		must(t, l.TruncateAfter(9)) // beyond the end: nothing
		model{entries(1, 4, 1)}.check(t, l)
		must(t, l.Append(entries(5, 2, 3)))
		m := model{append(entries(1, 4, 1), entries(5, 2, 3)...)}
		m.check(t, l)
	})
	t.Run("range is cut by bytes but never to none", func(t *testing.T) {
		l := open(t)
		must(t, l.Append(entries(1, 10, 1)))
		settle(l)
		for _, max := range []uint64{0, 1, 30, math.MaxInt32} {
			es, err := l.Range(3, 9, max)
			if err != nil || len(es) == 0 || es[0].Index != 3 {
				t.Fatalf("Range(3, 9, %d) gives %d entries, %v", max, len(es), err)
			}
			size := 0
			for _, e := range es[1:] {
				size += len(e.Data)
			}
			if uint64(size) > max {
				t.Fatalf("Range(3, 9, %d) gives %d bytes behind the first entry", max, size)
			}
		}
	})
	t.Run("random", func(t *testing.T) {
		for seed := range uint64(20) {
			random(t, open(t), settle, seed)
		}
	})
}

func empty(t *testing.T, l raftlog.LogStorage) {
	if f, last := l.FirstIndex(), l.LastIndex(); f != 1 || last != 0 {
		t.Fatalf("an empty log is [%d, %d], want [1, 0]", f, last)
	}
	if term, err := l.Term(0); term != 0 || err != nil {
		t.Fatalf("term of index 0 is %d, %v; want 0", term, err)
	}
	if _, err := l.Get(1); !errors.Is(err, raftlog.ErrUnavailable) {
		t.Fatalf("Get(1) of an empty log: %v, want ErrUnavailable", err)
	}
}

func random(t *testing.T, l raftlog.LogStorage, settle func(raftlog.LogStorage), seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	var m model
	term := id.Term(1)
	for range 60 {
		last := len(m.es)
		switch r.IntN(4) {
		case 0, 1:
			if r.IntN(3) == 0 {
				term++
			}
			at := last + 1
			if r.IntN(4) == 0 && last > 0 {
				at = 1 + r.IntN(last)
			}
			es := entries(id.Index(at), 1+r.IntN(5), term)
			must(t, l.Append(es))
			m.es = append(m.es[:at-1:at-1], es...)
		case 2:
			if last > 0 && r.IntN(3) == 0 {
				n := r.IntN(last + 1)
				must(t, l.TruncateAfter(id.Index(n)))
				m.es = m.es[:n:n]
			}
		case 3:
			settle(l)
		}
		m.check(t, l)
	}
}

// model is the dumbest log there is.
type model struct{ es []pb.Entry }

func (m model) check(t *testing.T, l raftlog.LogStorage) {
	t.Helper()
	if got := l.LastIndex(); got != id.Index(len(m.es)) {
		t.Fatalf("the log ends at %d, want %d", got, len(m.es))
	}
	for i, want := range m.es {
		got, err := l.Get(id.Index(i + 1))
		if err != nil || got.Index != want.Index || got.Term != want.Term || string(got.Data) != string(want.Data) {
			t.Fatalf("entry %d is %v, %v; want %v", i+1, got, err, want)
		}
		if term, err := l.Term(id.Index(i + 1)); err != nil || uint64(term) != want.Term {
			t.Fatalf("term of entry %d is %d, %v; want %d", i+1, term, err, want.Term)
		}
	}
	for lo := 1; lo <= len(m.es); {
		es, err := l.Range(id.Index(lo), id.Index(len(m.es)+1), math.MaxInt32)
		if err != nil {
			t.Fatalf("Range from %d: %v", lo, err)
		}
		for i := range es {
			if es[i].Index != uint64(lo+i) || string(es[i].Data) != string(m.es[lo+i-1].Data) {
				t.Fatalf("Range from %d: entry %d is %v", lo, lo+i, es[i])
			}
		}
		lo += len(es)
	}
	if _, err := l.Get(id.Index(len(m.es) + 1)); !errors.Is(err, raftlog.ErrUnavailable) {
		t.Fatalf("Get behind the end: %v, want ErrUnavailable", err)
	}
}

func entries(from id.Index, n int, term id.Term) []pb.Entry {
	es := make([]pb.Entry, n)
	for i := range es {
		index := uint64(from) + uint64(i)
		es[i] = pb.Entry{Index: index, Term: uint64(term), Data: fmt.Appendf(nil, "entry %d of term %d", index, term)}
	}
	return es
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
