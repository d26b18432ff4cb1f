package plant

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"ackline/tools/compare/builds"
	"ackline/tools/compare/session"
	"ackline/tools/compare/trial"
	"ackline/tools/stats"
)

// Calibration is of how many valid launches the p50 that a spin is a part of is the median, usually; calibrationSpare more may come to
// nothing.
const (
	Calibration      = 5
	calibrationSpare = 15
)

// figure is what a spin is a part of, as launches name it.
const figure = "p50"

// Runner makes a series' trials.
type Runner struct {
	Out    string // folder of the log
	Series Series
	Counts Counts
	// Calibrate is how many launches set a spin.
	Calibrate int
	// Build returns the folder with the programs of the series' commit with the patch.
	Build func(ctx context.Context, p builds.Patch) (bin string, err error)
	// Bench measures with programs from these folders.
	Bench func(bin map[trial.Side]string) session.Measure
	Now   func() time.Time
	// Tell is told of each trial before it begins, and returns whom to tell of its launches.
	Tell func(Begun) (show func(trial.Progress), end func())
}

// Begun is a trial that begins, or goes on.
type Begun struct {
	Kind Kind
	Done int           // trials of the series before this one
	Of   int           // trials that the series takes
	Spin time.Duration // that is planted; 0 for none, and while the p50 is measured
}

// Run makes the trials that the log lacks, in their order, and writes each down. What was measured of one that is interrupted is kept.
func (r *Runner) Run(ctx context.Context, l *Log) error {
	turns := r.Counts.turns()
	for i, next := range turns {
		if l.has(r.Series, next.kind, next.number) {
			continue
		}
		t, err := r.one(ctx, next, Begun{Kind: next.kind, Done: i, Of: len(turns)})
		if err != nil {
			return fmt.Errorf("trial %s-%02d: %w", next.kind, next.number, err)
		}
		if err := l.add(t); err != nil {
			return err
		}
	}
	return nil
}

// one makes a trial.
func (r *Runner) one(ctx context.Context, n turn, b Begun) (t Trial, err error) {
	series, err := r.Series.folder()
	if err != nil {
		return t, err
	}
	folder := filepath.Join(r.Out, series, fmt.Sprintf("%s-%02d", n.kind, n.number))
	t = Trial{Series: r.Series, Kind: n.kind, Number: n.number, Started: r.Now()}
	base, err := r.Build(ctx, builds.Patch{})
	if err != nil {
		return t, err
	}
	bin := map[trial.Side]string{trial.Base: base, trial.Head: base}
	head := r.Series.Commit
	if n.kind == Slower {
		if t.P50US, err = r.p50(ctx, filepath.Join(folder, figure), bin, b); err != nil {
			return t, err
		}
		b.Spin = time.Duration(math.Round(Share * t.P50US * float64(time.Microsecond)))
		t.SpinNs = b.Spin.Nanoseconds()
		if bin[trial.Head], err = r.Build(ctx, Spin(b.Spin)); err != nil {
			return t, err
		}
		head.Subject = fmt.Sprintf("%s, and a spin of %v", head.Subject, b.Spin)
	}
	if err := r.compare(ctx, &t, folder, head, bin, b); err != nil {
		return t, err
	}
	t.Ended = r.Now()
	if n.kind == Slower {
		err = os.RemoveAll(bin[trial.Head]) // no other trial has this spin
	}
	return t, err
}

// compare fills in what the comparison said.
func (r *Runner) compare(ctx context.Context, t *Trial, folder string, head builds.Commit, bin map[trial.Side]string, b Begun) (err error) {
	s, err := session.Open(folder, r.settings(head), false, r.Bench(bin))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	show, end := r.Tell(b)
	defer end()
	o, err := trial.Run(ctx, s.Settings.Plan, s, show)
	if err != nil {
		return err
	}
	t.Broken = s.Conclude(o)
	t.Host, t.Seed, t.Pairs, t.Verdict, t.Spoilt = s.Host(), s.Settings.Plan.Seed, o.Pairs, o.Verdict, len(o.Spoilt)
	for _, row := range o.Rows {
		if row.Gated || row.Name == figure {
			t.Rows = append(t.Rows, row)
		}
	}
	return nil
}

func (r *Runner) settings(head builds.Commit) session.Settings {
	return session.Settings{Base: r.Series.Commit, Head: head, Scenario: r.Series.Scenario, Quick: r.Series.Quick, Dir: r.Series.Dir, Plan: r.Series.Plan}
}

// p50 measures what the spin is to be a part of, µs.
func (r *Runner) p50(ctx context.Context, folder string, bin map[trial.Side]string, b Begun) (us float64, err error) {
	s, err := session.Open(folder, r.settings(r.Series.Commit), false, r.Bench(bin))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	show, end := r.Tell(b)
	defer end()
	var values []float64
	var why []string
	most := 1 + r.Calibrate + calibrationSpare
	for n := 0; n < most && len(values) < r.Calibrate; n++ {
		step := trial.Step{Number: n, Phase: trial.Calibration, Side: trial.Base, Seed: uint64(n) + 1}
		show(trial.Progress{Step: step, Done: n, Most: most})
		l, err := s.Launch(ctx, step)
		if err != nil {
			return 0, err
		}
		if !l.Valid {
			why = append(why, l.Reasons...)
		}
		for _, v := range l.Values {
			if v.Name == figure && l.Valid && n > 0 { // the first settles how large the ring is
				values = append(values, v.Value)
			}
		}
	}
	if len(values) < r.Calibrate {
		return 0, fmt.Errorf("%d of %d launches were valid and had a %s, want %d to set the spin by (%s): a quieter machine, or another --scenario; remove %s to measure again",
			len(values), most, figure, r.Calibrate, strings.Join(why, "; "), folder)
	}
	return stats.Median(values), nil
}

// Unfinished is the series of the log's last trial, if it lacks trials and is but for its commit what is asked for; ok says whether it is. So a
// series goes on the next night, although there are commits since.
func (l *Log) Unfinished(asked Series, c Counts) (s Series, ok bool) {
	if len(l.Trials) == 0 {
		return s, false
	}
	s = l.Trials[len(l.Trials)-1].Series
	asked.Commit = s.Commit
	if !reflect.DeepEqual(s, asked) {
		return s, false
	}
	for _, t := range c.turns() {
		if !l.has(s, t.kind, t.number) {
			return s, true
		}
	}
	return s, false
}
