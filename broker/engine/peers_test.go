package engine

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"ackline/broker/id"
	"ackline/broker/transport/detect"
	"ackline/broker/transport/frame"
)

// Failure 14: timers per partition. A thousand groups elect, go quiet, and then nothing ticks; when a node dies, all of its
// groups have other leaders.
func TestThousandGroupsGoQuietAndSurviveADeath(t *testing.T) {
	const groups = 1000
	c := newCluster(t, options{ringBytes: 32 << 20})
	for g := range id.GroupID(groups) {
		for _, n := range c.nodes {
			n.add(g + 1)
		}
		n := c.nodes[g%3]
		n.e.Group(g + 1).Campaign()
		n.e.Drive()
	}
	led := func(nodes []*node) (sum int) {
		for _, n := range nodes {
			sum += n.e.Stats().Led
		}
		return sum
	}
	ticking := func() (sum int) {
		for _, n := range c.nodes {
			sum += n.e.Stats().Ticking
		}
		return sum
	}
	until(t, "a leader for every group, and quiet", func() bool { return led(c.nodes) == groups && ticking() == 0 })
	rounds := func() (sum uint64) {
		for _, n := range c.nodes {
			sum += n.e.Stats().Ticks
		}
		return sum
	}
	beats := func() uint64 { return c.nodes[0].tr.Stats().HeartbeatsIn }
	// A tick that was due when the last group went quiet may still come.
	last, since := rounds(), beats()
	until(t, "an idle node that does not tick while heartbeats come and go", func() bool {
		if now := rounds(); now != last {
			last, since = now, beats()
		}
		return beats() > since+20
	})
	if ticking() != 0 {
		t.Errorf("%d groups tick, and nobody used them", ticking())
	}
	rest, before := c.nodes[1:], time.Now()
	c.nodes[0].close()
	until(t, "a leader for every group on the other two", func() bool { return led(rest) == groups })
	t.Logf("%d groups had other leaders %v after their node's death", groups/3, time.Since(before).Round(time.Millisecond))
	until(t, "both to know all leaders", func() bool {
		for _, n := range rest {
			for g := range id.GroupID(groups) {
				if l, ok := n.e.Leader(g + 1); !ok || l.Node == 1 {
					return false
				}
			}
		}
		return true
	})
	c.nodes = rest
	until(t, "quiet although a node is dead", func() bool { return ticking() == 0 })
	for _, n := range rest {
		if p := n.e.Stats().Passes; p == 0 || p > groups/10 { // a link that is lost again and again is news each time
			t.Errorf("node %d told its groups %d times what happened to peers", n.id, p)
		}
	}
}

// A leader's process that died and is back before anybody was told leads nothing any more: groups hear of both.
func TestRestartedLeaderIsForgotten(t *testing.T) {
	c := newCluster(t, options{manual: true})
	c.addAll(1, 0)
	c.propose(1, "x")
	b := c.nodes[1]
	until(t, "the follower to know its leader", func() bool { return b.e.Group(1).Status().Leader != 0 })
	for b.e.Work() {
		continue // of the connections' beginning
	}
	who := frame.Identity{Incarnation: 101, Boot: boots.Add(1)}
	calls := b.e.Callbacks()
	calls.PeerDown(1, frame.Identity{}, detect.Restarted)
	calls.PeerUp(1, who)
	for b.e.Work() {
		continue
	}
	if s := b.e.Group(1).Status(); s.Leader != 0 {
		t.Errorf("the follower still knows leader %d: %+v", s.Leader, s)
	}
	before := b.e.Group(1).Counters().Sent
	for range 3 { // it is the second of two
		b.e.Tick()
	}
	if b.e.Group(1).Counters().Sent == before {
		t.Error("the follower did not stand for election")
	}
}

// A group that is added while a node is dead, or whose replica there is learned of then, knows.
func TestNewGroupKnowsWhoIsDead(t *testing.T) {
	n := soloNode(t, New(Config{Node: 1}))
	calls := n.e.Callbacks()
	calls.PeerDown(2, frame.Identity{}, detect.Silent)
	n.add(1)
	s, m := n.spec(2, nil)
	s.Replicas = s.Replicas[:1]
	if _, err := n.e.Add(s); err != nil {
		t.Fatal(err)
	}
	if !n.e.SetReplicas(2, []Replica{{1, 21}, {2, 22}, {3, 23}}) || n.e.SetReplicas(3, nil) {
		t.Error("SetReplicas does not tell whether the group is here")
	}
	n.machines[2] = m
	for range 2 { // the first of the living stands at the next tick
		n.e.Tick()
	}
	for g := range id.GroupID(2) {
		if sent := n.e.Group(g + 1).Counters().Sent; sent == 0 {
			t.Errorf("group %d asked nobody for votes", g+1)
		}
	}
}

// Failure 4: messages to a peer that are dropped, with no catch-up afterwards.
func TestDroppedMessagesAreCaughtUp(t *testing.T) {
	c := newCluster(t, options{})
	c.addAll(1, 0)
	c.propose(1, "first")
	c.same(1, 1, 0, 1, 2)
	a, z := c.nodes[0], c.nodes[2]
	a.tr.RemovePeer(z.id)
	for i := range 50 {
		c.propose(1, fmt.Sprint(i))
	}
	a.tr.AddPeer(z.id, z.addr)
	c.same(1, 51, 0, 1, 2)
}

func TestLeaderIsTheHighestTermOnALivingNode(t *testing.T) {
	e := New(Config{Node: 1})
	n := soloNode(t, e)
	first, second := frame.Identity{Incarnation: 1, Boot: 1}, frame.Identity{Incarnation: 1, Boot: 2}
	calls := e.Callbacks()
	say := func(from id.NodeID, who frame.Identity, term id.Term) {
		e.Heartbeat(from, who, &frame.Heartbeat{Leaders: []frame.Leader{{Group: 5, Term: term, Replica: replicaID(5, from)}}}, 1)
	}
	want := func(what string, node id.NodeID, term id.Term) {
		t.Helper()
		l, ok := e.Leader(5)
		if ok != (node != 0) || ok && l != (Leader{node, replicaID(5, node), term}) {
			t.Errorf("%s: %+v, %v; want node %d in term %d", what, l, ok, node, term)
		}
	}
	want("nobody said anything", 0, 0)
	calls.PeerUp(2, first)
	calls.PeerUp(3, first)
	say(2, first, 4)
	want("announced", 2, 4)
	say(3, first, 3)
	want("a lower term", 2, 4)
	say(3, first, 6)
	want("a higher term", 3, 6)
	calls.PeerDown(3, first, detect.Silent)
	want("on a dead node", 0, 0)
	calls.PeerUp(3, second)
	want("of a process that is gone", 0, 0)
	say(3, second, 8)
	want("announced again", 3, 8)

	m := n.add(5)
	want("known here by nobody yet", 3, 8)
	m.group.Stop()
	e.Forget(5)
	want("forgotten", 0, 0)
}

// Graceful stop: every leadership goes to the others, about as many to each, and none comes back.
func TestTransferAll(t *testing.T) {
	const groups = 30
	c := newCluster(t, options{config: func(cfg *Config) { cfg.Transfers = 4 }})
	for g := range id.GroupID(groups) {
		c.addAll(g+1, 0)
		c.propose(g+1, "x")
		if l := c.leader(g + 1); l == nil || l.node != c.nodes[0] {
			c.elect(g+1, 0) // a slow machine may have elected another
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	before := c.nodes[0].e.Stats().Led
	if err := c.nodes[0].e.TransferAll(ctx); err != nil {
		t.Fatal(err)
	}
	if s := c.nodes[0].e.Stats(); s.Led != 0 {
		t.Errorf("%d groups are still led here", s.Led)
	}
	until(t, "a leader for every group elsewhere", func() bool { return c.nodes[1].e.Stats().Led+c.nodes[2].e.Stats().Led == groups })
	for _, n := range c.nodes[1:] {
		if got := n.e.Stats().Led; before == groups && got < groups/4 {
			t.Errorf("node %d leads %d of %d groups", n.id, got, groups)
		}
	}
	for g := range id.GroupID(groups) {
		c.propose(g+1, "y")
		c.same(g+1, 2, 0, 1, 2)
	}
	if s := c.nodes[0].e.Stats(); s.Led != 0 {
		t.Errorf("%d groups are led by the node that yields", s.Led)
	}
}

// What nobody can take is no reason to wait: a group's only voter, and one whose other voters are dead.
func TestTransferAllWithoutSuccessors(t *testing.T) {
	c := newCluster(t, options{manual: true})
	a := c.nodes[0]
	s, _ := a.spec(1, nil)
	s.Config.Voters, s.Replicas = s.Config.Voters[:1], s.Replicas[:1]
	g, err := a.e.Add(s)
	if err != nil {
		t.Fatal(err)
	}
	g.Campaign()
	a.e.Drive()
	if err := a.e.TransferAll(context.Background()); err != nil || !g.Status().IsLead {
		t.Errorf("an only voter: %v, %+v", err, g.Status())
	}
	a.e.Yield(false)
	c.addAll(2, 0)
	for _, n := range c.nodes[1:] {
		n.close()
	}
	// The transport says so once for each; what is claimed below is not contradicted by it later.
	until(t, "the others to be dead", func() bool { return a.e.news.isDead(2) && a.e.news.isDead(3) })
	if err := a.e.TransferAll(context.Background()); !errors.Is(err, ErrNoSuccessor) {
		t.Errorf("the others are dead: %v", err)
	}
	for _, n := range []id.NodeID{2, 3} {
		a.e.Callbacks().PeerUp(n, frame.Identity{Incarnation: 1, Boot: 1})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nobody answers
	if err := a.e.TransferAll(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("in vain, and its time is over: %v", err)
	}
}
