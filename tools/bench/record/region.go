package record

import "ackline/loadgen/hist"

// Region is what producers of one region waited for in a launch over an emulated network, with the leader in one place.
type Region struct {
	Placement string     `json:"placement"` // "best" or "worst", by the distances, or "automatic"
	Leader    string     `json:"leader"`    // the host that led, and where it is: "n1 (frankfurt)"
	Client    string     `json:"client"`    // the producers' region
	TheoryUs  float64    `json:"theory_us"` // what the distances and a durable write on each host allow
	System    *hist.Hist `json:"system"`    // response times, of the slices that count
	Floor     *hist.Hist `json:"floor"`
}

// Network is the emulated network of a launch, measured before and after everything that counts.
type Network struct {
	Region string `json:"region"`         // the profile's name
	Mode   string `json:"mode"`           // "netns": each host a network namespace; "relay"
	Idle   bool   `json:"idle,omitempty"` // measured without a load; else under that of the scenario
	Links  []Link `json:"links"`
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

// Placements are where the leader may be, in the order in which people read them.
var Placements = []string{"best", "worst", "automatic"}

// PlacedPair names a pair of one placement of the leader: best-p50.
func PlacedPair(placement, pair string) string { return placement + "-" + pair }
