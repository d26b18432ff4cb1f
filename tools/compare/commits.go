package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ackline/tools/bench/record"
	"ackline/tools/compare/builds"
	"ackline/tools/compare/progress"
	"ackline/tools/compare/session"
	"ackline/tools/compare/trial"
	"ackline/tools/stats"
)

// result is a comparison of commits for programs, also kept in its folder.
type result struct {
	session.Settings
	Outcome *trial.Outcome `json:"outcome"`
	Verdict stats.Verdict  `json:"verdict"`
	Broken  []string       `json:"broken,omitempty"` // why the head's figures cannot be
	Notes   []string       `json:"notes,omitempty"`
}

// resultName is the result's file.
const resultName = "comparison.json"

// commits builds, measures and judges.
func (c *cli) commits(ctx context.Context, stdout, stderr io.Writer) (verdict stats.Verdict, err error) {
	base, head, repo, err := c.resolve(ctx)
	if err != nil {
		return "", err
	}
	bench := &session.Bench{Bin: map[trial.Side]string{}, Dir: c.Dir, AllowFS: c.AllowFS}
	for _, b := range []struct {
		side   trial.Side
		commit builds.Commit
	}{{trial.Base, base}, {trial.Head, head}} {
		fmt.Fprintf(stderr, "building %s %s\n", b.commit.Short(), b.commit.Subject)
		if bench.Bin[b.side], err = repo.Build(ctx, b.commit, filepath.Join(c.Out, "builds")); err != nil {
			return "", err
		}
	}
	plan := trial.Full()
	if c.Quick {
		plan = trial.Quick()
	}
	plan.Seed, plan.Gates = c.Seed, c.Gate
	settings := session.Settings{Base: base, Head: head, Scenario: "latency-1", Quick: c.Quick, Dir: c.Dir, Plan: plan}
	if len(c.Scenario) > 0 {
		settings.Scenario = c.Scenario[0]
	}
	s, err := session.Open(c.Out, settings, c.Fresh, bench.Run)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if s.Resumed > 0 {
		fmt.Fprintf(stderr, "going on with %d launches of %s\n", s.Resumed, s.Folder)
	}
	if each, err := s.Estimate(); err == nil {
		p := &s.Settings.Plan
		fmt.Fprintf(stderr, "%s: 2 launches to calibrate, %d pairs of the base against itself, then pairs of both commits with looks after %s; at most %d launches, about %v\n",
			settings.Scenario, p.SamePairs, list(p.Looks), p.Most(), (time.Duration(p.Most()) * each).Round(time.Minute))
	}
	line := progress.New(stderr, "")
	o, err := trial.Run(ctx, s.Settings.Plan, s, line.Show)
	line.End()
	if err != nil {
		return "", err
	}
	return conclude(stdout, s, o, c.JSON)
}

// list writes numbers for people: 10, 20, 40.
func list(n []int) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(n), " ", ", "), "[]") }

// conclude writes the result down and prints it.
func conclude(stdout io.Writer, s *session.Session, o *trial.Outcome, asJSON bool) (stats.Verdict, error) {
	broken := s.Conclude(o)
	r := result{Settings: s.Settings, Outcome: o, Verdict: o.Verdict, Broken: broken, Notes: s.Notes()}
	if err := record.Write(filepath.Join(s.Folder, resultName), r); err != nil {
		return "", err
	}
	if asJSON {
		return o.Verdict, encode(stdout, r)
	}
	tell(stdout, s, o, broken)
	return o.Verdict, nil
}

// resolve finds the two commits and refuses what cannot be compared.
func (c *cli) resolve(ctx context.Context) (base, head builds.Commit, repo *builds.Repo, err error) {
	dir, err := os.Getwd()
	if err != nil {
		return base, head, nil, err
	}
	if repo, err = builds.Open(ctx, dir); err != nil {
		return base, head, nil, err
	}
	if base, err = repo.Resolve(ctx, c.Base); err != nil {
		return base, head, nil, fmt.Errorf("--base: %w", err)
	}
	if head, err = repo.Resolve(ctx, c.Head); err != nil {
		return base, head, nil, fmt.Errorf("--head: %w", err)
	}
	if c.Head == "HEAD" {
		dirty, err := repo.Dirty(ctx)
		if err != nil {
			return base, head, nil, err
		}
		if len(dirty) > 0 {
			return base, head, nil, fmt.Errorf("the tree has changes that no commit holds, and only commits are measured:\n  %s\ncommit them (git commit -am \"try\"), "+
				"put them away (git stash -u), or compare the commit as it is with --head %s", strings.Join(dirty[:min(5, len(dirty))], "\n  "), head.Short())
		}
	}
	if base.Hash == head.Hash {
		return base, head, nil, fmt.Errorf("--base and --head are both commit %s (%s): name an earlier one with --base", head.Short(), head.Subject)
	}
	return base, head, repo, nil
}
