package engine

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/transport"
)

func TestThreeNodesApplyTheSame(t *testing.T) {
	c := newCluster(t, options{})
	var want []string
	c.addAll(1, 0)
	for i := range 50 {
		want = append(want, fmt.Sprint("entry ", i))
		c.propose(1, want[i])
	}
	if got := c.same(1, len(want), 0, 1, 2); !slices.Equal(got, want) {
		t.Errorf("applied %q, want %q", got, want)
	}
}

// Failure 3 of those that brokers have shipped: an election that picks the dead node, or whose result nobody applies. And
// the first: what was acknowledged must be on the survivors.
func TestLeaderDeathLosesNothingAcknowledged(t *testing.T) {
	c := newCluster(t, options{})
	c.addAll(1, 0)
	var acked []string
	for i := range 30 {
		acked = append(acked, fmt.Sprint("before ", i))
		c.propose(1, acked[i])
	}
	dead := c.leader(1).node
	dead.close()
	for i := range 30 {
		acked = append(acked, fmt.Sprint("after ", i))
		c.propose(1, acked[30+i])
	}
	var alive []int
	for i, n := range c.nodes {
		if n != dead {
			alive = append(alive, i)
			l, ok := n.e.Leader(1)
			if !ok || l.Node == dead.id {
				t.Errorf("node %d says that the leader is %+v, %v", n.id, l, ok)
			}
		}
	}
	got := c.same(1, len(acked), alive...)
	for _, want := range acked {
		if !slices.Contains(got, want) {
			t.Errorf("%q was acknowledged and is lost", want)
		}
	}
}

// Failure 2: a follower that drops data which arrives before the metadata that explains it. There are no ticks here, so
// nothing is sent twice: with two nodes of three, an election and an entry depend on the one message each that waited.
func TestFollowerKeepsDataThatArrivesBeforeItsMetadata(t *testing.T) {
	c := newCluster(t, options{manual: true})
	c.nodes[2].close()
	c.nodes = c.nodes[:2]
	a, b := c.nodes[0], c.nodes[1]
	m := a.add(7)
	m.group.Campaign()
	a.e.Drive()
	until(t, "the request for a pre-vote to wait", func() bool { return b.e.Stats().EarlyMessages > 0 })
	if m.group.Status().IsLead {
		t.Fatal("a leader without a second vote")
	}
	b.add(7)
	if s := b.e.Stats(); s.Woken == 0 {
		t.Fatal("it was created, and nothing that waited was stepped")
	}
	until(t, "a leader, by the message that waited", func() bool { return m.group.Status().IsLead })
	if err := m.propose("x"); err != nil {
		t.Fatal(err)
	}
	if s := b.e.Stats(); s.EarlyMessages != 0 || s.EarlyBytes != 0 || s.Dropped != 0 {
		t.Errorf("after it was created: %+v", s)
	}
}

func TestMessagesBeforeMetadataAreBounded(t *testing.T) {
	var deleted atomic.Bool
	e := New(Config{Node: 1, EarlyMessages: 4, Awaited: func(id.GroupID, id.ReplicaID) bool { return !deleted.Load() }})
	n := soloNode(t, e)
	for i := range 10 {
		n.e.Messages(2, []transport.GroupMessage{{Group: 9, Message: pb.Message{Type: pb.MsgHeartbeat, From: 92, To: 91, Term: uint64(i)}}})
	}
	if s := e.Stats(); s.EarlyMessages != 4 || s.Dropped != 6 {
		t.Errorf("%d wait and %d were dropped, want 4 and 6: %+v", s.EarlyMessages, s.Dropped, s)
	}
	deleted.Store(true)
	e.Remove(9)
	if s := e.Stats(); s.EarlyMessages != 0 || s.Dropped != 10 {
		t.Errorf("after its deletion: %+v", s)
	}
}

// Messages for what is known to be deleted, for a replica that is not here any more, or from where it cannot come from, are
// refused, and counted.
func TestMessagesForOthersAreRefused(t *testing.T) {
	deleted := id.GroupID(8)
	e := New(Config{Node: 1, Awaited: func(g id.GroupID, _ id.ReplicaID) bool { return g != deleted }})
	n := soloNode(t, e)
	n.add(1)
	vote := func(g id.GroupID, from, to int, term uint64) transport.GroupMessage {
		return transport.GroupMessage{Group: g, Message: pb.Message{Type: pb.MsgVote, From: uint64(from), To: uint64(to), Term: term}}
	}
	term := func() id.Term { return n.e.Group(1).Status().Term }
	for i, c := range []struct {
		what  string
		from  id.NodeID
		m     transport.GroupMessage
		early int
	}{
		{"for a deleted group", 2, vote(8, 82, 81, 5), 0},
		{"for an older replica", 2, vote(1, 12, 9, 5), 0},
		{"from another node than the replica's", 3, vote(1, 12, 11, 5), 0},
		{"a snapshot without its data", 2, transport.GroupMessage{Group: 1, Message: pb.Message{Type: pb.MsgSnap, From: 12, To: 11, Term: 5}}, 0},
	} {
		e.Messages(c.from, []transport.GroupMessage{c.m})
		if s := e.Stats(); s.Refused != uint64(i+1) || s.EarlyMessages != c.early || term() != 0 {
			t.Errorf("%s: %+v, term %d", c.what, s, term())
		}
	}
	e.Messages(2, []transport.GroupMessage{vote(1, 12, 10_000, 5)}) // a newer replica, which the metadata may bring
	if s := e.Stats(); s.EarlyMessages != 1 {
		t.Errorf("for a replica that is to come: %+v", s)
	}
	e.Messages(2, []transport.GroupMessage{vote(1, 12, 11, 5)})
	if term() != 5 {
		t.Errorf("term %d after a request for a vote in term 5", term())
	}
	e.Remove(1)
	s, m := n.spec(1, nil)
	s.Config.Replica, s.Config.Voters = 10_000, []id.ReplicaID{12, 13, 10_000}
	s.Replicas = []Replica{{1, 10_000}, {2, 12}, {3, 13}}
	if _, err := e.Add(s); err != nil {
		t.Fatal(err)
	}
	if m.group.Status().Term != 5 || e.Stats().Woken != 1 {
		t.Errorf("the newer replica is in term %d, and what waited for it: %+v", m.group.Status().Term, e.Stats())
	}
}

// One read's messages reach their groups in one call each, whatever their order, and keep theirs within a group.
func TestBurstIsSortedByGroup(t *testing.T) {
	var b burst
	ms := make([]transport.GroupMessage, 100)
	for i := range ms {
		ms[i] = transport.GroupMessage{Group: id.GroupID(i * 7 % 5), Message: pb.Message{Type: pb.MsgApp, Index: uint64(i)}}
	}
	if b.sort(ms) {
		t.Error("appends are answers")
	}
	if !b.sort([]transport.GroupMessage{{Message: pb.Message{Type: pb.MsgAppResp}}, {Message: pb.Message{Type: pb.MsgHeartbeatResp}}}) {
		t.Error("answers are none")
	}
	b.sort(ms)
	for i := 1; i < len(ms); i++ {
		x, y := ms[b.order[i-1]], ms[b.order[i]]
		if x.Group > y.Group || x.Group == y.Group && x.Message.Index >= y.Message.Index {
			t.Fatalf("at %d: group %d message %d behind group %d message %d", i, y.Group, y.Message.Index, x.Group, x.Message.Index)
		}
	}
}

func TestDeletedGroupIsGone(t *testing.T) {
	var gone [4]atomic.Bool // by node: group 1 is deleted
	c := newCluster(t, options{config: func(cfg *Config) {
		n := cfg.Node
		cfg.Awaited = func(id.GroupID, id.ReplicaID) bool { return !gone[n].Load() }
	}, manual: true})
	c.addAll(1, 0)
	c.addAll(2, 0)
	c.propose(1, "a")
	gone[2].Store(true)
	b := c.nodes[1]
	group := b.e.Group(1)
	b.e.Remove(1)
	if b.e.Group(1) != nil || !group.Status().Stopped {
		t.Error("the group is still here, or runs")
	}
	c.propose(1, "b") // the other two go on, and send to all
	until(t, "a message for the deleted group to be refused", func() bool { return b.e.Stats().Refused > 0 })
	if s := b.e.Stats(); s.EarlyMessages != 0 || s.Groups != 1 || s.Ticking != 1 {
		t.Errorf("after the deletion: %+v", s)
	}
	c.propose(2, "c")
	c.same(2, 1, 0, 1, 2)
	b.e.Remove(1) // again
	s, _ := c.nodes[0].spec(2, nil)
	if _, err := c.nodes[0].e.Add(s); err == nil {
		t.Error("a group was added twice")
	}
}

// soloNode is a node without peers around an engine that nobody ticks.
func soloNode(t *testing.T, e *Engine) *node {
	t.Helper()
	n := newNode(t, e.cfg.Node, options{manual: true})
	e.Attach(n.w, nil)
	t.Cleanup(e.Close)
	n.e = e
	return n
}
