package main

import (
	"fmt"
	"io"
	"path"
	"time"

	"ackline/tools/version"
	"ackline/walbench/raw"
)

type seqCmd struct {
	common
	Block  []bytes       `default:"64KiB,256KiB,1MiB,4MiB,8MiB" help:"Bytes of one write, comma-separated (${default})." placeholder:"BYTES"`
	Depth  []int         `default:"1,2,4,8" help:"Writes in flight, comma-separated (${default})." placeholder:"N"`
	Rounds int           `default:"5" help:"Slices of each combination (${default})." placeholder:"N"`
	File   bytes         `name:"file-size" default:"1GiB" help:"Size of the file that is overwritten (${default})." placeholder:"BYTES"`
	Group  bytes         `default:"64MiB" help:"Bytes that one fdatasync covers in mode group (${default})." placeholder:"BYTES"`
	Slice  time.Duration `default:"250ms" help:"Time after which a slice ends (${default})." placeholder:"TIME"`
}

// Help is what walbench seq --help adds.
func (*seqCmd) Help() string {
	return `Overwrites a zero-filled file with O_DIRECT, in two modes: each (O_DSYNC: every write is durable when it returns, as a WAL's
batches are) and group (one fdatasync for many writes, as a segment is flushed). Combinations take turns in slices; a rate is
the median of its slices. The best of each mode is then measured afresh, because the highest of many noisy figures is too high.`
}

// Run is called by kong.
func (c *seqCmd) Run(e *env) error {
	cfg := raw.SeqConfig{Blocks: ints(c.Block), Depths: c.Depth, Rounds: c.Rounds, FileBytes: int64(c.File), GroupBytes: int64(c.Group),
		SliceTime: c.Slice}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	return c.at(e, cfg.FileBytes, func(p raw.Place, work string) error {
		shown := newProgress(e.stderr)
		s, err := raw.SeqWrite(e.ctx, e.fs, work, cfg, shown.Report)
		shown.Done()
		return c.print(e.stdout, p, s, err)
	})
}

type readCmd struct {
	common
	File     string  `help:"Read this file; without it one of --file-size is made in DIR." placeholder:"FILE"`
	FileSize bytes   `name:"file-size" default:"1GiB" help:"Size of the file that is made (${default})." placeholder:"BYTES"`
	Limit    bytes   `default:"0" help:"Read only so much of the file; 0 for all." placeholder:"BYTES"`
	Block    []bytes `default:"64KiB,256KiB,1MiB,4MiB,8MiB" help:"Bytes of one read, comma-separated (${default})." placeholder:"BYTES"`
	Depth    []int   `default:"1,2,4,8" help:"Reads in flight, comma-separated (${default})." placeholder:"N"`
	Rounds   int     `default:"3" help:"How often each combination reads the file (${default})." placeholder:"N"`
}

// Help is what walbench read --help adds.
func (*readCmd) Help() string {
	return `Reads a file from start to end with O_DIRECT: the rate that a recovery can hope for. The page cache has no part in it; the
disk's own cache, or the hypervisor's, may: a file larger than those is the honest one. The best is measured afresh, as in seq.`
}

// Run is called by kong.
func (c *readCmd) Run(e *env) error {
	cfg := raw.ReadConfig{Blocks: ints(c.Block), Depths: c.Depth, Rounds: c.Rounds, Limit: int64(c.Limit)}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	needs := int64(c.FileSize)
	if c.File != "" {
		needs, c.Dir = 0, path.Dir(c.File)
	} else if needs == 0 {
		return usageError{fmt.Errorf("--file-size 0; want something to read")}
	}
	return c.at(e, needs, func(p raw.Place, work string) error {
		shown := newProgress(e.stderr)
		defer shown.Done()
		name := c.File
		if name == "" {
			name = path.Join(work, "read")
			if err := raw.RandomFile(e.ctx, e.fs, name, needs, shown.Report); err != nil {
				return err
			}
		}
		s, err := raw.ReadFile(e.ctx, e.fs, name, cfg, shown.Report)
		shown.Done()
		return c.print(e.stdout, p, s, err)
	})
}

// print shows a sweep as a table or as JSON.
func (c *common) print(out io.Writer, p raw.Place, s raw.Sweep, err error) error {
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(out, sweepResult{Version: version.String(), Place: placeOf(p), Points: jsonPoints(s.Points), Best: jsonPoints(s.Best)})
	}
	cells := [][]string{{"mode", "block", "depth", "MB/s"}}
	for _, pt := range s.Points {
		cells = append(cells, []string{pt.Mode, bytes(pt.Block).String(), fmt.Sprint(pt.Depth), fmt.Sprintf("%.1f", pt.Rate()/1e6)})
	}
	table(out, cells)
	fmt.Fprintln(out)
	for _, b := range s.Best {
		fmt.Fprintf(out, "best %s: %.1f MB/s with %s, %d in flight\n", b.Mode, b.Rate()/1e6, bytes(b.Block), b.Depth)
	}
	return nil
}

type sweepResult struct {
	Version string      `json:"version"`
	Place   placeJSON   `json:"place"`
	Points  []pointJSON `json:"points"`
	Best    []pointJSON `json:"best"`
}

type pointJSON struct {
	Mode       string    `json:"mode"`
	BlockBytes int       `json:"block_bytes"`
	Depth      int       `json:"depth"`
	Rate       float64   `json:"bytes_per_second"`        // median of the rounds
	Rounds     []float64 `json:"rounds_bytes_per_second"` //
}

func jsonPoints(ps []raw.Point) []pointJSON {
	out := make([]pointJSON, len(ps))
	for i, p := range ps {
		out[i] = pointJSON{Mode: p.Mode, BlockBytes: p.Block, Depth: p.Depth, Rate: p.Rate(), Rounds: p.Rates}
	}
	return out
}
