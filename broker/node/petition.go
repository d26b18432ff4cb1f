package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/engine"
	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/replica"
)

// petitions are commands of this node on their way through the metadata group. Whoever leads it takes them; the result comes
// with the entry, which this node applies like every other.
type petitions struct {
	self   id.NodeID
	boot   uint64
	leader func(id.GroupID) (engine.Leader, bool)
	// forward sends messages to a node at once. They may be lost. Nil without peers.
	forward func(to id.NodeID, g id.GroupID, ms []pb.Message)
	drive   func()

	mu      sync.Mutex // guards the rest
	last    uint64
	waiting map[uint64]chan metaReply // capacity 1 each
	again   chan struct{}             // closed and replaced when leadership changes: what was on its way may be lost
}

type metaReply struct {
	result meta.Result
	err    error
}

func newPetitions(self id.NodeID, boot uint64, leader func(id.GroupID) (engine.Leader, bool), drive func()) *petitions {
	return &petitions{self: self, boot: boot, leader: leader, drive: drive, waiting: map[uint64]chan metaReply{}, again: make(chan struct{})}
}

// A command that found no leader looks for one again soon; one that was sent, and not heard of, is sent again later.
const (
	petitionMin    = 5 * time.Millisecond
	petitionMax    = 200 * time.Millisecond
	petitionResend = time.Second
)

// propose returns the command's result. With an error the command may be applied all the same, now or later.
func (p *petitions) propose(ctx context.Context, c meta.Command, group func() *replica.Group) (meta.Result, error) {
	command, err := meta.Encode(c)
	if err != nil {
		return meta.Result{}, err
	}
	reply := make(chan metaReply, 1)
	p.mu.Lock()
	p.last++
	number := p.last
	p.waiting[number] = reply
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, number)
		p.mu.Unlock()
	}()
	data := meta.Ticket{Node: p.self, Boot: p.boot, Number: number}.Attach(command)
	for wait := petitionMin; ; wait = min(2*wait, petitionMax) {
		p.mu.Lock()
		again := p.again
		p.mu.Unlock()
		pause, why := wait, p.submit(data, group())
		if why == nil {
			pause = petitionResend
		}
		timer := time.NewTimer(pause)
		select {
		case r := <-reply:
			timer.Stop()
			return r.result, r.err
		case <-timer.C:
		case <-again:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			if why != nil {
				return meta.Result{}, fmt.Errorf("metadata: %w: %w", ctx.Err(), why)
			}
			return meta.Result{}, fmt.Errorf("metadata: waiting for a command to be committed: %w", ctx.Err())
		}
	}
}

// submit gives an entry to whoever leads, as far as this node knows. The error says why nobody got it.
func (p *petitions) submit(data []byte, group *replica.Group) error {
	l, ok := p.leader(id.MetadataGroup)
	switch {
	case !ok || group == nil:
		return errNoMetaLeader
	case l.Node == p.self:
		if err := take(group, data); err != nil {
			return err
		}
		p.drive()
	case p.forward != nil:
		p.forward(l.Node, id.MetadataGroup, []pb.Message{{Type: pb.MsgProp, To: uint64(l.Replica), Entries: []pb.Entry{{Data: data}}}})
	}
	return nil
}

var errNoMetaLeader = fmt.Errorf("%w of the metadata group: a majority of the cluster's first nodes has to be up and to reach one another", errNoLeader)

// take proposes an entry to this node's replica. Drive afterwards.
func take(group *replica.Group, data []byte) error {
	group.Lock()
	defer group.Unlock()
	_, _, err := group.ProposeLocked(data)
	return err
}

// settle answers who waits for an entry.
func (p *petitions) settle(t meta.Ticket, r meta.Result) {
	if t.Node != p.self || t.Boot != p.boot {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if reply := p.waiting[t.Number]; reply != nil {
		reply <- metaReply{result: r}
		delete(p.waiting, t.Number) // the entry may come a second time
	}
}

// resend has everything that waits sent again. It may be called with any lock held.
func (p *petitions) resend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.again)
	p.again = make(chan struct{})
}
