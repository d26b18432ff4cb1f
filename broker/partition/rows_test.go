package partition

import (
	"math/rand/v2"
	"testing"

	"ackline/broker/id"
)

// TestRowListAgainstASlice pushes and drops at random and compares with the dumbest list there is.
func TestRowListAgainstASlice(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var l rowList
	var model []row
	next := id.Index(1)
	for range 400 {
		for range r.IntN(3 * rowsPerChunk / 2) {
			l.push(row{index: next})
			model = append(model, row{index: next})
			next++
		}
		held := l.snapshot()
		want := append([]row(nil), model...)
		n := r.IntN(len(model) + 1)
		if len(model) > 0 {
			if got := l.upTo(model[0].index + id.Index(n) - 1); got != n {
				t.Fatalf("upTo says %d rows, want %d", got, n)
			}
		}
		l.drop(n)
		model = model[n:]
		if l.n != len(model) {
			t.Fatalf("%d rows, want %d", l.n, len(model))
		}
		for range 20 {
			if len(model) == 0 {
				break
			}
			i := r.IntN(len(model))
			if got := l.at(i).index; got != model[i].index {
				t.Fatalf("row %d is %d, want %d", i, got, model[i].index)
			}
			if got := l.search(func(r *row) bool { return r.index >= model[i].index }); got != i {
				t.Fatalf("search finds row %d, want %d", got, i)
			}
		}
		if f := l.front(); len(model) > 0 && (len(f) == 0 || f[0].index != model[0].index) {
			t.Fatalf("the front does not begin with row %d", model[0].index)
		}
		i := 0
		for got := range held {
			if got.index != want[i].index {
				t.Fatalf("a snapshot changed: row %d is %d, want %d", i, got.index, want[i].index)
			}
			i++
		}
		if i != len(want) {
			t.Fatalf("a snapshot has %d rows, want %d", i, len(want))
		}
	}
}
