package record

import "ackline/loadgen/hist"

// Reader is what a consumer in one region waited for in a launch over an emulated network, from when records were due at a producer in the
// leader's region.
type Reader struct {
	Leader      string     `json:"leader"`       // the host that led, and where it is: "n1 (frankfurt)"
	Client      string     `json:"client"`       // the consumer's region
	Served      string     `json:"served"`       // the host that sent it the most bytes
	ServedShare float64    `json:"served_share"` // of all bytes
	EndToEnd    *hist.Hist `json:"end_to_end"`   // until the record was in the consumer's hand
	Produce     *hist.Hist `json:"produce"`      // until the producer had its answer: the same for all readers
}
