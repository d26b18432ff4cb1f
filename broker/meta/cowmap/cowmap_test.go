package cowmap

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// TestAgainstMap edits maps at random and compares every version that there was with a plain copy of it, at the end:
// an edit that reaches an earlier version shows.
func TestAgainstMap(t *testing.T) {
	for name, shard := range map[string]func(int) uint8{
		"one shard":   func(int) uint8 { return 7 },
		"many shards": func(k int) uint8 { return uint8(k) },
	} {
		r := rand.New(rand.NewPCG(1, 1))
		current, want := New[int, int](shard), map[int]int{}
		var versions []Map[int, int]
		var copies []map[int]int
		for range 200 {
			edit := current.Edit()
			for range r.IntN(10) {
				k, v := r.IntN(1000), r.IntN(1000)
				if r.IntN(3) == 0 {
					edit.Remove(k)
					delete(want, k)
				} else {
					edit.Set(k, v)
					want[k] = v
				}
				if got, found := edit.Get(k); got != want[k] || found != hasKey(want, k) {
					t.Fatalf("%s: key %d is %d, %t within the edit", name, k, got, found)
				}
			}
			current = edit.Map()
			versions, copies = append(versions, current), append(copies, maps.Clone(want))
		}
		for i := range versions {
			got := maps.Collect(versions[i].All())
			if !maps.Equal(got, copies[i]) || versions[i].Len() != len(copies[i]) {
				t.Fatalf("%s: version %d has %d keys and says %d, want %d", name, i, len(got), versions[i].Len(), len(copies[i]))
			}
			for k := range 1000 {
				v, found := versions[i].Get(k)
				if want, has := copies[i][k]; v != want || found != has {
					t.Fatalf("%s: version %d: key %d is %d, %t; want %d, %t", name, i, k, v, found, want, has)
				}
			}
		}
	}
}

func hasKey(m map[int]int, k int) bool { _, ok := m[k]; return ok }

// TestDroppedEdit leaves no trace.
func TestDroppedEdit(t *testing.T) {
	m := New[string, int](StringShard)
	edit := m.Edit()
	edit.Set("a", 1)
	m = edit.Map()
	dropped := m.Edit()
	dropped.Set("a", 2)
	dropped.Set("b", 2)
	dropped.Remove("a")
	if got := maps.Collect(m.All()); len(got) != 1 || got["a"] != 1 {
		t.Fatalf("%v", got)
	}
}

func TestGetBytes(t *testing.T) {
	m := New[string, int](StringShard)
	edit := m.Edit()
	for i, name := range []string{"", "a", "orders", "\x00\xff"} {
		edit.Set(name, i)
	}
	m = edit.Map()
	for name, want := range m.All() {
		if got, found := GetBytes(&m, []byte(name)); !found || got != want {
			t.Errorf("%q is %d, %t; want %d", name, got, found, want)
		}
	}
	if _, found := GetBytes(&m, []byte("missing")); found {
		t.Error("found what is not there")
	}
}

func TestAllStops(t *testing.T) {
	m := New[string, int](StringShard)
	edit := m.Edit()
	edit.Set("a", 1)
	edit.Set("b", 2)
	m = edit.Map()
	seen := 0
	for range m.All() {
		seen++
		break
	}
	if seen != 1 {
		t.Fatalf("%d keys after a break", seen)
	}
}
