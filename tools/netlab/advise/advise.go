// Package advise says where the leader of a replicated log is best placed, and which hosts hold replicas, from the distances of a
// topology and from what a durable write costs. Nothing is run and nothing is measured: it is arithmetic, a floor to compare a
// measured cluster with, and a way to throw most placements away before any of them is built.
//
// The model. A record from client c with leader l is acknowledged after
//
//	one-way(c,l) + commit(l) + one-way(l,c)
//
//	commit(l) = the k-th smallest, of n voters, k = n/2 + 1, of   sync(l)                                  the leader itself
//	                                                              one-way(l,f) + sync(f) + one-way(f,l)    each follower f
//
// Where the terms come from: one-way is the topology's delay in that direction (profiles/region names the publication of each), so the
// two directions may differ; because every leg is walked there and back, only their sum counts. sync is the caller's figure, measured on the disks that are meant (walbench raw). That the leader's sync is
// one of the voters, beside the followers and not before them, is how the write path is built (ARCHITECTURE.md §3): messages leave
// before the leader's own sync begins, and any majority will do.
//
// What it assumes: connections are open; a message is alone on its link, so that its size and the link's rate do not count; a sync
// begins when the record arrives, though in a busy log it waits for the one under way, which is up to one sync more; programs take no time;
// no jitter and no loss. All of these only add. So the figures are the least that a cluster of this placement can show for a typical write,
// and a cluster that shows less does not wait for its majority.
//
// A client stands in a zone of a region, on a machine of its own: its distance to a broker in its zone is that of two hosts there.
//
// When every sync takes the same, it is added to each voter's time, and cannot change which placement is best. It is otherwise when
// some disks are slower than others: two followers may outrun a slow leader. Two more figures bracket the typical one: by round trips
// alone (every sync takes nothing: no disk helps below that), and slow (every sync takes its p99). No more than k % of writes
// are slower than slow, because each of the k voters that count at it is slower than its p99 one time in a hundred.
package advise

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"ackline/profiles/region"
)

// MostPlacements is how many placements are looked at; a search that has more is refused, so that a search ends while somebody waits.
const MostPlacements = 1_000_000

// Config is what is asked.
type Config struct {
	Sync    time.Duration            // what a durable write takes, typically
	SyncP99 time.Duration            // what it takes one time in a hundred; 0 = Sync
	SyncOf  map[string]time.Duration // hosts whose typical sync is another; their p99 is the greater of this and SyncP99
	// Replicas is how many of the hosts vote; 0 = all.
	Replicas int
	// Producers say where records come from; none = from every region alike. Shares add up to 1.
	Producers []Producer
	// SurviveRegion leaves out sets of voters that have no majority any more when one region goes away.
	SurviveRegion bool
}

// Producer is a share of the records.
type Producer struct {
	Where string  // a region, whose zones have it in equal parts, or REGION/ZONE
	Share float64 // 0 to 1
}

// Result is every leader with its best set of voters. Times are nanoseconds.
type Result struct {
	Topology string   `json:"topology"`
	Hosts    int      `json:"hosts"`
	Replicas int      `json:"replicas"`
	Majority int      `json:"majority"`
	Clients  []Client `json:"clients"`
	// Placements are one for each host that can lead: its best set of voters. The first is the one to use.
	Placements []Placement `json:"placements"`
	Looked     int         `json:"looked_at"` // placements that were compared
	// RTTOnly is the least mean of all that were looked at if syncs took nothing: what no disk and no program can beat.
	RTTOnly time.Duration `json:"rtt_only_least_ns"`
	Advice  string        `json:"advice"`
	Notes   []string      `json:"notes,omitempty"` // what the topology has and the figures do not
}

// Client is a place from which records come.
type Client struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"`
	// Least is what the placement that is best for this client alone would give it, and LeastLeader who leads then.
	Least       time.Duration `json:"least_ns"`
	LeastLeader string        `json:"least_leader"`
}

// Placement is a set of voters and the one of them that leads.
type Placement struct {
	Leader       string          `json:"leader"`
	Where        string          `json:"where"`
	Voters       []string        `json:"voters"`
	Commit       time.Duration   `json:"commit_ns"` // from the record at the leader to its majority
	Slowest      string          `json:"slowest"`   // the voter that completes the majority, and where it is
	SlowestWhere string          `json:"slowest_where"`
	Latency      []time.Duration `json:"latency_ns"` // of each of Result.Clients
	Mean         time.Duration   `json:"mean_ns"`    // over the producers, by their shares
	RTTOnly      time.Duration   `json:"rtt_only_mean_ns"`
	Slow         time.Duration   `json:"slow_mean_ns"` // every sync takes its p99
	// Worst is the worst of the clients that produce anything.
	Worst       time.Duration `json:"worst_ns"`
	WorstClient string        `json:"worst_client"`
	Losses      []Loss        `json:"losses"`

	leader int
	voters []int
}

// Loss is what remains when a region or a zone with voters goes away, with its clients.
type Loss struct {
	Gone   string `json:"gone"`
	Region bool   `json:"region"` // else a zone of a region that has several
	Left   int    `json:"voters_left"`
	// Leader is the survivor that is best for the producers that are left, though an election may choose another; "" = no majority,
	// nothing is acknowledged any more.
	Leader  string        `json:"leader,omitempty"`
	Slowest string        `json:"slowest,omitempty"`
	Commit  time.Duration `json:"commit_ns,omitempty"`
	Mean    time.Duration `json:"mean_ns,omitempty"` // over the producers that are left
	Was     time.Duration `json:"was_ns,omitempty"`  // the same producers' mean before
	// Producers tells whether any is left; if not, Mean and Was are 0.
	Producers bool `json:"producers_left"`

	places map[int]bool // that went
}

// Advise compares the placements. Errors say what of the topology or of cfg cannot be.
func Advise(t *region.Topology, cfg Config) (*Result, error) {
	m, err := newModel(t, cfg)
	if err != nil {
		return nil, err
	}
	s, err := m.search(cfg.SurviveRegion)
	if err != nil {
		return nil, err
	}
	r := &Result{Topology: t.Name, Hosts: m.hosts, Replicas: m.replicas, Majority: m.majority, Looked: s.looked, RTTOnly: s.rttOnly, Notes: m.notes()}
	for c, where := range m.places {
		r.Clients = append(r.Clients, Client{where.name, m.share[c], s.least[c], t.Hosts[s.leastLeader[c]].Name})
	}
	for l := range s.best {
		if s.best[l].voters != nil {
			r.Placements = append(r.Placements, m.describe(l, s.best[l].voters))
		}
	}
	slices.SortStableFunc(r.Placements, m.compare)
	r.Advice = r.advice()
	return r, nil
}

// place is a zone of a region, in which clients may be.
type place struct{ name, region, zone string }

// places lists every zone, of regions without a host too.
func places(t *region.Topology) (out []place) {
	for _, r := range t.Regions {
		zones := r.Zones
		if len(zones) == 0 {
			zones = []string{""}
		}
		for _, z := range zones {
			p := place{r.Name, r.Name, z}
			if len(zones) > 1 {
				p.name += "/" + z
			}
			out = append(out, p)
		}
	}
	return out
}

// shares gives each place its part of the records.
func shares(t *region.Topology, ps []place, producers []Producer) ([]float64, error) {
	if len(producers) == 0 {
		for _, r := range t.Regions {
			producers = append(producers, Producer{r.Name, 1 / float64(len(t.Regions))})
		}
	}
	var errs []error
	var names, seen []string
	for _, p := range ps {
		names = append(names, p.name)
	}
	sum := 0.0
	out := make([]float64, len(ps))
	for _, p := range producers {
		var in []int
		for i, at := range ps {
			if p.Where == at.region || p.Where == at.region+"/"+at.zone {
				in = append(in, i)
			}
		}
		switch {
		case len(in) == 0:
			errs = append(errs, fmt.Errorf("producers: region %q is not in %s: there are %s", p.Where, t.Name, strings.Join(names, ", ")))
		case slices.Contains(seen, p.Where):
			errs = append(errs, fmt.Errorf("producers: %q is listed twice: want its whole share once", p.Where))
		case !(p.Share >= 0 && p.Share <= 1):
			errs = append(errs, fmt.Errorf("producers: %s has a share of %v: want 0 to 1", p.Where, p.Share))
		}
		seen = append(seen, p.Where)
		sum += p.Share
		for _, i := range in {
			out[i] += p.Share / float64(len(in))
		}
	}
	if len(errs) == 0 && math.Abs(sum-1) > 1e-3 { // thirds are written with three digits
		errs = append(errs, fmt.Errorf("producers: the shares add up to %.6g: want 1 (or 100%%)", sum))
	}
	for i := range out {
		out[i] /= sum
	}
	return out, errors.Join(errs...)
}
