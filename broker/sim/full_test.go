package sim

import (
	"fmt"
	"os"
	"testing"
)

// TestFullRings is TestSeeds with rings that fill up with entries that nobody commits, and empty again. ACKLINE_SEED=n runs one.
func TestFullRings(t *testing.T) {
	if s := os.Getenv("ACKLINE_SEED"); s != "" {
		var seed uint64
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatalf("ACKLINE_SEED=%s: %v", s, err)
		}
		runWith(t, Config{Seed: seed, Steps: steps, Full: true, Trace: func(line string) { fmt.Println(line) }}, "TestFullRings")
		return
	}
	n := 50
	if os.Getenv("ACKLINE_NIGHTLY") != "" {
		n = 2000
	}
	var did deeds
	for seed := range uint64(n) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			d := runWith(t, Config{Seed: seed, Steps: steps, Full: true}, "TestFullRings").did
			did.add(d)
			did.filled, did.fullElections = did.filled+d.filled, did.fullElections+d.fullElections
		})
	}
	t.Logf("%d seeds: %+v", n, did)
	if did.filled < n || did.fullElections < n/25 {
		t.Errorf("%d seeds in which %d rings were filled and %d elections won in a full ring", n, did.filled, did.fullElections)
	}
}

// TestFullRingsElect: two of a group's three nodes have full rings, with entries queued behind, and the third is gone.
func TestFullRingsElect(t *testing.T) {
	for seed := range uint64(10) {
		c := New(Config{Seed: seed})
		for range 400 {
			c.step()
		}
		old := c.leader(0)
		if old == nil {
			t.Fatalf("seed %d: no leader to begin with", seed)
		}
		term := old.group.Status().Term
		step := func() {
			for i, r := range c.parts[0].hosted {
				if n := c.nodes[i]; r != 0 && r != old.id && !n.full() {
					n.fill() // other groups' checkpoints have made room
				}
			}
			c.step()
		}
		for range 100 {
			step()
		}
		old.node.crash(false)
		old.node.back = 1 << 40
		now := c.leader(0)
		for range 4000 {
			if now = c.leader(0); now != nil && now.group.Status().Term > term {
				break
			}
			step()
		}
		if c.err != nil || now == nil || now.group.Status().Term == term {
			t.Fatalf("seed %d, at %d: %+v leads, in term %d before; %v", seed, c.now, now, term, c.err)
		}
		if err := c.settle(); err != nil {
			t.Errorf("seed %d, at %d: %v", seed, c.now, err)
		}
	}
}
