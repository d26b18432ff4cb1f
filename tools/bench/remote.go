package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"ackline/profiles"
	"ackline/tools/bench/hosts"
	"ackline/tools/bench/record"
	"ackline/tools/bench/suite"
	"ackline/tools/hostinfo/fingerprint"
)

// defaultDir is what --dir is when nobody gives it.
const defaultDir = "out"

// remote is config for brokers that are there already.
func (c *cli) remote(s *profiles.Suite) (suite.Config, *hosts.Config, error) {
	if c.Dir != defaultDir || len(c.AllowFS) > 0 {
		return suite.Config{}, nil, errors.New("--dir and --allow-fs are for brokers that bench starts: with --hosts their disks are elsewhere")
	}
	h, err := hosts.Load(c.Hosts)
	if err != nil {
		return suite.Config{}, nil, err
	}
	left, err := h.Fit(s, c.Scenario)
	if err != nil {
		return suite.Config{}, nil, err
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return suite.Config{}, nil, err
	}
	at, err := filepath.Abs(c.Out)
	if err == nil {
		at, err = filepath.EvalSymlinks(at)
	}
	if err != nil {
		return suite.Config{}, nil, err
	}
	notes := c.awake(s) // of the client: what the tuning asks of brokers is theirs
	client, err := fingerprint.Collect(os.DirFS("/"), at)
	if err != nil {
		return suite.Config{}, nil, err
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	cfg := suite.Config{Suite: s, Out: c.Out, Seed: c.Seed, Started: time.Now(), Notes: notes, Elsewhere: &suite.Elsewhere{There: h.There(), About: h.About(left)}}
	cfg.Place.Host = h.Host(client)
	return cfg, h, nil
}

// tellHosts prints what is there, and what is left out of the suite for it.
func tellHosts(out io.Writer, h *hosts.Config, left []record.LeftOut) {
	fmt.Fprint(out, h)
	for _, l := range left {
		fmt.Fprintf(out, "left out     %s: %s\n", l.Scenario, l.Reason)
	}
}
