// Package placing decides which replica of a partition is to lead, where distance counts. The problem is that the answer is cheap to
// compute and dear to follow: each move holds producers for a moment, measurements wander, producers come and go, and two places that
// are nearly as good must not take turns.
//
// What a producer waits for is its own way to the leader and back, and the leader's to as many others as make a majority:
//
//	cost(leader) = Σ share(place) × roundtrip(place, leader)  +  roundtrip(leader, the voter that completes the majority)
//
// A place is what a producer says of itself (package broker/api/origin): a region or a zone. Its distance is that of the nearest node
// there. Of a producer whose place nobody knows only the second part counts, as it is the same for every place.
//
// A move needs three things: a gain of at least Policy.Gain and a tenth of what is; that gain at every look for Policy.Hold; and
// Policy.Every since this node came to lead. The first time that a group is looked at it has just come, wherever it was before, so the
// limit holds across leaders without anything being remembered elsewhere.
//
// A topic may name a region or zone for its leaders (leader.region). As long as a replica there could lead, the others are no
// candidates, and to go there needs only Hold.
//
// There is no clock and no I/O in here: who calls says what is, and when.
package placing

import (
	"maps"
	"math"
	"slices"
	"time"

	"ackline/broker/id"
)

// Policy is when a leadership may move. Zero means the default, which is in Defaults.
type Policy struct {
	Gain  time.Duration // least gain; a tenth of what is, if that is more
	Hold  time.Duration // how long it must have lasted
	Every time.Duration // between two moves of a partition
}

// Defaults are a policy for links between regions: what is gained is felt, and a partition's producers are held up once in two
// minutes at most.
func Defaults() Policy {
	return Policy{Gain: 2 * time.Millisecond, Hold: 30 * time.Second, Every: 2 * time.Minute}
}

// Place is where a node is.
type Place struct{ Region, Zone string }

// In tells whether a name means the place: its zone, or its region.
func (p Place) In(name string) bool { return name != "" && (p.Zone == name || p.Region == name) }

// Map is the cluster: where nodes are, and how far from each other.
type Map struct {
	Places map[id.NodeID]Place
	Trips  map[[2]id.NodeID]time.Duration // measured, either way
}

// Trip returns the round trip between two nodes: the shorter of what both measured, since it has less of what a busy reader adds.
func (m Map) Trip(a, b id.NodeID) (time.Duration, bool) {
	if a == b {
		return 0, true
	}
	there, ok := m.Trips[[2]id.NodeID{a, b}]
	back, also := m.Trips[[2]id.NodeID{b, a}]
	if ok && also {
		return min(there, back), true
	}
	return there + back, ok || also
}

// from returns the round trip between a place and a node, that of the nearest node there.
func (m Map) from(place string, to id.NodeID) (best time.Duration, known bool) {
	for n, at := range m.Places {
		if !at.In(place) {
			continue
		}
		if d, ok := m.Trip(n, to); ok && (!known || d < best) {
			best, known = d, true
		}
	}
	return best, known
}

// Partition is a partition as the node sees it that leads it.
type Partition struct {
	Group  id.GroupID
	Leader id.NodeID
	// Voters are the nodes whose replicas vote, the leader among them. Able are those of them that could take over now, alive and
	// caught up, the leader too, in the order of the placement: of equals the first is taken, which spreads partitions.
	Voters, Able []id.NodeID
	Produced     map[string]uint64 // bytes since the last look, by place; "" for who does not say
	Region       string            // the topic's leader.region; empty: any
}

// Cost returns what a producer waits for if a node leads. It is false if that was not measured.
func (m Map) Cost(p Partition, leader id.NodeID, shares map[string]float64) (time.Duration, bool) {
	var others []time.Duration
	for _, v := range p.Voters {
		if v == leader {
			continue
		}
		if d, ok := m.Trip(leader, v); ok {
			others = append(others, d)
		}
	}
	need := len(p.Voters) / 2 // beside the leader
	if len(others) < need {
		return 0, false
	}
	slices.Sort(others)
	cost := 0.0
	if need > 0 {
		cost = float64(others[need-1])
	}
	for _, place := range slices.Sorted(maps.Keys(shares)) { // in one order, as sums of floats depend on it
		if d, known := m.from(place, leader); known {
			cost += shares[place] * float64(d)
		}
	}
	return time.Duration(cost), true
}

// Move is a decision, and what it is for.
type Move struct {
	To        id.NodeID
	Now, Then time.Duration // cost; 0 if the topic's region is the reason
}

// Home is why a leader goes to its topic's region.
const Home = "it is in the topic's leader.region"

// Why says what a move is for.
func (m Move) Why() string {
	if m.Now == 0 {
		return Home
	}
	return "it is nearer to the producers and a majority"
}

// Decider looks at partitions again and again. Not safe for concurrent use.
type Decider struct {
	policy Policy
	groups map[id.GroupID]*wish
	looks  uint64
}

// wish is what is remembered of a partition that this node leads.
type wish struct {
	seen     uint64 // look
	at, came time.Time
	bytes    map[string]float64 // produced, older ones counting for less
	to       id.NodeID          // 0: nobody
	since    time.Time
}

// New returns a decider that has seen nothing.
func New(p Policy) *Decider {
	d := Defaults()
	for _, f := range []struct{ v, def *time.Duration }{{&p.Gain, &d.Gain}, {&p.Hold, &d.Hold}, {&p.Every, &d.Every}} {
		if *f.v == 0 {
			*f.v = *f.def
		}
	}
	return &Decider{policy: p, groups: map[id.GroupID]*wish{}}
}

// Look takes what all partitions are that this node leads, and returns those that are to move, in the order of list.
func (d *Decider) Look(now time.Time, m Map, list []Partition) map[id.GroupID]Move {
	d.looks++
	moves := map[id.GroupID]Move{}
	for _, p := range list {
		w := d.groups[p.Group]
		if w == nil {
			w = &wish{at: now, came: now, bytes: map[string]float64{}}
			d.groups[p.Group] = w
		}
		w.seen = d.looks
		w.count(p.Produced, now, d.policy.Hold)
		move, within := d.best(m, p, w.shares())
		switch {
		case move.To == 0 || move.To != w.to:
			w.to, w.since = move.To, now
		case now.Sub(w.since) >= d.policy.Hold && (within || now.Sub(w.came) >= d.policy.Every):
			moves[p.Group] = move
		}
	}
	maps.DeleteFunc(d.groups, func(_ id.GroupID, w *wish) bool { return w.seen != d.looks })
	return moves
}

// best returns who would be better, and whether that is for the topic's region.
func (d *Decider) best(m Map, p Partition, shares map[string]float64) (best Move, within bool) {
	able := p.Able
	if home := slices.DeleteFunc(slices.Clone(able), func(n id.NodeID) bool { return !m.Places[n].In(p.Region) }); len(home) > 0 {
		if !slices.Contains(home, p.Leader) {
			return Move{To: d.nearest(m, p, home, shares)}, true
		}
		able = home
	}
	now, known := m.Cost(p, p.Leader, shares)
	if !known || len(shares) == 0 {
		return best, false // without producers there is nothing to gain
	}
	to := d.nearest(m, p, able, shares)
	then, known := m.Cost(p, to, shares)
	if !known || now-then < max(d.policy.Gain, now/10) {
		return best, false
	}
	return Move{To: to, Now: now, Then: then}, false
}

// nearest returns the first of some nodes that is as good as the best, but for less than would be worth a move; the first of all if
// nothing is known of any.
func (d *Decider) nearest(m Map, p Partition, nodes []id.NodeID, shares map[string]float64) id.NodeID {
	least := time.Duration(math.MaxInt64)
	for _, n := range nodes {
		if c, known := m.Cost(p, n, shares); known {
			least = min(least, c)
		}
	}
	for _, n := range nodes {
		if c, known := m.Cost(p, n, shares); known && c-least < max(d.policy.Gain, least/10) {
			return n
		}
	}
	return nodes[0]
}

// count adds what was produced. What is Hold older counts for half.
func (w *wish) count(produced map[string]uint64, now time.Time, hold time.Duration) {
	fade := math.Exp2(-now.Sub(w.at).Seconds() / hold.Seconds())
	w.at = now
	for place, b := range w.bytes {
		if w.bytes[place] = b * fade; w.bytes[place] < 1 {
			delete(w.bytes, place)
		}
	}
	for place, b := range produced {
		w.bytes[place] += float64(b)
	}
}

func (w *wish) shares() map[string]float64 {
	sum := 0.0
	for _, place := range slices.Sorted(maps.Keys(w.bytes)) {
		sum += w.bytes[place]
	}
	out := make(map[string]float64, len(w.bytes))
	for place, b := range w.bytes {
		out[place] = b / sum
	}
	return out
}
