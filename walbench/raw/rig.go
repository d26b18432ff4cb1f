package raw

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
)

// rig is what Run measures with: one goroutine per writer, each with a file for every method and size. The
// goroutine of Run steers; all fields are its own, and the writers see only the jobs that it sends them.
type rig struct {
	fs       vfs.FS
	dir      string
	c        Config
	device   func() int64
	progress Progress
	rows     []Row
	per      []int // by row: writes of each writer in one slice
	lanes    []*lane
	byRow    []int // by row: index into lanes
	writers  []*writer
}

// lane is one file per writer; the rows that differ only in cadence share it.
type lane struct {
	files []*syncmethod.Lane
	err   error // not supported
}

// job is one slice of one writer.
type job struct {
	lane *syncmethod.Lane
	gap  time.Duration
	n    int
}

// answer is what became of a job. took leaves the job's first write out, as samples does: it pays for what the
// disk did for other rows.
type answer struct {
	samples []int64 // ns; valid until the writer's next job
	took    time.Duration
	err     error
}

type writer struct {
	jobs    chan job
	answers chan answer
}

func newWriter() *writer {
	w := &writer{jobs: make(chan job), answers: make(chan answer)}
	go w.run()
	return w
}

func (w *writer) run() {
	p, err := syncmethod.NewPacer()
	if err == nil {
		defer p.Close()
	}
	var samples []int64
	for j := range w.jobs {
		if err != nil {
			w.answers <- answer{err: err}
			continue
		}
		var a answer
		a.err = j.lane.Slice(p, 1, j.gap, func(int64) {})
		if a.err == nil {
			samples = samples[:0]
			start := p.Now()
			a.err = j.lane.Slice(p, j.n, j.gap, func(ns int64) { samples = append(samples, ns) })
			a.took, a.samples = time.Duration(p.Now()-start), samples
		}
		w.answers <- a
	}
}

// build creates the files and the rows.
func (r *rig) build(ctx context.Context) error {
	for range r.c.Writers {
		r.writers = append(r.writers, newWriter())
	}
	total := float64(len(r.c.Methods) * len(r.c.Sizes) * r.c.Writers)
	made := 0
	for _, m := range r.c.Methods {
		for _, size := range r.c.Sizes {
			l := &lane{}
			r.lanes = append(r.lanes, l)
			for w := range r.c.Writers {
				if err := ctx.Err(); err != nil {
					return err
				}
				name := path.Join(r.dir, fmt.Sprintf("%s-%d-%d", m, size, w))
				f, err := syncmethod.NewLane(r.fs, name, m, size, r.c.RingBytes, func(done, of int64) {
					r.progress.report("filling", float64(made)+float64(done)/float64(of), total)
				})
				if err != nil && !syncmethod.Unsupported(err) {
					return err
				}
				if err != nil {
					l.err = err
					break
				}
				l.files = append(l.files, f)
				made++
			}
			for _, cadence := range r.c.Cadences {
				r.byRow = append(r.byRow, len(r.lanes)-1)
				r.rows = append(r.rows, Row{Method: m, Size: size, Cadence: cadence, Writers: r.c.Writers, Err: l.err,
					Latency: NewHistogram()})
			}
		}
	}
	r.per = make([]int, len(r.rows))
	return nil
}

// run makes every writer write n blocks of row i, and 1 before that does not count. It returns the samples of
// all and the longest time. A method that turns out not to be supported marks the row and gives none.
func (r *rig) run(i, n int) (samples [][]int64, took time.Duration, err error) {
	row, l := &r.rows[i], r.lanes[r.byRow[i]]
	for w, writer := range r.writers {
		writer.jobs <- job{lane: l.files[w], gap: row.Cadence, n: n}
	}
	var errs []error
	for _, writer := range r.writers {
		a := <-writer.answers
		errs = append(errs, a.err)
		samples = append(samples, a.samples)
		took = max(took, a.took)
	}
	err = errors.Join(errs...)
	if syncmethod.Unsupported(err) {
		row.Err, l.err = err, err
		return nil, 0, nil
	}
	return samples, took, err
}

// warm writes a little that does not count, and decides how long the row's slices are.
func (r *rig) warm(ctx context.Context, i int) error {
	if err := ctx.Err(); err != nil || r.lanes[r.byRow[i]].err != nil {
		r.rows[i].Err = r.lanes[r.byRow[i]].err
		return err
	}
	_, took, err := r.run(i, warmup)
	r.per[i] = r.c.perSlice(took / warmup)
	return err
}

// slice measures one slice of a row.
func (r *rig) slice(i int) error {
	row := &r.rows[i]
	before := r.device()
	samples, took, err := r.run(i, r.per[i])
	if err != nil || row.Err != nil {
		return err
	}
	row.DeviceBytes += r.device() - before
	row.UserBytes += int64(r.per[i]+1) * int64(row.Size) * int64(row.Writers)
	row.Elapsed += took
	row.Slices++
	for _, s := range samples {
		for _, ns := range s {
			if err := row.Latency.RecordValue(ns); err != nil {
				return fmt.Errorf("raw: a write by %s took %v, more than the histogram's %v: %w", row.Method, time.Duration(ns),
					time.Duration(HighestLatency), err)
			}
		}
	}
	return nil
}

// verify reads all files back.
func (r *rig) verify(ctx context.Context) error {
	for i, l := range r.lanes {
		r.progress.report("verifying", float64(i), float64(len(r.lanes)))
		if l.err != nil {
			continue
		}
		for _, f := range l.files {
			if err := errors.Join(ctx.Err(), f.Verify()); err != nil {
				return err
			}
		}
	}
	return nil
}

// close ends the writers and removes the files.
func (r *rig) close() error {
	for _, w := range r.writers {
		close(w.jobs)
	}
	var errs []error
	for _, l := range r.lanes {
		for _, f := range l.files {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
