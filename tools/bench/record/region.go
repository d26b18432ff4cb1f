package record

import (
	"ackline/loadgen/hist"
	"ackline/tools/stats"
)

// Region is what producers of one region waited for in a launch over an emulated network, with the leader in one place.
type Region struct {
	Placement string     `json:"placement"` // "best" or "worst", by the distances, or "automatic"
	Leader    string     `json:"leader"`    // the host that led, and where it is: "n1 (frankfurt)"
	Client    string     `json:"client"`    // the producers' region
	TheoryUs  float64    `json:"theory_us"` // what the distances and a durable write on each host allow
	System    *hist.Hist `json:"system"`    // response times, of the slices that count
	Floor     *hist.Hist `json:"floor"`
}

// Chosen says how good the place is that the brokers chose for the leader by themselves (placement "automatic").
type Chosen struct {
	Leader string  `json:"leader"` // the host, as in Region
	MeanUs float64 `json:"mean_us"`
	// Best is the leader of those that were put somewhere with the least mean in this launch. Means are over the producers' regions, of their
	// median response times.
	Best       string        `json:"best"`
	BestMeanUs float64       `json:"best_mean_us"`
	BeyondUs   float64       `json:"beyond_us"`        // the first mean less the second
	TheoryUs   float64       `json:"theory_beyond_us"` // the same by the distances, with the best of all hosts
	Verdict    stats.Verdict `json:"verdict"`          // met or missed, by BeyondUs and ChosenBarUs
}

// ChosenBarUs is by how much the brokers' own choice may be worse than the best place for the leader.
const ChosenBarUs = 1000

// Choose compares the brokers' choice with the other placements of a launch. nil: one of them has nothing to compare. theoryBeyondUs is
// Chosen.TheoryUs.
func Choose(regions []Region, theoryBeyondUs float64) *Chosen {
	type place struct {
		leader string
		sum    float64
		n      int
	}
	of := map[string]*place{}
	for _, r := range regions {
		if r.System == nil || r.System.Total() == 0 {
			return nil
		}
		if of[r.Placement] == nil {
			of[r.Placement] = &place{leader: r.Leader}
		}
		p := of[r.Placement]
		p.sum, p.n = p.sum+float64(r.System.Percentile(50, hist.HighestNS).NS)/1e3, p.n+1
	}
	own := of[automatic]
	if own == nil || len(of) < 2 {
		return nil
	}
	c := &Chosen{Leader: own.leader, MeanUs: own.sum / float64(own.n), TheoryUs: theoryBeyondUs, Verdict: stats.Met}
	for placement, p := range of {
		if mean := p.sum / float64(p.n); placement != automatic && (c.Best == "" || mean < c.BestMeanUs) {
			c.Best, c.BestMeanUs = p.leader, mean
		}
	}
	if c.BeyondUs = c.MeanUs - c.BestMeanUs; c.BeyondUs > ChosenBarUs {
		c.Verdict = stats.Missed
	}
	return c
}

// Network is the emulated network of a launch, measured before and after everything that counts.
type Network struct {
	Region string `json:"region"` // the profile's name
	Mode   string `json:"mode"`   // "netns": each host a network namespace; "relay"
	// The congestion control of the hosts' TCP, where it crosses the distances.
	CongestionControl string `json:"congestion_control,omitempty"`
	Idle              bool   `json:"idle,omitempty"` // measured without a load; else under that of the scenario
	Links             []Link `json:"links"`
}

// Link is two hosts.
type Link struct {
	From   string     `json:"from"`
	To     string     `json:"to"`
	WantUs float64    `json:"want_us"`        // the round trip that the profile says
	Before RoundTrips `json:"before"`         //
	After  RoundTrips `json:"after,omitzero"` // zero: it was not come to
}

// RoundTrips are those of a link at one time.
type RoundTrips struct {
	P50Us    float64 `json:"us_p50"`
	JitterUs float64 `json:"jitter_us"`     // from the 5th to the 95th percentile
	Off      bool    `json:"off,omitempty"` // by more than may be
}

// automatic is the placement that the brokers choose.
const automatic = "automatic"

// Placements are where the leader may be, in the order in which people read them.
var Placements = []string{"best", "worst", automatic}

// PlacedPair names a pair of one placement of the leader: best-p50.
func PlacedPair(placement, pair string) string { return placement + "-" + pair }
