package suite

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/profiles"
	"ackline/tools/bench/record"
	"ackline/walbench/raw"
)

// disk is the disk alone, and the best way to write to it that was found. One file serves the whole run: it is filled once,
// and lies in the directory that every launch measures in.
type disk struct {
	seq  *raw.Seq
	best raw.Point
}

// DurableRate implements launch.Disk.
func (d *disk) DurableRate(ctx context.Context, length time.Duration) (float64, error) {
	return d.seq.Rate(ctx, d.best, length)
}

// seqConfig is a search that takes about three seconds: what is wanted is a good way to write, not a map of all of them
// (bin/walbench seq draws that).
func seqConfig() raw.SeqConfig {
	return raw.SeqConfig{Blocks: []int{256 << 10, 1 << 20, 4 << 20}, Depths: []int{1, 2, 4}, Rounds: 1, FileBytes: 256 << 20,
		GroupBytes: 64 << 20, SliceTime: 80 * time.Millisecond}
}

// findDisk looks for the best way to write, if a scenario of the suite has use for it, and returns what closes it again. A
// file system without O_DIRECT has none: then a note says so, and throughput stands beside its floor only.
func (c *Config) findDisk(ctx context.Context, r *record.Results, work string, how raw.SeqConfig) (closer func() error, err error) {
	closer = func() error { return nil }
	if c.Disk != nil || !slices.ContainsFunc(c.Suite.Scenarios, func(s profiles.Scenario) bool { return s.Workload.BesideTheDisk() }) {
		return closer, nil
	}
	c.tell(Progress{Total: c.total(), Step: "looking for the disk's best durable rate", Left: c.Suite.Estimate()})
	seq, err := raw.OpenSeq(ctx, vfs.OS(), work, how, nil)
	if syncmethod.Unsupported(err) {
		r.Notes = append(r.Notes, fmt.Sprintf("the disk's own durable rate was not measured: %v", err))
		return closer, nil
	}
	if err != nil {
		return closer, fmt.Errorf("the disk's durable rate: %w", err)
	}
	found, err := seq.Sweep(ctx, nil)
	if err != nil {
		_ = seq.Close() // it would only say once more that something is wrong with the file
		return closer, fmt.Errorf("the disk's durable rate: %w", err)
	}
	best := slices.MaxFunc(found.Best, func(a, b raw.Point) int {
		if a.Rate() < b.Rate() {
			return -1
		}
		return 1
	})
	c.Disk = &disk{seq: seq, best: best}
	r.Notes = append(r.Notes, "durable sequential writes are fastest in "+way(best))
	return seq.Close, nil
}

// way describes a point for people.
func way(p raw.Point) string {
	synced := "each durable by itself"
	if p.Mode == raw.Group {
		synced = "made durable in groups by fdatasync"
	}
	return fmt.Sprintf("blocks of %d KiB, %d in flight, %s: %.0f MiB/s; launches measure this again beside what they compare with it", p.Block>>10, p.Depth, synced,
		p.Rate()/(1<<20))
}
