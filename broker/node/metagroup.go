package node

import (
	"context"
	"slices"
	"sync/atomic"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/meta/barrier"
	"ackline/broker/meta/petition"
	"ackline/broker/node/datadir"
	"ackline/broker/node/metasnap"
	"ackline/broker/replica"
	"ackline/broker/statemachine"
)

// metaGroup is the metadata group on this node: the state machine of meta, the raft group under it, and those who wait for
// a command. Its lock is the group's.
type metaGroup struct {
	machine *meta.Machine
	group   atomic.Pointer[replica.Group] // nil until a fresh node has met its peers
	files   *metasnap.Dir
	look    func() // the nodes, or where leaders are to be, may have changed
	dirty   func() // there is something for a checkpoint
	*petition.Desk
	*barrier.Barrier

	lastTerm id.Term       // of the last applied entry; guarded by the group's lock
	newest   metasnap.File // snapshot of what is applied; guarded by the group's lock
}

func (n *Node) newMetaGroup() *metaGroup {
	m := &metaGroup{machine: meta.New(n.events), files: metasnap.New(n.fs, n.dir.File(datadir.MetaName)), look: n.lookAgain}
	m.dirty = func() { n.backlog.Add(id.MetadataGroup) }
	m.Desk = petition.New(n.dir.Node, n.boot, func(data []byte) error { return n.engine.Propose(id.MetadataGroup, data) })
	m.Barrier = barrier.New(barrier.Config{Self: n.dir.Node,
		Leader: func() (id.NodeID, bool) {
			l, ok := n.engine.Leader(id.MetadataGroup)
			return l.Node, ok
		},
		ReadIndex: func(read uint64) error {
			if g := m.group.Load(); g != nil {
				return g.ReadIndex(read)
			}
			return replica.ErrNotLeader
		},
		Call: func(ctx context.Context, to id.NodeID, question []byte) ([]byte, error) {
			return n.links.Call(ctx, to, kindBarrier, question)
		}})
	return m
}

// Catalog implements api.Cluster.
func (m *metaGroup) Catalog() *meta.Catalog { return m.machine.Catalog() }

// Apply implements replica.Applier.
func (m *metaGroup) Apply(es []replica.Entry) error {
	before := m.Catalog().Nodes()
	m.dirty()
	defer func() {
		m.Applied(m.machine.LastApplied())
		if now := m.Catalog().Nodes(); !slices.Equal(before, now) {
			m.look()
		}
	}()
	for i := range es {
		e := &es[i]
		if e.Index <= m.machine.LastApplied() {
			continue
		}
		data := e.Data
		if e.Type != replica.EntryNormal {
			data = nil // raft's own
		}
		result, err := m.machine.Apply(statemachine.Entry{Index: e.Index, Term: e.Term, Data: data})
		if err != nil {
			return err
		}
		m.lastTerm = e.Term
		if r, ok := result.(meta.Result); ok {
			m.Settle(r)
			if r.Topic != nil {
				m.look() // it may name another leader.region
			}
		}
	}
	return nil
}

// Lead, Follow, Committed, Dropped and Take implement replica.Observer.
func (m *metaGroup) Lead(id.Term, []replica.Entry) { m.Resend() }

// Follow has what waits sent to the next leader: whether it is committed already shows when it is applied.
func (m *metaGroup) Follow(id.Term, id.ReplicaID) { m.Resend() }

// Committed does nothing: a command is answered when it is applied.
func (m *metaGroup) Committed(id.Index, int64, int64) {}

// Dropped has the commands that are in no log sent again.
func (m *metaGroup) Dropped(id.Index, error) { m.Resend() }

// Take has nothing to do after the unlock: replies went to channels with room.
func (m *metaGroup) Take() replica.Completion { return nil }
