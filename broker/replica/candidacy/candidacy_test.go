package candidacy_test

import (
	"slices"
	"testing"

	"ackline/broker/id"
	"ackline/broker/replica/candidacy"
)

// stands returns the ticks, of n, at which a clock says to stand.
func stands(c *candidacy.Clock, n int) (at []int) {
	for i := 1; i <= n; i++ {
		if c.Tick() {
			c.Restart()
			at = append(at, i)
		}
	}
	return at
}

func TestTimeoutsAreWithinTheirBoundsAndRepeatable(t *testing.T) {
	var all []int
	for self := range id.ReplicaID(50) {
		c, again := candidacy.New(10, 1, self), candidacy.New(10, 1, self)
		at := stands(&c, 200)
		if other := stands(&again, 200); !slices.Equal(at, other) {
			t.Fatalf("replica %d stands at %v, and with the same seed at %v", self, at, other)
		}
		before := 0
		for _, i := range at {
			if d := i - before; d < 10 || d >= 20 {
				t.Fatalf("replica %d stands %d ticks after it stood or heard of a leader, want 10 to 19", self, d)
			}
			all, before = append(all, i-before), i
		}
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) != 10 {
		t.Fatalf("the time-outs are %v, want all from 10 to 19", all)
	}
}

func TestLeaderThatIsHeardOfKeepsEverybodyQuiet(t *testing.T) {
	c := candidacy.New(10, 1, 1)
	c.Succeed(0)
	c.Calm()
	for i := range 100 {
		if c.Tick() {
			t.Fatalf("stands at tick %d", i)
		}
		c.Restart()
	}
}

// TestSurvivorsStandOneAfterTheOther: no two at the same tick, the first at once, and each again, ever more rarely.
func TestSurvivorsStandOneAfterTheOther(t *testing.T) {
	taken := map[int]int{}
	for rank := range 5 {
		c := candidacy.New(100, 1, 1)
		c.Succeed(rank)
		at := stands(&c, 90)
		if at[0] != 1+2*rank {
			t.Fatalf("rank %d stands first at %d, want %d", rank, at[0], 1+2*rank)
		}
		if other, ok := taken[at[0]]; ok {
			t.Fatalf("ranks %d and %d stand at tick %d", rank, other, at[0])
		}
		taken[at[0]] = rank
		for i := 2; i < len(at); i++ {
			if first, next := at[i-1]-at[i-2], at[i]-at[i-1]; next != 2*first {
				t.Fatalf("rank %d stands at %v: %d ticks follow %d, want twice as many", rank, at, next, first)
			}
		}
		if len(at) < 3 {
			t.Fatalf("rank %d stands at %v only", rank, at)
		}
	}
}

func TestAnotherCandidateGetsTime(t *testing.T) {
	c := candidacy.New(10, 1, 1)
	c.Succeed(0)
	c.Granted()
	if at := stands(&c, 9); at[0] != 3 {
		t.Fatalf("stands at %v, want 3 ticks after it gave its word", at)
	}
	later := candidacy.New(10, 1, 1)
	later.Succeed(4)
	later.Granted()
	if at := stands(&later, 9); len(at) != 1 || at[0] != 9 {
		t.Fatalf("stands at %v, want its own turn at 9", at)
	}
}

// Far from each other, nobody stands before it can have heard of the one before it, or again before the answers are there: two round
// trips, and what the disks take.
func TestDistance(t *testing.T) {
	for _, way := range []int{0, 1, 2, 5, 20} {
		var before int
		for rank := range 4 {
			c := candidacy.New(1000, 1, 1)
			c.Distance(way)
			c.Succeed(rank)
			at := stands(&c, 900)
			if rank > 0 && (at[0] < before+way || at[0] < before+2) {
				t.Errorf("way of %d ticks: rank %d stands at %d, the one before at %d", way, rank, at[0], before)
			}
			if at[1]-at[0] < 2*way+1 || way <= 1 && at[1]-at[0] != 3+2*rank {
				t.Errorf("way of %d ticks: rank %d stands at %v", way, rank, at)
			}
			before = at[0]
		}
	}
	c := candidacy.New(1000, 1, 1)
	c.Distance(20)
	c.Succeed(0)
	c.Granted()
	if at := stands(&c, 100); at[0] != 60 {
		t.Errorf("one that gave its word stands at %v", at)
	}
}

func TestRank(t *testing.T) {
	dead := []id.ReplicaID{2}
	out := func(r id.ReplicaID) bool { return slices.Contains(dead, r) }
	for self, want := range map[id.ReplicaID]int{1: 0, 3: 1, 4: 2, 9: 3} {
		if got := candidacy.Rank([]uint64{1, 2, 3, 4}, self, out); got != want {
			t.Errorf("replica %d of 1 to 4 without 2 has rank %d, want %d", self, got, want)
		}
	}
}
