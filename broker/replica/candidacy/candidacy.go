// Package candidacy decides when a replica stands for election: a clock of ticks, without a group or a network.
//
// Raft would draw its election time-outs itself, from a source of chance that nobody can repeat; so raft only counts the
// ticks for which a leader's lease holds, and this clock says when to campaign.
//
// A follower that hears of no leader stands after the time-out, which is drawn anew each time, so that followers do not
// stand against each other for ever.
//
// When a leader is known to be dead, its group needs another, and soon; but voters that stand against each other all lose.
// So the survivors stand one after the other, by rank: the place of a survivor's id among those of the voters that are not
// known to be dead. The first stands at the next tick, each other staggerTicks later, unless a leader was heard of before.
// An attempt that leads to nothing, because a vote was lost or a voter had not heard of the death yet, is repeated after
// retryTicks, then twice that, and so on up to the election time-out.
//
// With ticks of 10 ms the first candidate has stood 10 ms after the news, the second, if the first did not get through, 30.
//
// An election takes two round trips, one for pre-votes and one for votes. Where that is longer than a few ticks, between regions, the
// second must not stand before it can have heard of the first, and nobody may begin anew while the answers are under way, which would
// void them. So there the stagger is a round trip, and an attempt gets three (Distance).
package candidacy

import (
	"math/rand/v2"

	"ackline/broker/id"
)

const (
	staggerTicks = 2
	retryTicks   = 3
)

// Clock is one replica's. Its zero value is of no use: see New.
type Clock struct {
	base   int
	jitter *rand.Rand

	elapsed int // ticks since a leader was heard of
	timeout int // ticks at which the replica stands
	// hurry is the ticks until it stands for a dead leader's place, 0 when it is in no hurry; backoff what follows an
	// attempt in vain.
	hurry, backoff int
	way            int // ticks to the others and back
}

// New returns a clock whose time-outs are ticks and up to twice as long, drawn from seed and the replica's id.
func New(ticks int, seed uint64, self id.ReplicaID) Clock {
	c := Clock{base: ticks, jitter: rand.New(rand.NewPCG(seed, uint64(self)))}
	c.draw()
	return c
}

func (c *Clock) draw() { c.timeout = c.base + c.jitter.IntN(c.base) }

// Tick moves the clock of a replica that does not lead, and tells whether it has to stand.
func (c *Clock) Tick() bool {
	c.elapsed++
	if c.hurry > 0 {
		if c.hurry--; c.hurry == 0 {
			c.hurry = c.backoff
			c.backoff = min(2*c.backoff, c.timeout)
			return true
		}
	}
	if c.elapsed < c.timeout {
		return false
	}
	c.draw()
	return true
}

// Restart begins the time-out again: a leader was heard of, or the replica has just stood.
func (c *Clock) Restart() { c.elapsed = 0 }

// Calm ends the hurry too: there is a leader.
func (c *Clock) Calm() { c.elapsed, c.hurry = 0, 0 }

// Distance tells how many ticks a message to the farthest voter and its answer take.
func (c *Clock) Distance(ticks int) { c.way = ticks }

func (c *Clock) stagger() int { return max(staggerTicks, c.way) }
func (c *Clock) retry() int   { return max(retryTicks, 3*c.way) }

// Succeed makes the replica stand for a dead leader's place when it is its turn.
func (c *Clock) Succeed(rank int) {
	c.hurry, c.backoff = 1+rank*c.stagger(), c.retry()+rank*c.stagger()
}

// Granted gives another candidate, who got this replica's word, time to win.
func (c *Clock) Granted() {
	c.elapsed = 0
	if c.hurry > 0 {
		c.hurry = max(c.hurry, c.retry())
	}
}

// Rank is a replica's place among the voters, those left out for whom out is true.
func Rank(voters []uint64, self id.ReplicaID, out func(id.ReplicaID) bool) (rank int) {
	for _, v := range voters {
		if r := id.ReplicaID(v); r < self && !out(r) {
			rank++
		}
	}
	return rank
}
