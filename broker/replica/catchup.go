package replica

import (
	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/replica/membership"
)

// paced keeps the answer of a replica that is far behind until it may be sent more (package catchup). One without which there is no
// quorum is never kept waiting.
func (g *Group) paced(m *pb.Message) bool {
	return g.status.IsLead && g.gate.Far(m.From) && g.sparesTheFar() && g.gate.Keeps(m)
}

// sparesTheFar tells whether those that are alive and not far behind are a quorum.
func (g *Group) sparesTheFar() bool {
	return membership.Quorum(&g.conf, func(v uint64) bool { return !g.isDead(v) && !g.gate.Far(v) })
}

// resume steps what was kept, as far as more may be sent.
func (g *Group) resume() {
	for g.gate.Keeping() {
		m, ok := g.gate.Next(!g.sparesTheFar())
		if !ok {
			return
		}
		g.peers.Received(&m)
		_ = g.rn.Step(m) // an answer of an earlier term is none, and one from who left the group neither
	}
}
