package engine

import (
	"cmp"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/engine/early"
	"ackline/broker/id"
	"ackline/broker/transport"
	"ackline/broker/transport/frame"
)

// keepMessages is how many messages' memory a burst keeps.
const keepMessages = 1024

// burst is the scratch memory for what one read brought.
type burst struct {
	order []int32
	ms    []pb.Message
}

// Messages implements transport.Handler: each group gets all of its messages in one call, then the WAL is driven.
//
// Not by who brings nothing but followers' answers. Whoever proposed drives the WAL itself; a reader that took that from it
// would sit in the leader's sync, and behind it the next answers of the same follower, so that two followers could not
// outrun a slow local disk. What little answers make a group store, when they end a joint configuration or a term, goes with
// the next tick.
func (e *Engine) Messages(from id.NodeID, ms []transport.GroupMessage) {
	b := e.bursts.Get().(*burst)
	answers := b.sort(ms)
	for i := 0; i < len(ms); {
		g := ms[b.order[i]].Group
		for ; i < len(ms) && ms[b.order[i]].Group == g; i++ {
			b.ms = append(b.ms, ms[b.order[i]].Message)
		}
		e.route(from, g, b.ms)
		clear(b.ms) // or the entries stay reachable
		b.ms = b.ms[:0]
	}
	if cap(b.ms) <= keepMessages && cap(b.order) <= keepMessages {
		e.bursts.Put(b)
	}
	if answers {
		e.Flush()
	} else {
		e.Drive()
	}
}

// sort orders messages by group. Those of one group keep their order; that of groups has no meaning. It tells whether all
// are answers to a leader.
func (b *burst) sort(ms []transport.GroupMessage) (answers bool) {
	b.order = b.order[:0]
	sorted := true
	answers = true
	for i := range ms {
		b.order = append(b.order, int32(i))
		sorted = sorted && (i == 0 || ms[i-1].Group <= ms[i].Group)
		answers = answers && (ms[i].Message.Type == pb.MsgAppResp || ms[i].Message.Type == pb.MsgHeartbeatResp)
	}
	if !sorted {
		slices.SortStableFunc(b.order, func(x, y int32) int { return cmp.Compare(ms[x].Group, ms[y].Group) })
	}
	return answers
}

// route gives messages to the group that they are for. ms is changed.
func (e *Engine) route(from id.NodeID, g id.GroupID, ms []pb.Message) {
	m := e.groups.get(g)
	mine := ms[:0]
	for i := range ms {
		if m != nil && id.ReplicaID(ms[i].To) == m.self {
			mine = append(mine, ms[i])
		} else {
			e.hold(from, g, ms[i])
		}
	}
	if len(mine) > 0 {
		m.step(from, mine)
	}
}

// hold keeps a message for a replica that is not here until it comes, or refuses it.
func (e *Engine) hold(from id.NodeID, g id.GroupID, msg pb.Message) {
	k := early.Key{Group: g, Replica: id.ReplicaID(msg.To)}
	if !e.awaited(k) {
		e.counters.refused.Add(1)
		return
	}
	e.early.mu.Lock()
	if m := e.groups.get(g); m != nil && m.self == k.Replica { // published meanwhile
		e.early.mu.Unlock()
		m.step(from, []pb.Message{msg})
		return
	}
	dropped := e.early.b.Keep(k, early.Held{From: from, Message: msg}, e.awaited)
	e.early.mu.Unlock()
	e.counters.dropped.Add(uint64(dropped))
}

// awaited tells whether a replica that is not here may come. Ids are issued in order: a replica older than the one that is
// here never comes again.
func (e *Engine) awaited(k early.Key) bool {
	if m := e.groups.get(k.Group); m != nil && k.Replica < m.self {
		return false
	}
	return e.cfg.Awaited == nil || e.cfg.Awaited(k.Group, k.Replica)
}

// step gives messages for this replica to the group, but those that cannot come from where they come from. ms is changed.
func (m *member) step(from id.NodeID, ms []pb.Message) {
	if m.forwards {
		ms = m.takeProposals(ms)
	}
	good := ms[:0]
	for i := range ms {
		if ms[i].Type != pb.MsgSnap && m.from(from, id.ReplicaID(ms[i].From)) {
			good = append(good, ms[i])
		}
	}
	refused := len(ms) - len(good)
	if len(good) > 0 && m.group.StepAll(good) != nil {
		refused += len(good) // the group has stopped
	}
	if refused > 0 {
		m.e.counters.refused.Add(uint64(refused))
	}
}

// Heartbeat implements transport.Handler: it takes the leaders that the peer announces.
func (e *Engine) Heartbeat(from id.NodeID, who frame.Identity, h *frame.Heartbeat, _ int64) {
	if len(h.Leaders) > 0 {
		e.announced.take(from, who, h.Leaders)
	}
}
