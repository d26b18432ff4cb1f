// Package trend reads how far from the floor earlier commits were, out of the RESULTS.md that each of them kept.
//
// A figure alone says nothing about where it is going, and a table of last year's figures beside today's is worse when the
// machine was another one. Every committed RESULTS.md holds its raw data, so the history of the repository is the record: each
// version is read again, by today's rules, and runs are only ever put into one row when their fingerprints are equal.
package trend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"ackline/tools/bench/record"
	"ackline/tools/report/remote"
	"ackline/tools/report/render"
	"ackline/tools/stats"
)

// History is what a repository remembers of a results file, oldest first.
type History struct {
	Runs    []Run  `json:"runs"`
	Skipped []Skip `json:"skipped,omitempty"`
	// Shallow says that the repository holds only the last commits, so that there may be more runs than these.
	Shallow bool `json:"shallow,omitempty"`
}

// Run is one measured run.
type Run struct {
	Revision    string    `json:"revision,omitempty"` // of the commit that brought the file; "" when it is not committed
	Commit      string    `json:"commit"`             // that was measured
	Started     time.Time `json:"started"`
	Fingerprint string    `json:"fingerprint"`
	Machine     string    `json:"machine"` // for people
	Floor       int       `json:"floor_version"`
	Profile     string    `json:"profile_digest"`
	Points      []Point   `json:"points"`
}

// Point is one ratio of the headline.
type Point struct {
	Scenario string         `json:"scenario"`
	Of       string         `json:"of"`
	Ratio    stats.Estimate `json:"limit_ratio"`
	Bar      float64        `json:"bar,omitempty"` // the most it may be, by today's bars; 0: there is none
	Verdict  string         `json:"verdict,omitempty"`
}

// Skip is a version that could not be read.
type Skip struct {
	Revision string `json:"revision"`
	Reason   string `json:"reason"`
}

// ErrNoHistory is why there is no trend at all: no repository, no git, or a file that was never committed.
var ErrNoHistory = errors.New("no history")

// Of is what a run says. It holds nothing of scenarios that publish nothing.
func Of(r *record.Results) Run {
	run := Run{Commit: r.Commit, Started: r.Started.UTC(), Fingerprint: r.Host.Digest, Floor: r.FloorVersion, Profile: r.ProfileDigest,
		Machine: fmt.Sprintf("%s, %s CPUs, %s, Linux %s", remote.Fact(r, "cpu"), remote.Fact(r, "cpus"), remote.Fact(r, "virtualization"),
			remote.Fact(r, "kernel"))}
	for _, s := range render.Publish(&render.Document{Results: r}) {
		for _, h := range s.Headline {
			run.Points = append(run.Points, Point{s.Name, h.Pair, h.Ratio, h.Bar, h.Verdict})
		}
	}
	return run
}

// Comparable tells whether a change between two runs means anything.
func (r *Run) Comparable(o *Run) bool {
	return r.Fingerprint == o.Fingerprint && r.Floor == o.Floor && r.Profile == o.Profile
}

// same tells that both are the same run, rendered twice.
func (r *Run) same(o *Run) bool { return r.Commit == o.Commit && r.Started.Equal(o.Started) }

// Read walks through the versions of a file, which dir is the folder of. A version that cannot be read is skipped, with the
// reason. progress is called before each version; it may be nil.
func Read(ctx context.Context, dir, file string, progress func(done, total int)) (*History, error) {
	shallow, err := git(ctx, dir, "rev-parse", "--is-shallow-repository")
	if err != nil {
		return nil, fmt.Errorf("%w: %s is in no git repository that can be read: %w", ErrNoHistory, dir, err)
	}
	h := &History{Shallow: strings.TrimSpace(shallow) == "true"}
	// Only the first parents count: a line that was merged has brought its file with the merge.
	revisions, err := git(ctx, dir, "rev-list", "--reverse", "--first-parent", "HEAD", "--", file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoHistory, err)
	}
	all := strings.Fields(revisions)
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: %s was never committed in %s", ErrNoHistory, file, dir)
	}
	for i, revision := range all {
		if progress != nil {
			progress(i, len(all))
		}
		content, err := git(ctx, dir, "show", revision+":./"+file)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			h.skip(revision, fmt.Errorf("it has no %s: it was removed there", file))
			continue
		}
		d, err := render.Extract([]byte(content))
		if err != nil {
			h.skip(revision, err)
			continue
		}
		run := Of(d.Results)
		run.Revision = revision
		h.add(run)
	}
	return h, nil
}

func (h *History) skip(revision string, why error) {
	h.Skipped = append(h.Skipped, Skip{revision, strings.ReplaceAll(why.Error(), "\n", " ")})
}

// add appends a run unless it is there already: a file that was rendered again holds the run that it held before.
func (h *History) add(run Run) {
	for i := range h.Runs {
		if h.Runs[i].same(&run) {
			return
		}
	}
	h.Runs = append(h.Runs, run)
}

// With adds a run that is perhaps not committed yet.
func (h *History) With(r *record.Results) *History {
	h.add(Of(r))
	return h
}

// Machine is every run with one fingerprint.
type Machine struct {
	Fingerprint, Name string
	Runs              []Run // oldest first
}

// Machines never mixes: one entry for each fingerprint, that of the newest run first.
func (h *History) Machines() []Machine {
	var out []Machine
	for i := len(h.Runs) - 1; i >= 0; i-- {
		r := h.Runs[i]
		at := -1
		for k := range out {
			if out[k].Fingerprint == r.Fingerprint {
				at = k
			}
		}
		if at < 0 {
			at, out = len(out), append(out, Machine{Fingerprint: r.Fingerprint, Name: r.Machine})
		}
		out[at].Runs = append([]Run{r}, out[at].Runs...)
	}
	return out
}

// Ratio names a row.
type Ratio struct{ Scenario, Of string }

// Ratios are the rows of some runs, in the order of the newest run that has them.
func Ratios(runs []Run) []Ratio {
	var out []Ratio
	seen := map[Ratio]bool{}
	for i := len(runs) - 1; i >= 0; i-- {
		for _, p := range runs[i].Points {
			if k := (Ratio{p.Scenario, p.Of}); !seen[k] {
				seen[k], out = true, append(out, k)
			}
		}
	}
	return out
}

// Point finds a ratio.
func (r *Run) Point(of Ratio) (Point, bool) {
	for _, p := range r.Points {
		if p.Scenario == of.Scenario && p.Of == of.Of {
			return p, true
		}
	}
	return Point{}, false
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		if text := strings.TrimSpace(errOut.String()); text != "" {
			return "", errors.New(text)
		}
		return "", fmt.Errorf("git: %w", err)
	}
	return string(out), nil
}
