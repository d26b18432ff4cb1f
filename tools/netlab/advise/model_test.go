package advise

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ackline/profiles/region"
	"ackline/tools/netlab/line"
)

// random is a topology with up to six hosts in up to four regions, the first of which has two zones, and syncs of their disks.
func random(t *testing.T, seed uint64) (*region.Topology, Config) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	delay := func() region.Distance { return region.Distance{DelayMs: float64(r.IntN(40)), OneWay: true} }
	top := &region.Topology{Name: "random"}
	regions := 2 + r.IntN(3)
	for i := range regions {
		a := region.Region{Name: string(rune('a' + i)), SameZoneDelayMs: float64(r.IntN(3))}
		if i == 0 {
			a.Zones = []string{"x", "y"}
			a.Between = []region.ZoneLink{{Zones: []string{"x", "y"}, Distance: delay()}, {Zones: []string{"y", "x"}, Distance: delay()}}
		}
		for _, b := range top.Regions {
			top.Between = append(top.Between, region.Link{Regions: []string{a.Name, b.Name}, Distance: delay()},
				region.Link{Regions: []string{b.Name, a.Name}, Distance: delay()})
		}
		top.Regions = append(top.Regions, a)
	}
	cfg := Config{Sync: time.Duration(r.IntN(5)) * time.Millisecond, SyncOf: map[string]time.Duration{}}
	cfg.SyncP99 = cfg.Sync + time.Duration(r.IntN(9))*time.Millisecond
	for i := range 2 + r.IntN(5) {
		h := region.Host{Name: fmt.Sprintf("n%d", i+1), Region: top.Regions[r.IntN(regions)].Name}
		if h.Region == "a" {
			h.Zone = []string{"x", "y"}[r.IntN(2)]
		}
		if top.Hosts = append(top.Hosts, h); r.IntN(2) == 0 {
			cfg.SyncOf[h.Name] = time.Duration(r.IntN(60)) * time.Millisecond
		}
	}
	if err := top.Validate(); err != nil {
		t.Fatal(err)
	}
	cfg.Replicas = 1 + r.IntN(len(top.Hosts))
	a := float64(r.IntN(5)) / 4
	cfg.Producers = []Producer{{"a", a}, {"b", 1 - a}}
	return top, cfg
}

// seeds is how many random topologies each test looks at.
const seeds = 100

// wireEnds is a link, or a disk, which is a link from a host to itself.
type wireEnds struct{ from, to int }

// simulate sends a record from the last host to the leader, and every message that follows from it, one by one over delay lines, and returns
// when the client has its answer. It knows nothing of the k-th smallest: the leader counts.
func simulate(top *region.Topology, sync func(host int) time.Duration, leader int, voters []int, majority int) time.Duration {
	lines := map[wireEnds]*line.Line[string]{}
	now := int64(0)
	send := func(from, to int, what string) {
		delay := top.Path(from, to).Delay
		if from == to {
			delay = sync(from)
		}
		w := wireEnds{from, to}
		if lines[w] == nil {
			lines[w] = line.New[string](line.Quality{DelayNS: int64(delay)}, 1)
		}
		lines[w].In(now, 1, what)
	}
	client, durable := len(top.Hosts)-1, 0
	send(client, leader, "record")
	for {
		var next wireEnds
		due := int64(-1)
		for w, l := range lines {
			if at, ok := l.Next(); ok && (due < 0 || at < due) {
				next, due = w, at
			}
		}
		now = due
		what, _ := lines[next].Out(now)
		switch what {
		case "record":
			for _, v := range voters {
				send(leader, v, "append") // to itself: its disk
			}
		case "append":
			if next.from != next.to {
				send(next.to, next.to, "append")
			} else if next.to != leader {
				send(next.to, leader, "durable")
			} else {
				durable++
			}
		case "durable":
			durable++
		case "answer":
			return time.Duration(now)
		}
		if what != "record" && durable >= majority {
			send(leader, client, "answer")
			durable = -len(voters) // once
		}
	}
}

// each calls f with every leader of every set of so many hosts.
func each(hosts, replicas int, f func(leader int, voters []int)) {
	for set := range uint(1) << hosts {
		if bits.OnesCount(set) != replicas {
			continue
		}
		var voters []int
		for h := range hosts {
			if set>>h&1 == 1 {
				voters = append(voters, h)
			}
		}
		for _, l := range voters {
			f(l, voters)
		}
	}
}

// Every figure is what a client of a cluster that sends its messages one by one would see, and no placement at all is better for the producers
// than the first, for a client than its own best, and by round trips alone than the bound.
func TestAgainstMessages(t *testing.T) {
	for seed := range uint64(seeds) {
		top, cfg := random(t, seed)
		r, ps := advise(t, top, cfg), places(top)
		typical := func(host int) time.Duration {
			if d, ok := cfg.SyncOf[top.Hosts[host].Name]; ok {
				return d
			}
			return cfg.Sync
		}
		with := *top
		at := func(c int, sync func(int) time.Duration, leader int, voters []int) time.Duration {
			with.Hosts = append(slices.Clone(top.Hosts), region.Host{Name: "client", Region: ps[c].region, Zone: ps[c].zone})
			return simulate(&with, sync, leader, voters, len(voters)/2+1)
		}
		mean := func(sync func(int) time.Duration, leader int, voters []int) (sum float64) {
			for c, client := range r.Clients {
				sum += client.Share * float64(at(c, sync, leader, voters))
			}
			return sum
		}
		for _, p := range r.Placements {
			for c := range ps {
				if want := at(c, typical, p.leader, p.voters); p.Latency[c] != want {
					t.Fatalf("seed %d: %s of %v from %s: %v, and %v by messages", seed, p.Leader, p.Voters, ps[c].name, p.Latency[c], want)
				}
			}
			slow := mean(func(h int) time.Duration { return max(typical(h), cfg.SyncP99) }, p.leader, p.voters)
			if d := float64(p.Slow) - slow; d > 1 || d < -1 {
				t.Fatalf("seed %d: slow %v, and %v by messages", seed, p.Slow, time.Duration(slow))
			}
		}
		looked := 0
		each(len(top.Hosts), cfg.Replicas, func(leader int, voters []int) {
			looked++
			if got := mean(typical, leader, voters); got < float64(r.Placements[0].Mean)-1 {
				t.Fatalf("seed %d: %s is said to be best with %v, but %s of %v has %v", seed, r.Placements[0].Leader, r.Placements[0].Mean,
					top.Hosts[leader].Name, voters, time.Duration(got))
			}
			if got := mean(func(int) time.Duration { return 0 }, leader, voters); got < float64(r.RTTOnly)-1 {
				t.Fatalf("seed %d: the bound is %v, but %s of %v has %v", seed, r.RTTOnly, top.Hosts[leader].Name, voters, time.Duration(got))
			}
			for c, client := range r.Clients {
				if got := at(c, typical, leader, voters); got < client.Least {
					t.Fatalf("seed %d: %s has %v at best, but %v with %s of %v", seed, client.Name, client.Least, got, top.Hosts[leader].Name, voters)
				}
			}
		})
		if r.Looked != looked {
			t.Fatalf("seed %d: looked at %d of %d", seed, r.Looked, looked)
		}
	}
}

// A distance or a sync that grows makes nothing faster: no placement, no survivor, no bound.
func TestMoreDelayIsNeverFaster(t *testing.T) {
	for seed := range uint64(seeds) {
		top, cfg := random(t, seed)
		cfg.Replicas = 0 // one set, so that placements can be compared one by one
		before := advise(t, top, cfg)
		r := rand.New(rand.NewPCG(seed, 2))
		switch grown := float64(1 + r.IntN(50)); r.IntN(3) {
		case 0:
			top.Between[r.IntN(len(top.Between))].DelayMs += grown
		case 1:
			top.Regions[0].Between[r.IntN(2)].DelayMs += grown
		default:
			cfg.SyncOf[top.Hosts[r.IntN(len(top.Hosts))].Name] = 100 * time.Millisecond
		}
		after := advise(t, top, cfg)
		if after.RTTOnly < before.RTTOnly || after.Placements[0].Mean < before.Placements[0].Mean {
			t.Fatalf("seed %d: the best fell from %v to %v, or the bound from %v to %v", seed, before.Placements[0].Mean, after.Placements[0].Mean,
				before.RTTOnly, after.RTTOnly)
		}
		for _, p := range before.Placements {
			q := after.Placements[slices.IndexFunc(after.Placements, func(q Placement) bool { return q.leader == p.leader })]
			for c := range p.Latency {
				if q.Latency[c] < p.Latency[c] {
					t.Fatalf("seed %d: %s from %s fell from %v to %v", seed, p.Leader, before.Clients[c].Name, p.Latency[c], q.Latency[c])
				}
			}
			for i, l := range p.Losses {
				if q.Losses[i].Mean < l.Mean {
					t.Fatalf("seed %d: without %s, %v fell to %v", seed, l.Gone, l.Mean, q.Losses[i].Mean)
				}
			}
		}
	}
}

// After a loss, who leads is the best of those that can, by messages among the survivors, and nobody leads without a majority of all voters.
func TestLosses(t *testing.T) {
	for seed := range uint64(seeds) {
		top, cfg := random(t, seed)
		m, err := newModel(top, cfg)
		if err != nil {
			t.Fatal(err)
		}
		p := advise(t, top, cfg).Placements[0]
		for _, l := range p.Losses {
			d := m.domains[slices.IndexFunc(m.domains, func(d domain) bool { return d.name == l.Gone })]
			leader, mean := m.bestLeft(cfg, p.voters, d)
			if (leader < 0) != (l.Leader == "") || l.Producers && (mean-float64(l.Mean) > 1 || mean-float64(l.Mean) < -1) {
				t.Fatalf("seed %d: %v of %v: %+v, and by messages %d leads with %v", seed, p.Leader, p.Voters, l, leader, time.Duration(mean))
			}
		}
		each(m.hosts, m.replicas, func(_ int, voters []int) {
			lost := m.losses(voters)
			stops := slices.ContainsFunc(lost, func(l Loss) bool { return l.Region && l.Leader == "" })
			if m.survives(voters) == stops {
				t.Fatalf("seed %d: %v survives any region: %v, but %+v", seed, voters, !stops, lost)
			}
		})
	}
}

// bestLeft tries every survivor as the leader, for every client that is left. Leader -1: none has a majority.
func (m *model) bestLeft(cfg Config, voters []int, gone domain) (leader int, mean float64) {
	sync := func(host int) time.Duration {
		if d, ok := cfg.SyncOf[m.t.Hosts[host].Name]; ok {
			return d
		}
		return cfg.Sync
	}
	left := slices.DeleteFunc(slices.Clone(voters), func(v int) bool { return gone.hosts[v] })
	leader = -1
	for _, l := range left {
		if len(left) <= len(voters)/2 {
			break
		}
		sum, weight := 0.0, 0.0
		for c, p := range m.places {
			if gone.places[c] {
				continue
			}
			with := *m.t
			with.Hosts = append(slices.Clone(m.t.Hosts), region.Host{Name: "client", Region: p.region, Zone: p.zone})
			sum += m.share[c] * float64(simulate(&with, sync, l, left, len(voters)/2+1))
			weight += m.share[c]
		}
		if leader < 0 || sum/weight < mean {
			leader, mean = l, sum/weight
		}
	}
	return leader, mean
}
