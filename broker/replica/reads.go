package replica

import (
	"go.etcd.io/raft/v3"

	"ackline/broker/id"
)

// ReadIndex begins a linearizable read. Config.Reader hears of its end with ctx, perhaps before ReadIndex returns: what
// was committed now may be read by whoever has applied up to the index that it is given.
func (g *Group) ReadIndex(ctx uint64) error {
	g.mu.Lock()
	defer g.Unlock()
	switch {
	case g.stopped != nil:
		return g.stopped
	case !g.status.IsLead:
		return ErrNotLeader
	}
	g.wake()
	g.reads.Add(ctx)
	g.ask()
	g.handleReady()
	return nil
}

// ask begins the next question, unless one is under way. A leader that has not committed an entry of its own term does not
// know yet what is committed; raft sees to that too, but not for an only voter.
func (g *Group) ask() {
	if g.status.Commit < g.leadAt {
		return
	}
	if question := g.reads.Ask(); question != nil {
		g.rn.ReadIndex(question)
	}
}

// readable takes raft's answers. One to a question of an earlier leadership, which raft may have kept, is no answer.
func (g *Group) readable(states []raft.ReadState) {
	for _, s := range states {
		g.reads.Answer(s.RequestCtx, func(ctx uint64) { g.cfg.Reader.Readable(ctx, id.Index(s.Index), nil) })
	}
	g.ask()
}

// failReads ends all reads without an answer.
func (g *Group) failReads(err error) {
	g.reads.Fail(func(ctx uint64) { g.cfg.Reader.Readable(ctx, 0, err) })
}
