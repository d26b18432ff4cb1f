// Package peers is what a leader keeps of the other replicas, beside raft's own progress: what it did not send yet, what
// they said to know, and how soon they may have another snapshot.
//
// Raft tells every follower of every commit with an append of its own. The next append or heartbeat would say the same, so
// an append without entries is held back until one comes, or until it has waited long enough. At three replicas that
// halves the messages. But raft also uses appends without entries to find out what was lost on the way, when a replica
// answers a heartbeat or rejects an append: those must go at once, or nothing is ever caught up.
package peers

import (
	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
)

// Peer is one other replica.
type Peer struct {
	ID uint64
	// Knows is the last index that the replica said to have, and to know as committed, when the log ended there.
	Knows id.Index
	// Snapshot is where the last snapshot was that it was sent, 0 if there was none.
	Snapshot id.Index

	// held is an append without entries that was not sent, and age the ticks since then. The next message to the replica
	// carries its commit index as well.
	held    pb.Message
	holding bool
	age     int
	// answers: an append without entries that raft sends now is an answer, and must go at once.
	answers bool
}

// Appends takes an append for the peer. It returns false if it was held back.
func (p *Peer) Appends(m *pb.Message) bool {
	if len(m.Entries) == 0 && !p.answers {
		p.held, p.holding, p.age = *m, true, 0
		return false
	}
	p.answers, p.holding = false, false // what was held back was older
	return true
}

// Beats takes a heartbeat for the peer, which may carry what was held back. Its commit index is capped at what the peer has.
func (p *Peer) Beats(m *pb.Message) {
	if p.holding && p.held.Commit <= m.Commit {
		p.holding = false
	}
}

// Counters count what a group sends to its peers and refuses of them. They only go up.
type Counters struct {
	Sent      uint64 // messages for other replicas, snapshots not included
	HeldBack  uint64 // appends that carried nothing but a commit index
	Alone     uint64 // of these, those that were sent after all
	Snapshots uint64 // handed to the Sender
	Refused   uint64 // messages that came and were refused
}

// Book has all of a leader's peers; it is empty at a follower.
type Book struct{ list []Peer }

// Reset begins the book anew: at an election, and when the configuration changes. What was held back is dropped: the next
// heartbeat carries it.
func (b *Book) Reset(everyone []uint64, self id.ReplicaID) {
	b.Clear()
	for _, r := range everyone {
		if r != uint64(self) {
			b.list = append(b.list, Peer{ID: r})
		}
	}
}

// Clear empties the book.
func (b *Book) Clear() {
	clear(b.list)
	b.list = b.list[:0]
}

// All returns the peers, to be read and changed until the next Reset.
func (b *Book) All() []Peer { return b.list }

// Of returns a replica's page, nil if it has none.
func (b *Book) Of(r uint64) *Peer {
	for i := range b.list {
		if b.list[i].ID == r {
			return &b.list[i]
		}
	}
	return nil
}

// Received notes which appends without entries the message, about to be stepped, calls for.
func (b *Book) Received(m *pb.Message) {
	if m.Type == pb.MsgHeartbeatResp || m.Type == pb.MsgAppResp && m.Reject {
		if p := b.Of(m.From); p != nil {
			p.answers = true
		}
	}
}

// Answered is called when all that raft had to answer is sent.
func (b *Book) Answered() {
	for i := range b.list {
		b.list[i].answers = false
	}
}

// Tick adds to ms what has been held back for ticks and found nothing to ride on: it has to go alone.
func (b *Book) Tick(ticks int, ms []pb.Message) []pb.Message {
	for i := range b.list {
		p := &b.list[i]
		if !p.holding {
			continue
		}
		if p.age++; p.age >= ticks {
			p.holding = false
			ms = append(ms, p.held)
		}
	}
	return ms
}

// Due tells whether a commit index would have to go alone at the next Tick.
func (b *Book) Due(ticks int) bool {
	for i := range b.list {
		if p := &b.list[i]; p.holding && p.age+1 >= ticks {
			return true
		}
	}
	return false
}

// A snapshot costs the network as much when it is in vain, and a group that does nothing but send snapshots loses its
// leader. Raft sends the next as soon as a replica answers that it still lacks entries, for whatever reason. So there is a
// pause after each, in ticks, twice as long when the replica has got nowhere by the last.
const (
	pauseMin = 10
	pauseMax = 1000
)

// Pace is how often a leader sends snapshots, to whomever. The zero value lets the first go at once.
type Pace struct {
	pause  int // ticks until the next may be sent
	length int // of the last pause
}

// May tells whether a snapshot may be sent.
func (p *Pace) May() bool { return p.pause == 0 }

// Sent begins a pause. vain: the last snapshot that the same replica was sent has not helped.
func (p *Pace) Sent(vain bool) {
	length := pauseMin
	if vain {
		length = min(2*p.length, pauseMax)
	}
	p.length, p.pause = length, length
}

// Failed begins the pause again: sending took a while, and came to nothing.
func (p *Pace) Failed() { p.pause = p.length }

// Tick moves the clock by one tick.
func (p *Pace) Tick() {
	if p.pause > 0 {
		p.pause--
	}
}
