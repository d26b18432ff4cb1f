package engine

import (
	"fmt"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica"
)

// Propose gives an entry to whoever leads a group, as far as this node knows: to its own replica, or over the wire. With nil
// the entry may be committed or lost, and nothing says which: whoever must know recognizes it when it is applied, and sends it
// again if it is not. With an error nobody got it. Only groups of which Spec.Forwards is true take what comes over the wire.
func (e *Engine) Propose(g id.GroupID, data []byte) error {
	l, ok := e.Leader(g)
	switch {
	case !ok:
		return fmt.Errorf("%w: nobody is known to lead group %d", replica.ErrNotLeader, g)
	case l.Node == e.cfg.Node:
		m := e.groups.get(g)
		if m == nil {
			return fmt.Errorf("%w: group %d is not here any more", replica.ErrNotLeader, g)
		}
		if err := m.propose(data); err != nil {
			return err
		}
		e.Drive()
	case e.links != nil:
		e.links.Enqueue(l.Node, g, []pb.Message{{Type: pb.MsgProp, To: uint64(l.Replica), Entries: []pb.Entry{{Data: data}}}})
		e.Flush()
	}
	return nil
}

// propose queues an entry. Drive afterwards.
func (m *member) propose(data []byte) error {
	m.group.Lock()
	defer m.group.Unlock()
	_, _, err := m.group.ProposeLocked(data)
	return err
}

// takeProposals takes the proposals out of messages from another node, which may come in vain: then they come again.
func (m *member) takeProposals(ms []pb.Message) []pb.Message {
	rest := ms[:0]
	for i := range ms {
		if ms[i].Type != pb.MsgProp {
			rest = append(rest, ms[i])
			continue
		}
		for _, e := range ms[i].Entries {
			_ = m.propose(e.Data)
		}
	}
	return rest
}
