package replica

import (
	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/replica/peers"
	"ackline/broker/replica/quietword"
)

// Counters returns the group's counters.
func (g *Group) Counters() peers.Counters {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counters
}

// send passes messages on to the Sender, without those that can wait. ms is raft's no more, and is changed.
func (g *Group) send(ms []pb.Message) {
	// Without a Sender there are no other replicas, and what raft sends to those that a later configuration names is
	// lost, as messages may be.
	if len(ms) == 0 || g.cfg.Sender == nil {
		return
	}
	kept := ms[:0]
	for i := range ms {
		if m := &ms[i]; g.goes(m) {
			kept = append(kept, *m)
		}
	}
	g.transmit(kept)
}

func (g *Group) transmit(ms []pb.Message) {
	if len(ms) > 0 {
		g.counters.Sent += uint64(len(ms))
		g.cfg.Sender.Send(g.cfg.Group, ms)
	}
}

// goes decides whether a message is sent now, and notes what it tells its receiver.
func (g *Group) goes(m *pb.Message) bool {
	switch m.Type {
	case pb.MsgApp:
		if p := g.peers.Of(m.To); p != nil && !p.Appends(m) {
			g.counters.HeldBack++
			return false
		}
		g.gate.Sent(m, g.status.Commit)
	case pb.MsgHeartbeat:
		if p := g.peers.Of(m.To); p != nil {
			p.Beats(m)
		}
		if len(m.Context) == 0 {
			m.Context = g.quietContext(quietword.Ask)
		}
	case pb.MsgHeartbeatResp:
		if g.intercept {
			g.intercepted = append(g.intercepted, *m)
			return false
		}
	case pb.MsgSnap:
		g.sendSnapshot(m)
		return false
	}
	return true
}

// sendHeld sends the commit indexes that found nothing to ride on.
func (g *Group) sendHeld() {
	ms := g.peers.Tick(g.cfg.CommitTicks, nil)
	g.counters.Alone += uint64(len(ms))
	g.transmit(ms)
}
