package origin

import (
	"fmt"
	"reflect"
	"testing"

	"ackline/broker/id"
)

func TestOf(t *testing.T) {
	for in, want := range map[string]string{"": "", "billing": "", "billing@frankfurt": "frankfurt", "a@b@fra-1a": "fra-1a", "billing@": "", "@x": "x"} {
		if got := string(Of([]byte(in))); got != want {
			t.Errorf("%q is from %q, want %q", in, got, want)
		}
	}
}

func TestTally(t *testing.T) {
	a := New()
	a.Add(1, []byte("fra"), 10)
	a.Add(1, nil, 5)
	a.Add(1, []byte("fra"), 10)
	a.Add(2, []byte("tyo"), 1)
	want := map[id.GroupID]map[string]uint64{1: {"fra": 20, "": 5}, 2: {"tyo": 1}}
	if got := a.Take(); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := a.Take(); len(got) != 0 {
		t.Errorf("again: %v", got)
	}
	(*Tally)(nil).Add(1, nil, 1)
}

// Clients that say something else each time cost a bounded amount of memory.
func TestTallyIsBounded(t *testing.T) {
	a := New()
	for i := range 10 * MaxPlaces {
		a.Add(1, fmt.Append(nil, i), 1)
	}
	got := a.Take()[1]
	if len(got) > MaxPlaces+1 || got[""] != 9*MaxPlaces {
		t.Errorf("%d places, %d bytes from nowhere", len(got), got[""])
	}
}

func TestAddAllocs(t *testing.T) {
	a, place := New(), []byte("eu-central-1a")
	if n := testing.AllocsPerRun(100, func() { a.Add(9, Of(append(place[:0:0], place...)), 1); a.Add(9, place, 1) }); n > 1 {
		t.Errorf("%v allocations, one of them the test's", n)
	}
}
