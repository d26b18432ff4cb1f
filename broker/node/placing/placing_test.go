package placing

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"ackline/broker/id"
)

const ms = time.Millisecond

// world is frankfurt (1), london (2), tokyo (3) and a second node in frankfurt (4).
func world() Map {
	return Map{
		Places: map[id.NodeID]Place{1: {"frankfurt", "fra-a"}, 2: {"london", "lon-a"}, 3: {"tokyo", "tyo-a"}, 4: {"frankfurt", "fra-b"}},
		Trips: map[[2]id.NodeID]time.Duration{{1, 2}: 14 * ms, {1, 3}: 230 * ms, {2, 3}: 220 * ms, {1, 4}: ms, {2, 4}: 14 * ms,
			{3, 4}: 230 * ms, {2, 1}: 15 * ms},
	}
}

func three(leader id.NodeID, produced map[string]uint64) Partition {
	return Partition{Group: 7, Leader: leader, Voters: []id.NodeID{1, 2, 3}, Able: []id.NodeID{1, 2, 3}, Produced: produced}
}

var start = time.Unix(1_000_000, 0)

// run looks every ten seconds, at what each step says, and returns at which looks who was moved to. A move is carried out: the group
// is another node's then, whose decider is a new one.
func run(p Policy, steps int, m func(i int) Map, part func(i int, leader id.NodeID) Partition) (moves []string) {
	d, leader := New(p), id.NodeID(0)
	for i := range steps {
		x := part(i, leader)
		if leader == 0 {
			leader = x.Leader
		}
		x.Leader = leader
		if to, ok := d.Look(start.Add(time.Duration(i)*10*time.Second), m(i), []Partition{x})[7]; ok {
			moves = append(moves, fmt.Sprintf("%d:%d", i, to.To))
			leader, d = to.To, New(p)
		}
	}
	return moves
}

func steady(i int) Map { return world() }

func TestCost(t *testing.T) {
	m := world()
	for _, c := range []struct {
		leader id.NodeID
		shares map[string]float64
		want   time.Duration
	}{
		{1, nil, 14 * ms}, // the quorum alone
		{3, nil, 220 * ms},
		{1, map[string]float64{"frankfurt": 1}, 14 * ms},
		{1, map[string]float64{"tokyo": 1}, 244 * ms},
		{3, map[string]float64{"tokyo": 1}, 220 * ms},
		{2, map[string]float64{"fra-b": 1}, 28 * ms}, // a zone
		{1, map[string]float64{"frankfurt": 0.5, "tokyo": 0.5}, 129 * ms},
		{1, map[string]float64{"": 0.5, "mars": 0.5}, 14 * ms}, // nobody knows where that is
	} {
		if got, ok := m.Cost(three(1, nil), c.leader, c.shares); !ok || got != c.want {
			t.Errorf("node %d leads, producers %v: %v, %v, want %v", c.leader, c.shares, got, ok, c.want)
		}
	}
	delete(m.Trips, [2]id.NodeID{1, 2})
	delete(m.Trips, [2]id.NodeID{2, 1})
	if got, ok := m.Cost(three(1, nil), 1, nil); !ok || got != 230*ms {
		t.Errorf("with one of two ways measured: %v, %v", got, ok)
	}
	delete(m.Trips, [2]id.NodeID{1, 3})
	if got, ok := m.Cost(three(1, nil), 1, nil); ok {
		t.Errorf("with none measured: %v", got)
	}
	if got, ok := m.Cost(Partition{Voters: []id.NodeID{1}}, 1, nil); !ok || got != 0 {
		t.Errorf("alone: %v, %v", got, ok)
	}
}

// What is 10 s later stands one step further: Hold is three looks behind the first, Every twelve.
func TestLook(t *testing.T) {
	from := func(place string) func(int, id.NodeID) Partition {
		return func(_ int, _ id.NodeID) Partition { return three(3, map[string]uint64{place: 1000}) }
	}
	leads := func(n id.NodeID, place string) func(int, id.NodeID) Partition {
		return func(_ int, _ id.NodeID) Partition { return three(n, map[string]uint64{place: 1000}) }
	}
	for _, c := range []struct {
		name string
		m    func(int) Map
		part func(int, id.NodeID) Partition
		want string
	}{
		{"producers in frankfurt, led in tokyo", steady, from("frankfurt"), "[12:1]"},
		{"in tokyo, led in tokyo: 220 ms, and 234 or more elsewhere", steady, from("tokyo"), "[]"},
		{"in tokyo, led in frankfurt: 244 ms, and a tenth is 24.4", steady, leads(1, "tokyo"), "[]"},
		{"in london, led in frankfurt: 28 ms, london 14", steady, leads(1, "london"), "[12:2]"},
		{"who says nothing has no way: the quorum counts, and the first of equals leads", steady, from(""), "[12:1]"},
		{"no producers", steady, func(int, id.NodeID) Partition { return three(3, nil) }, "[]"},
		{"nothing measured", func(int) Map { return Map{} }, from("frankfurt"), "[]"},
		{"the better one is not able to", steady, func(int, id.NodeID) Partition {
			p := three(3, map[string]uint64{"frankfurt": 1})
			p.Able = []id.NodeID{2, 3}
			return p
		}, "[12:2]"},
		{"the gain is there at every other look", func(i int) Map {
			m := world()
			if i%2 == 0 {
				m.Trips = map[[2]id.NodeID]time.Duration{{1, 2}: 440 * ms, {1, 3}: ms, {2, 3}: ms}
			}
			return m
		}, from("london"), "[]"},
		{"the wish is for another at every other look", func(i int) Map {
			m := world()
			m.Trips[[2]id.NodeID{2, 3}], m.Trips[[2]id.NodeID{1, 3}] = 220*ms, 220*ms
			return m
		}, func(i int, _ id.NodeID) Partition {
			p := three(3, map[string]uint64{"": 1000})
			p.Able = []id.NodeID{id.NodeID(1 + i%2), 3}
			return p
		}, "[]"},
		{"producers take turns, ten minutes each", steady, func(i int, _ id.NodeID) Partition {
			return three(1, map[string]uint64{[]string{"frankfurt", "london"}[i/60%2]: 1000})
		}, "[66:2 126:1 186:2]"},
		{"producers take turns, ten seconds each: 21 ms in frankfurt and in london, nobody moves", steady, func(i int, _ id.NodeID) Partition {
			return three(1, map[string]uint64{[]string{"frankfurt", "london"}[i%2]: 1000})
		}, "[]"},
	} {
		if got := fmt.Sprint(run(Policy{}, 240, c.m, c.part)); got != c.want {
			t.Errorf("%s: moves at look and to: %s, want %s", c.name, got, c.want)
		}
	}
}

// The topic's region wins over latency while a replica there is able, and not longer.
func TestRegion(t *testing.T) {
	in := func(region string, able func(i int) []id.NodeID) func(int, id.NodeID) Partition {
		return func(i int, _ id.NodeID) Partition {
			p := three(1, map[string]uint64{"frankfurt": 1000})
			p.Region, p.Able = region, able(i)
			return p
		}
	}
	all := func(int) []id.NodeID { return []id.NodeID{1, 2, 3} }
	for _, c := range []struct {
		name string
		part func(int, id.NodeID) Partition
		want string
	}{
		{"a region", in("tokyo", all), "[3:3]"}, // after Hold, and without waiting for Every
		{"a zone", in("lon-a", all), "[3:2]"},
		{"where it is", in("frankfurt", all), "[]"},
		{"where nobody is", in("mars", all), "[]"},
		{"where nobody is able", in("tokyo", func(int) []id.NodeID { return []id.NodeID{1, 2} }), "[]"},
		{"a replica there that dies, and is back", in("tokyo", func(i int) []id.NodeID {
			if i >= 10 && i < 40 {
				return []id.NodeID{1, 2}
			}
			return []id.NodeID{1, 2, 3}
		}), "[3:3 16:1 43:3]"},
		{"one that comes and goes too fast", in("tokyo", func(i int) []id.NodeID { return []id.NodeID{1, 2, 3}[:2+i%2] }), "[]"},
	} {
		if got := fmt.Sprint(run(Policy{}, 60, steady, c.part)); got != c.want {
			t.Errorf("%s: moves at look and to: %s, want %s", c.name, got, c.want)
		}
	}
	// Within a region latency decides.
	p := Partition{Group: 7, Leader: 3, Voters: []id.NodeID{4, 1, 3}, Able: []id.NodeID{4, 1, 3}, Region: "frankfurt"}
	if got := run(Policy{}, 10, steady, func(int, id.NodeID) Partition { return p }); fmt.Sprint(got) != "[3:4]" {
		t.Errorf("of two in the region that are as good: %s, want the first of the placement", got)
	}
}

// Of nodes that are as good as each other the placement's first is taken, so that partitions spread as it does.
func TestEqualsAreSpread(t *testing.T) {
	d, got := New(Policy{Every: time.Second, Hold: time.Second}), map[id.NodeID]int{}
	var list []Partition
	for g := range id.GroupID(10) {
		able := []id.NodeID{1, 4, 3}
		if g%2 == 1 {
			able = []id.NodeID{4, 1, 3}
		}
		list = append(list, Partition{Group: g, Leader: 3, Voters: able, Able: able, Produced: map[string]uint64{"frankfurt": 1}})
	}
	for i := range 3 {
		for _, m := range d.Look(start.Add(time.Duration(i)*time.Second), world(), list) {
			if i == 2 {
				t.Fatalf("%v again", m)
			}
			got[m.To]++
		}
		if i == 1 {
			list = nil
		}
	}
	if got[1] != 5 || got[4] != 5 {
		t.Errorf("moved to %v, want five to each", got)
	}
}

// Whatever is measured, a partition moves no more often than Every; and the same inputs give the same decisions.
func TestWildInputs(t *testing.T) {
	for seed := range uint64(16) {
		walk := func() []string {
			r := rand.New(rand.NewPCG(seed, 1))
			p := Policy{Hold: time.Duration(r.IntN(40)+1) * time.Second}
			places := []string{"frankfurt", "london", "tokyo", "", "mars"}
			return run(p, 300, func(int) Map {
				m := world()
				for k := range m.Trips {
					if m.Trips[k] = time.Duration(r.IntN(300)) * ms; seed%2 == 0 { // the order of a map is not the seed's
						m.Trips[k] = time.Duration(len(places)) * ms * time.Duration(k[0]+k[1]*k[0])
					}
				}
				return m
			}, func(int, id.NodeID) Partition {
				return three(id.NodeID(1+r.IntN(3)), map[string]uint64{places[r.IntN(len(places))]: uint64(r.IntN(1 << 20))})
			})
		}
		moves := walk()
		last := -12
		for _, m := range moves {
			var at, to int
			fmt.Sscanf(m, "%d:%d", &at, &to)
			if at-last < 12 {
				t.Fatalf("seed %d: moves %v, two of them within Every", seed, moves)
			}
			last = at
		}
		if seed%2 == 0 && !reflect.DeepEqual(walk(), moves) {
			t.Fatalf("seed %d: other decisions of the same inputs", seed)
		}
	}
}
