package sim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

const steps = 2000

// run goes through one seed, and says how to do so again if it fails.
func run(t *testing.T, seed uint64, trace func(string)) *Cluster {
	t.Helper()
	var newest []string
	c := New(Config{Seed: seed, Steps: steps, Trace: trace})
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("seed %d: panic: %v", seed, r)
			t.Logf("to replay it: ACKLINE_SEED=%d go test -v -run TestSeeds ./broker/sim", seed)
			panic(r)
		}
	}()
	if err := c.Run(); err != nil {
		t.Errorf("seed %d, at %d: %v", seed, c.now, err)
		t.Logf("to replay it: ACKLINE_SEED=%d go test -v -run TestSeeds ./broker/sim", seed)
	}
	_ = newest
	return c
}

func TestSeeds(t *testing.T) {
	if s := os.Getenv("ACKLINE_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("ACKLINE_SEED=%s: %v", s, err)
		}
		run(t, seed, func(line string) { fmt.Println(line) })
		return
	}
	n := uint64(100)
	if os.Getenv("ACKLINE_NIGHTLY") != "" {
		n = 10_000
	}
	for seed := range n {
		c := run(t, seed, nil)
		if t.Failed() {
			return
		}
		t.Logf("%d: %+v %+v", seed, c.did, c.Counts())
	}
}
