package sim

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"testing"
)

const steps = 800

// run goes through one seed, and says how to do so again if it fails.
func run(t *testing.T, seed uint64, trace func(string)) *Cluster {
	t.Helper()
	return runWith(t, Config{Seed: seed, Steps: steps, Trace: trace}, "TestSeeds")
}

func runWith(t *testing.T, cfg Config, test string) *Cluster {
	t.Helper()
	c := New(cfg)
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("seed %d, at %d: panic: %v\n%s", cfg.Seed, c.now, r, debug.Stack())
		}
		if t.Failed() {
			t.Logf("to replay it: ACKLINE_SEED=%d go test -v -run %s$ ./broker/sim", cfg.Seed, test)
		}
	}()
	if err := c.Run(); err != nil {
		t.Errorf("seed %d, at %d: %v", cfg.Seed, c.now, err)
	}
	return c
}

// TestSeeds: see the package's comment. ACKLINE_SEED=n runs one, and tells its story; ACKLINE_SEEDS=from-to runs some, both included.
func TestSeeds(t *testing.T) {
	if s := os.Getenv("ACKLINE_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("ACKLINE_SEED=%s: %v", s, err)
		}
		run(t, seed, func(line string) { fmt.Println(line) })
		return
	}
	from, to := uint64(0), uint64(99)
	if os.Getenv("ACKLINE_NIGHTLY") != "" {
		to = 9999
	}
	if s := os.Getenv("ACKLINE_SEEDS"); s != "" {
		if n, err := fmt.Sscanf(s, "%d-%d", &from, &to); n != 2 || err != nil || to < from {
			t.Fatalf("ACKLINE_SEEDS=%s: want from-to, such as 100-1999: %v", s, err)
		}
	}
	var did deeds
	for seed := from; seed <= to; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { did.add(run(t, seed, nil).did) })
	}
	n := int(to - from + 1)
	t.Logf("%d seeds: %+v", n, did)
	did.some(t, n)
}

func (d *deeds) all() map[string]*int {
	return map[string]*int{"acked": &d.acked, "failed": &d.failed, "unknown": &d.unknown, "elections": &d.elections,
		"crashes": &d.crashes, "torn": &d.torn, "snapshots": &d.snapshots, "restored": &d.restored, "changes": &d.changes,
		"removed": &d.removed, "transfers": &d.transfers, "pauses": &d.pauses, "cuts": &d.cuts, "reads": &d.reads,
		"fetches": &d.fetches, "followed": &d.followed, "checkpoints": &d.checkpoints, "retained": &d.retained, "paced": &d.paced}
}

func (d *deeds) add(o deeds) {
	all := d.all()
	for what, n := range o.all() {
		*all[what] += *n
	}
}

// some checks that runs are not as empty as a passing test.
func (d *deeds) some(t *testing.T, seeds int) {
	t.Helper()
	for what, n := range d.all() {
		if *n < seeds/25 {
			t.Errorf("%d seeds in which hardly anything was %s: %d", seeds, what, *n)
		}
	}
}

// TestSeedReplays: the same seed is the same run, to the last message.
func TestSeedReplays(t *testing.T) {
	for seed := range uint64(6) {
		a, b := run(t, seed, nil), run(t, seed, nil)
		if a.Hash() != b.Hash() || a.did != b.did || a.now != b.now {
			t.Errorf("seed %d: two runs, two histories: %x and %x, %+v and %+v", seed, a.Hash(), b.Hash(), a.did, b.did)
		}
	}
}
