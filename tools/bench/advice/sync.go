package advice

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/loadgen/hist"
	"ackline/profiles"
	"ackline/tools/bench/parts"
)

// Sync is what a durable write takes by itself.
type Sync struct {
	P50    time.Duration `json:"ns_p50"`
	P99    time.Duration `json:"ns_p99"` // 0: it is not known
	Method string        `json:"method,omitempty"`
	Writes int64         `json:"writes"` // behind it; 0: it was given
}

const (
	syncStep = time.Second      // of writing, between two looks at ctx
	syncMost = 30 * time.Second // altogether: a slow disk's p99 stays unknown
)

// MeasureSync makes so many writes in a file under dir, which it removes, as a scenario's load comes: of its size, one at a time, and with what
// lies between two requests between them. method may be "auto". tell hears how many of how many there are.
func MeasureSync(ctx context.Context, dir, method string, w profiles.Workload, writes int64, tell func(done, of int64)) (s *Sync, err error) {
	work, err := os.MkdirTemp(dir, "bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	gap := time.Duration(1e9 / w.RatePerSecond)
	if method == "auto" {
		best, _, err := syncmethod.Probe(vfs.OS(), work, gap)
		if err != nil {
			return nil, fmt.Errorf("choose a sync method: %w", err)
		}
		method = string(best)
	}
	lane, err := parts.Lane(filepath.Join(work, "raw"), method, w.RecordBytes)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lane.Close()) }()
	h := hist.NewLatency()
	step := min(syncStep, 2*gap*time.Duration(writes)) // few are soon there
	for spent := time.Duration(0); h.Total() < writes && spent < syncMost; spent += step {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		tell(h.Total(), writes)
		us, err := parts.Syncs(lane, gap, step, nil)
		if err != nil {
			return nil, err
		}
		for _, v := range us {
			h.Record(int64(v * 1e3))
		}
	}
	s = &Sync{P50: p50(h), Method: method, Writes: h.Total()}
	if h.Supports(99) {
		s.P99 = time.Duration(h.Percentile(99, hist.HighestNS).NS)
	}
	return s, nil
}

// shown is how precisely times are printed.
const shown = 100 * time.Nanosecond

// String says what the figures are of.
func (s *Sync) String() string {
	if s.Writes == 0 {
		return fmt.Sprintf("A durable write takes %v, one in a hundred %v, as given.", s.P50, max(s.P50, s.P99))
	}
	p99 := fmt.Sprintf("p99 %v", s.P99.Round(shown))
	if s.P99 == 0 {
		p99 = "its p99 is not known from so few, and 'slow' is as typical"
	}
	return fmt.Sprintf("A durable write was measured: p50 %v, %s, of %d writes (%s).", s.P50.Round(shown), p99, s.Writes, s.Method)
}
