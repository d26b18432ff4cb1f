// Package session measures the launches of a comparison with the builds' own bench, and keeps what was measured.
//
// A comparison takes minutes to half an hour, and ^C or a closed lid must not cost all of it. So every launch's record is a
// file as soon as there is one, and a launch that has a file is not run again: asked the same things once more, a session goes
// on where it ended. And two builds must be given the same work: the suite, the workload, the sync method and the size of the
// rings are written down by the session, from what the calibration found, instead of taken from what each build has inside.
//
//	DIR/settings.json         which commits, which scenario, what was fixed beforehand
//	DIR/launch-0007.json      a launch's record, without its histograms
//	DIR/suite.toml …          what both builds are given
//	DIR/runs/0007/            what bench writes while it runs; kept only when something was wrong
//	DIR/lock                  held while a comparison runs
package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"ackline/tools/bench/record"
	"ackline/tools/compare/builds"
	"ackline/tools/compare/trial"
	"ackline/tools/hostinfo/fingerprint"
	"ackline/tools/stats"
)

// Settings are what a session's folder belongs to.
type Settings struct {
	Base     builds.Commit `json:"base"`
	Head     builds.Commit `json:"head"`
	Scenario string        `json:"scenario"`
	Quick    bool          `json:"quick"`
	Dir      string        `json:"dir"` // the folder on the disk that is measured
	Plan     trial.Plan    `json:"plan"`
}

// name is the folder's.
func (s *Settings) name() string {
	name := s.Base.Short() + "-" + s.Head.Short() + "-" + s.Scenario
	if s.Quick {
		name += "-quick"
	}
	return name
}

// Measure runs one build's bench on a suite and returns its record.
type Measure func(ctx context.Context, r Request) (*record.Results, error)

// Request is one run of bench.
type Request struct {
	Side  trial.Side
	Suite string // file
	Seed  uint64
	Out   string // folder, which is not there yet
}

// Session is a comparison's folder. It is a trial.Launcher.
type Session struct {
	Settings Settings
	Folder   string
	Resumed  int // launches that were there when it was opened

	measure Measure
	lock    *os.File
	first   *record.Results // of the base's calibration
	load    load
	direct  bool                           // the floors differ, so that nothing is held against them
	p99     bool                           // some valid launch has one
	counted map[trial.Side][]record.Launch // A against B
	seen    map[trial.Side]*record.Results // the newest record of a side
}

// Open makes or opens the folder of a comparison below out. fresh forgets what is in it. A plan without a seed takes the
// folder's, or one that is drawn.
func Open(out string, s Settings, fresh bool, m Measure) (*Session, error) {
	folder, err := filepath.Abs(filepath.Join(out, s.name()))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	lock, err := builds.Hold(filepath.Join(folder, "lock"))
	if err != nil {
		return nil, err
	}
	c := &Session{Settings: s, Folder: folder, measure: m, lock: lock, counted: map[trial.Side][]record.Launch{}, seen: map[trial.Side]*record.Results{}}
	if fresh {
		err = c.forget()
	}
	if err == nil {
		err = c.settle()
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	done, _ := filepath.Glob(filepath.Join(folder, "launch-*.json"))
	c.Resumed = len(done)
	return c, nil
}

// Close lets others use the folder.
func (c *Session) Close() error { return c.lock.Close() }

// forget removes what was measured.
func (c *Session) forget() error {
	files, err := filepath.Glob(filepath.Join(c.Folder, "launch-*.json"))
	if err != nil {
		return err
	}
	for _, f := range append(files, filepath.Join(c.Folder, "runs"), filepath.Join(c.Folder, settingsName)) {
		err = errors.Join(err, os.RemoveAll(f))
	}
	return err
}

const settingsName = "settings.json"

// settle writes the settings of a new folder, and compares those of one that is there.
func (c *Session) settle() error {
	name := filepath.Join(c.Folder, settingsName)
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		if c.Settings.Plan.Seed == 0 {
			c.Settings.Plan.Seed = rand.Uint64()
		}
		return record.Write(name, c.Settings)
	}
	if err != nil {
		return err
	}
	var was Settings
	if err := json.Unmarshal(data, &was); err != nil {
		return fmt.Errorf("%s: %w; --fresh measures again", name, err)
	}
	now := c.Settings
	if now.Plan.Seed == 0 {
		now.Plan.Seed = was.Plan.Seed
	}
	if now.Plan.Gates == nil {
		now.Plan.Gates = was.Plan.Gates
	}
	if !reflect.DeepEqual(was, now) {
		return fmt.Errorf("%s is of a comparison with other settings (--seed, --gate or --dir): give the same again to go on with it, or --fresh to "+
			"measure again", c.Folder)
	}
	c.Settings = was
	return nil
}

// stored is a launch's file.
type stored struct {
	Step    trial.Step      `json:"step"`
	Results *record.Results `json:"results"`
}

// Launch returns the step's launch: from its file, or else measured.
func (c *Session) Launch(ctx context.Context, s trial.Step) (trial.Launch, error) {
	if err := c.load.write(c.Folder, c.Settings); err != nil {
		return trial.Launch{}, err
	}
	r, err := c.recorded(ctx, s)
	if err != nil {
		return trial.Launch{}, err
	}
	if err := c.fits(s, r); err != nil {
		return trial.Launch{}, err
	}
	l := r.Launches[0]
	if l.Verdict == record.Failed {
		return trial.Launch{}, fmt.Errorf("%s failed: %s (%s)", c.commit(s.Side).Short(), strings.Join(l.Reasons, "; "), filepath.Join(c.Folder, "runs"))
	}
	if _, ok := l.Pair("p99"); ok && l.Verdict == record.OK {
		c.p99 = true
	}
	if s.Phase == trial.SameOther {
		l.Number = len(c.counted[s.Side]) + 1
		c.counted[s.Side] = append(c.counted[s.Side], l)
	}
	return trial.Launch{Valid: l.Verdict == record.OK, Reasons: l.Reasons, Seconds: r.Ended.Sub(r.Started).Seconds(), Values: values(&l, c.direct)}, nil
}

func (c *Session) commit(s trial.Side) builds.Commit {
	if s == trial.Head {
		return c.Settings.Head
	}
	return c.Settings.Base
}

// recorded reads the step's file or measures, and writes it.
func (c *Session) recorded(ctx context.Context, s trial.Step) (*record.Results, error) {
	name := filepath.Join(c.Folder, fmt.Sprintf("launch-%04d.json", s.Number))
	data, err := os.ReadFile(name)
	if err == nil {
		var was stored
		if err := json.Unmarshal(data, &was); err != nil || was.Results == nil || was.Step != s {
			return nil, fmt.Errorf("%s is not the record of this launch (%v): --fresh measures again", name, err)
		}
		if err := was.Results.Validate(); err != nil {
			return nil, fmt.Errorf("%s: %w: --fresh measures again", name, err)
		}
		return was.Results, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	out := filepath.Join(c.Folder, "runs", fmt.Sprintf("%04d", s.Number))
	if err := os.RemoveAll(out); err != nil { // of a launch that was interrupted
		return nil, err
	}
	r, err := c.measure(ctx, Request{Side: s.Side, Suite: filepath.Join(c.Folder, suiteName), Seed: s.Seed, Out: out})
	if err != nil {
		return nil, err
	}
	if len(r.Launches) != 1 || r.Launches[0].Scenario != c.Settings.Scenario {
		return nil, fmt.Errorf("bench of %s recorded %d launches, want one of %s (%s)", c.commit(s.Side).Short(), len(r.Launches), c.Settings.Scenario, out)
	}
	l := &r.Launches[0]
	l.Histograms = nil
	if l.Verdict == record.Failed { // ends the comparison; the run's folder stays, and the next time it is measured again
		return r, nil
	}
	return r, errors.Join(os.RemoveAll(out), record.Write(name, stored{s, r}))
}

// fits checks that a record may stand beside the others, and takes from the calibration what is kept the same.
func (c *Session) fits(s trial.Step, r *record.Results) error {
	if c.first == nil {
		c.first = r
		c.load.pin(r)
	}
	c.seen[s.Side] = r
	if reasons := Differences(c.first.Host, r.Host); len(reasons) > 0 {
		return fmt.Errorf("the machine is not the one that the comparison began on (then / now): %s; --fresh measures again", strings.Join(reasons, "; "))
	}
	if s.Phase == trial.Calibration && s.Side == trial.Head {
		c.direct = r.FloorVersion != c.first.FloorVersion
	}
	return nil
}

// Differences lists what keeps launches of one comparison from standing beside each other: the machine or its settings have changed. Not
// the Go version, because which one builds a commit is part of the commit, and no field that only one of the two benches knows.
func Differences(a, b fingerprint.Info) []string {
	knows := func(i fingerprint.Info, difference string) bool {
		return slices.ContainsFunc(i.Fields, func(f fingerprint.Field) bool { return strings.HasPrefix(difference, f.Name+":") })
	}
	return slices.DeleteFunc(fingerprint.Differ(a, b), func(s string) bool {
		return strings.HasPrefix(s, "go_version:") || !knows(a, s) || !knows(b, s)
	})
}

// Notes say what is to be known about the two builds beside their figures.
func (c *Session) Notes() (notes []string) {
	base, head := c.seen[trial.Base], c.seen[trial.Head]
	if base == nil || head == nil {
		return nil
	}
	if c.direct {
		notes = append(notes, fmt.Sprintf("the floors differ (version %d / %d), so that latencies are compared without them, which takes more pairs", base.FloorVersion, head.FloorVersion))
	}
	if valid := c.counted[trial.Base]; len(valid) > 0 && !c.p99 {
		notes = append(notes, fmt.Sprintf("the p99 is not judged: it takes 10,000 requests of either side in a launch, and these have about %d", valid[len(valid)-1].Requests))
	}
	if base.GoVersion != head.GoVersion {
		notes = append(notes, fmt.Sprintf("the builds are of %s / %s", base.GoVersion, head.GoVersion))
	}
	return notes
}

// Host is the digest of the machine's fingerprint; "" before the first launch.
func (c *Session) Host() string {
	if c.first == nil {
		return ""
	}
	return c.first.Host.Digest
}

// Conclude takes the pass from a head whose figures cannot be, and returns why they cannot (Broken).
func (c *Session) Conclude(o *trial.Outcome) []string {
	broken := c.Broken()
	if len(broken) > 0 && o.Verdict != stats.Regressed {
		o.Verdict = stats.Inconclusive
	}
	return broken
}

// Broken says why the head's figures cannot be: a system that is faster than the least that any program could do is not durable.
func (c *Session) Broken() []string {
	head := c.seen[trial.Head]
	if head == nil || len(c.counted[trial.Head]) == 0 {
		return nil
	}
	r := *head
	r.Launches = c.counted[trial.Head]
	var out []string
	for _, sum := range record.Summarise(&r) {
		if sum.Broken() {
			out = append(out, fmt.Sprintf("%s of %s is %.2f [%.2f–%.2f] of the floor's, wholly below %.2f: the floor is broken or the system is not durable",
				sum.Pair, c.Settings.Head.Short(), sum.Ratio.Shift, sum.Ratio.Low, sum.Ratio.High, record.BrokenFloor))
		}
	}
	return out
}
