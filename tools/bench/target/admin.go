package target

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// ErrNoAdmin says that a broker serves no HTTP, so that it can be neither asked to settle nor looked into.
var ErrNoAdmin = errors.New("the broker serves no HTTP")

// checkpointPath asks the broker to flush what it owes the disk and to answer when that is done.
const checkpointPath = "/admin/checkpoint"

// Checkpoint makes the broker write its dirty segments and a checkpoint, so that no work of one slice is done in the next.
func (b *Broker) Checkpoint(ctx context.Context) error {
	_, err := b.http(ctx, http.MethodPost, checkpointPath, nil)
	return err
}

func (b *Broker) http(ctx context.Context, method, path string, send []byte) (string, error) {
	if b.HTTPAddr == "" {
		return "", ErrNoAdmin
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+b.HTTPAddr+path, bytes.NewReader(send))
	if err != nil {
		return "", err
	}
	if send != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := cmp.Or(b.client, http.DefaultClient).Do(req)
	if err != nil {
		return "", fmt.Errorf("broker: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return "", fmt.Errorf("broker: %s %s: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		return "", fmt.Errorf("broker: %s %s: %s: %s", method, path, resp.Status, strings.TrimSpace(string(body)))
	}
	return string(body), nil
}

// Metrics is what one reading of the broker's metrics tells. Everything in it only grows.
type Metrics struct {
	Stages map[string]Buckets // time per stage of the write path
	Values map[string]float64 // the constants below, summed over all labels
}

// The values that are read.
const (
	Checkpoints    = "ackline_checkpoint_duration_seconds_count"
	WALBytes       = "ackline_wal_bytes_total" // padding included
	WALBatches     = "ackline_wal_batches_total"
	Allocations    = "go_memstats_mallocs_total"
	AllocatedBytes = "go_memstats_alloc_bytes_total"
	Collections    = "go_gc_duration_seconds_count"
	CPUSeconds     = "process_cpu_seconds_total"
	RaftMessages   = "ackline_raft_messages_total"   // sent to other nodes; those of a batch count one by one
	RaftFrames     = "ackline_raft_frames_total"     // that they were sent in
	RaftHeartbeats = "ackline_raft_heartbeats_total" // received, of nodes
	RaftLeaders    = "ackline_raft_leaders"          // groups that the node leads; this one also falls
	RaftBehind     = "ackline_raft_behind_entries"   // entries that the replica lacks that is furthest behind; the same

	RaftElection = "ackline_raft_election_timeout_seconds" // in force; it moves with the round trips that are measured
)

var values = []string{Checkpoints, WALBytes, WALBatches, Allocations, AllocatedBytes, Collections, CPUSeconds, RaftMessages, RaftFrames, RaftHeartbeats, RaftLeaders, RaftBehind, RaftElection}

// stageMetric is the broker's histogram of the time per stage of a Produce request.
const stageMetric = "ackline_produce_duration_seconds"

// Buckets is a Prometheus histogram: how many samples were at most each bound.
type Buckets struct {
	Bounds []float64 // seconds, ascending, the last one +Inf
	Counts []float64 // cumulative
}

// Metrics reads the broker's metrics.
func (b *Broker) Metrics(ctx context.Context) (Metrics, error) {
	text, err := b.http(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return Metrics{}, err
	}
	return parseMetrics(strings.NewReader(text))
}

// Between is what each node counted meanwhile.
func Between(before, after []Metrics) []Metrics {
	out := make([]Metrics, len(after))
	for i := range after {
		out[i] = after[i].Sub(before[i])
	}
	return out
}

// Summed are the values of all nodes together.
func Summed(nodes []Metrics) map[string]float64 {
	out := map[string]float64{}
	for _, m := range nodes {
		for name, v := range m.Values {
			out[name] += v
		}
	}
	return out
}

// parseMetrics reads a page in Prometheus' text format:
//
//	ackline_produce_duration_seconds_bucket{stage="sync",le="0.000128"} 42
//	ackline_wal_bytes_total{method="direct-dsync"} 8192
func parseMetrics(page io.Reader) (Metrics, error) {
	out := Metrics{Stages: map[string]Buckets{}, Values: map[string]float64{}}
	lines := bufio.NewScanner(page)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text, number, ok := cutLast(lines.Text())
		name, labels, _ := strings.Cut(strings.TrimSuffix(text, "}"), "{")
		wanted := slices.Contains(values, name)
		if !ok || !wanted && name != stageMetric+"_bucket" {
			continue
		}
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return out, fmt.Errorf("broker: metrics line %q: want a number at its end", lines.Text())
		}
		if wanted {
			out.Values[name] += value
			continue
		}
		stage := label(labels, "stage")
		bound, err := strconv.ParseFloat(label(labels, "le"), 64)
		if err != nil || stage == "" {
			return out, fmt.Errorf("broker: metrics line %q: want the labels stage and le", lines.Text())
		}
		h := out.Stages[stage]
		h.Bounds, h.Counts = append(h.Bounds, bound), append(h.Counts, value)
		out.Stages[stage] = h
	}
	return out, lines.Err()
}

// cutLast cuts a line at its last space.
func cutLast(line string) (before, after string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 || strings.HasPrefix(line, "#") {
		return "", "", false
	}
	return line[:i], line[i+1:], true
}

// Sub returns what was counted between o and m.
func (m Metrics) Sub(o Metrics) Metrics {
	out := Metrics{Stages: map[string]Buckets{}, Values: map[string]float64{}}
	for name, v := range m.Values {
		out.Values[name] = v - o.Values[name]
	}
	for name, h := range m.Stages {
		out.Stages[name] = h.Sub(o.Stages[name])
	}
	return out
}

// label returns the value of one label of a list such as stage="sync",le="0.1".
func label(labels, name string) string {
	_, rest, ok := strings.Cut(","+labels, ","+name+`="`)
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// Sub returns what was counted between o and b, two readings of one histogram.
func (b Buckets) Sub(o Buckets) Buckets {
	out := Buckets{Bounds: b.Bounds, Counts: append([]float64(nil), b.Counts...)}
	for i := range out.Counts {
		if i < len(o.Counts) {
			out.Counts[i] -= o.Counts[i]
		}
	}
	return out
}

// Count is the number of samples.
func (b Buckets) Count() float64 {
	if len(b.Counts) == 0 {
		return 0
	}
	return b.Counts[len(b.Counts)-1]
}

// Quantile estimates the q-th quantile in seconds, interpolating within its bucket; NaN when there are no samples. In the
// last bucket, which has no upper bound, it is that bucket's lower bound.
func (b Buckets) Quantile(q float64) float64 {
	total := b.Count()
	if total <= 0 {
		return math.NaN()
	}
	rank := q * total
	i := sort.Search(len(b.Counts), func(i int) bool { return b.Counts[i] >= rank })
	low, below := 0.0, 0.0
	if i > 0 {
		low, below = b.Bounds[i-1], b.Counts[i-1]
	}
	if i >= len(b.Bounds) || math.IsInf(b.Bounds[i], 1) || b.Counts[i] == below {
		return low
	}
	return low + (b.Bounds[i]-low)*(rank-below)/(b.Counts[i]-below)
}
