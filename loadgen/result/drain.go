package result

import (
	"fmt"
	"strings"

	"ackline/loadgen/hist"
)

// Drain is how a backlog was consumed, as fast as it came.
type Drain struct {
	Consumers  int        `json:"consumers"`
	Partitions int        `json:"partitions"`
	Backlog    int64      `json:"backlog_records"` // what lay there when the consumers began
	Records    int64      `json:"records"`         // consumed
	ValueBytes int64      `json:"value_bytes"`     // of their values, without compression
	WireBytes  int64      `json:"wire_bytes"`      // of the batches, as they were answered
	Seconds    float64    `json:"seconds"`         // from the first request to the last record in hand
	Slowest    float64    `json:"slowest_partition_seconds"`
	Fetch      Summary    `json:"fetch"` // of each request, until its answer was in hand
	Histogram  *hist.Hist `json:"fetch_histogram,omitempty"`
	Error      string     `json:"error,omitempty"` // why it ended before the backlog did
}

// Rate is records per second and megabytes of values per second.
func (d *Drain) Rate() (records, megabytes float64) {
	if d.Seconds <= 0 {
		return 0, 0
	}
	return float64(d.Records) / d.Seconds, float64(d.ValueBytes) / d.Seconds / 1e6
}

// Complete reports whether the whole backlog was consumed.
func (d *Drain) Complete() bool { return d.Error == "" && d.Records >= d.Backlog }

// drain prints a drain in the place of the counts.
func (r *Result) drain(b *strings.Builder) {
	d, c := r.Drain, r.Counts
	records, megabytes := d.Rate()
	fmt.Fprintf(b, "\nbacklog written at %.0f records/s", float64(c.Records)/max(c.WindowSeconds, 1e-9))
	if c.AllFailed > 0 {
		fmt.Fprintf(b, "; %s failed: %s", plural(int(c.AllFailed), "operation"), strings.Join(c.Errors, "; "))
	}
	fmt.Fprintf(b, "\n%d of %d records drained by %s from %s in %.3f s: %.0f records/s, %.1f MB/s of values (%.1f MB/s on the wire)\n", d.Records, d.Backlog,
		plural(d.Consumers, "consumer"), plural(d.Partitions, "partition"), d.Seconds, records, megabytes, float64(d.WireBytes)/max(d.Seconds, 1e-9)/1e6)
	if d.Error != "" {
		fmt.Fprintf(b, "  not to its end: %s\n", d.Error)
	}
	if d.Fetch.Count > 0 {
		fmt.Fprintf(b, "  %s, each answered within %v on average and %v at most\n", plural(int(d.Fetch.Count), "request"),
			hist.Value{NS: int64(d.Fetch.MeanUS * 1e3)}, hist.Value{NS: int64(d.Fetch.MaxUS * 1e3)})
	}
}
