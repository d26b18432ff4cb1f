// Package advice puts what was measured across regions beside what the distances allow, for whoever decides where a leader is to be.
//
// tools/netlab/advise is arithmetic, and believes what it is told of the disk. Here the disk is measured, at the cadence of the scenarios
// across regions, and if one of them ran over the same distances, its latencies stand beside the theory: what is above it are the broker's
// and the machine's microseconds, and no other placement takes them away.
package advice

import (
	"fmt"
	"slices"
	"time"

	"ackline/loadgen/hist"
	"ackline/profiles/region"
	"ackline/tools/bench/record"
	"ackline/tools/netlab/advise"
)

// Advice is a theory, and what is known beside it.
type Advice struct {
	Theory *advise.Result `json:"theory"`
	Sync   *Sync          `json:"sync"`
	// Measured is nil without a run over these distances; Without says why then.
	Measured *Measured `json:"measured,omitempty"`
	Without  string    `json:"measured_without,omitempty"`
}

// Measured is what a run has of the same distances. Times are nanoseconds.
type Measured struct {
	From     string    `json:"from"` // the file or folder, as it was named
	Commit   string    `json:"commit"`
	Started  time.Time `json:"started"`
	Launches int       `json:"launches"` // valid ones, of all scenarios over these distances
	// Leaders are in the order of the theory's placements, without those that nobody measured.
	Leaders []Leader `json:"leaders"`
}

// Leader is a host that led.
type Leader struct {
	Leader  string   `json:"leader"`
	Clients []Client `json:"clients"`
	// Mean is over the producers by their shares, 0 if one of them was not measured; Theory is advise's for it.
	Mean   time.Duration `json:"mean_ns,omitempty"`
	Theory time.Duration `json:"theory_mean_ns"`
}

// Client is producers of one region under a leader.
type Client struct {
	Name     string        `json:"name"`
	Theory   time.Duration `json:"theory_ns"` // now, with the sync that is in Advice
	System   time.Duration `json:"system_ns_p50"`
	Floor    time.Duration `json:"floor_ns_p50"`
	Requests int64         `json:"requests"` // of the system
}

// mostOff is by how much a distance of a run may differ, in ms; profiles have three digits.
const mostOff = 0.001

// Beside finds what a run, which is from a file or folder, has of the topology's distances. why says why there is nothing.
func Beside(theory *advise.Result, t *region.Topology, from string, r *record.Results) (m *Measured, why string) {
	m = &Measured{From: from, Commit: r.Commit, Started: r.Started}
	type key struct{ leader, client string }
	found := map[key]*[2]*hist.Hist{}
	why = fmt.Sprintf("%s has no valid launch across the regions of %s", from, t.Name)
	for _, l := range r.Launches {
		if l.Network == nil || l.Network.Region != t.Name || l.Verdict != record.OK {
			continue
		}
		if off := differs(t, l.Network.Links); off != "" {
			why = fmt.Sprintf("the %s of %s has other distances: %s", t.Name, from, off)
			continue
		}
		m.Launches++
		for _, x := range l.Regions {
			k := key{x.Leader, x.Client}
			if found[k] == nil {
				found[k] = &[2]*hist.Hist{hist.NewLatency(), hist.NewLatency()}
			}
			found[k][0].Merge(x.System)
			found[k][1].Merge(x.Floor)
		}
	}
	for _, p := range theory.Placements {
		leader := Leader{Leader: called(p.Leader, p.Where), Theory: p.Mean}
		mean, share := 0.0, 0.0
		for i, c := range theory.Clients {
			h := found[key{leader.Leader, c.Name}]
			if h == nil || h[0].Total() == 0 || h[1].Total() == 0 {
				continue
			}
			x := Client{Name: c.Name, Theory: p.Latency[i], System: p50(h[0]), Floor: p50(h[1]), Requests: h[0].Total()}
			leader.Clients = append(leader.Clients, x)
			mean, share = mean+c.Share*float64(x.System), share+c.Share
		}
		if share > 1-1e-9 {
			leader.Mean = time.Duration(mean)
		}
		if len(leader.Clients) > 0 {
			m.Leaders = append(m.Leaders, leader)
		}
	}
	if len(m.Leaders) == 0 {
		return nil, why
	}
	return m, ""
}

func p50(h *hist.Hist) time.Duration {
	return time.Duration(h.Percentile(50, hist.HighestNS).NS)
}

// called names a host as record.Region does.
func called(host, where string) string { return fmt.Sprintf("%s (%s)", host, where) }

// differs tells which link of a run is not what the topology says, "" if all are.
func differs(t *region.Topology, links []record.Link) string {
	for _, x := range links {
		i, j := t.Index(x.From), t.Index(x.To)
		if i < 0 || j < 0 {
			return fmt.Sprintf("it had a link from %s to %s, and there is none here", x.From, x.To)
		}
		was, is := x.WantUs/1e3, (t.Path(i, j).Delay+t.Path(j, i).Delay).Seconds()*1e3
		if d := was - is; d > mostOff || d < -mostOff {
			return fmt.Sprintf("from %s to %s and back it was %.3f ms, and is %.3f ms here", x.From, x.To, was, is)
		}
	}
	return ""
}

// Best is the leader that was measured as the best for the producers, nil if none was for all of them.
func (m *Measured) Best() *Leader {
	with := slices.DeleteFunc(slices.Clone(m.Leaders), func(l Leader) bool { return l.Mean == 0 })
	if len(with) == 0 {
		return nil
	}
	best := slices.MinFunc(with, func(a, b Leader) int { return int(a.Mean - b.Mean) })
	return &best
}
