package rows

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"ackline/broker/id"
	"ackline/broker/seglog"
)

// rowMaker makes rows as they are applied, now and then one that needs a chunk of its own.
type rowMaker struct {
	r    *rand.Rand
	last Row
}

func (m *rowMaker) next() Row {
	r := Row{Index: m.last.Index + 1, Term: m.last.Term, Base: m.last.Next(), Delta: int32(m.r.IntN(3)),
		MaxMs: 1_700_000_000_000 + m.r.Int64N(100), Length: m.r.Int32N(2000)}
	switch m.r.IntN(200) {
	case 0:
		r.Term += id.Term(m.r.IntN(3))
	case 1:
		r.Type = 2
		fallthrough
	case 2, 3:
		r.Delta, r.MaxMs = seglog.Control, seglog.NoTimestamp
	case 4:
		r.Delta = math.MaxInt32
	case 5:
		r.MaxMs = []int64{math.MinInt64, -1, 0, math.MaxInt64}[m.r.IntN(4)]
	case 6:
		r.Length = math.MaxInt32
		fallthrough
	case 7:
		r.Roll = true
	}
	m.last = r
	return r
}

// TestRowListAgainstASlice pushes and drops at random and compares with the dumbest list there is.
func TestRowListAgainstASlice(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	m := rowMaker{r: r}
	var l List
	var model []Row
	for range 400 {
		for range r.IntN(3 * perChunk / 2) {
			l.Push(m.next())
			model = append(model, m.last)
		}
		held, want := l.Snapshot(), slices.Clone(model)
		n := r.IntN(len(model) + 1)
		if r.IntN(20) == 0 {
			n = len(model)
		}
		if len(model) > 0 {
			if got := l.UpTo(model[0].Index + id.Index(n) - 1); got != n {
				t.Fatalf("upTo says %d rows, want %d", got, n)
			}
		}
		var dropped []Row
		l.Drop(n, func(r Row) { dropped = append(dropped, r) })
		if !slices.Equal(dropped, model[:n]) {
			t.Fatalf("the %d rows that are dropped are not the first", n)
		}
		model = model[n:]
		if l.n != len(model) {
			t.Fatalf("%d rows, want %d", l.n, len(model))
		}
		if got := slices.Collect(held); !slices.Equal(got, want) {
			t.Fatalf("a snapshot of %d rows has changed", len(want))
		}
		for range 20 {
			compareRows(t, r, &l, model)
		}
	}
}

func compareRows(t *testing.T, r *rand.Rand, l *List, model []Row) {
	t.Helper()
	if len(model) == 0 {
		if got := l.Search(func(Row) bool { return true }); got != 0 {
			t.Fatalf("search finds row %d of none", got)
		}
		return
	}
	i := r.IntN(len(model))
	if got := l.At(i); got != model[i] {
		t.Fatalf("row %d is %+v, want %+v", i, got, model[i])
	}
	if got := l.Search(func(r Row) bool { return r.Index >= model[i].Index }); got != i {
		t.Fatalf("search finds row %d, want %d", got, i)
	}
	if got := l.Search(func(Row) bool { return false }); got != len(model) {
		t.Fatalf("search finds row %d where none is", got)
	}
	if got := slices.Collect(l.From(i)); !slices.Equal(got, model[i:]) {
		t.Fatalf("from row %d on there are %d others, want %d", i, len(got), len(model)-i)
	}
	most := 1 + r.IntN(2*len(model))
	want, bytes := 0, 0
	for want < min(i+1, most) && bytes < 1<<20 {
		bytes += int(model[want].Length)
		want++
	}
	if got := l.AppendFront(nil, model[i].Index, most, 1<<20); !slices.Equal(got, model[:want]) {
		t.Fatalf("the front up to row %d, at most %d, has %d rows, want %d", i, most, len(got), want)
	}
}
