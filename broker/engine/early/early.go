// Package early keeps raft messages that came before what explains them. A leader that has just been created sends to the
// other replicas of its group, on nodes that have not applied the metadata that creates theirs. Dropping such a message
// costs an election or a probe that nobody repeats soon; keeping all of them lets one node exhaust another.
//
// So some are kept, the newest of each replica, within bounds on a replica's messages and on all bytes. What is dropped is
// counted, and raft finds out as it does of any loss.
package early

import (
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
)

// Key is a replica that is not here yet.
type Key struct {
	Group   id.GroupID
	Replica id.ReplicaID
}

// Held is a message and the node that sent it.
type Held struct {
	From    id.NodeID
	Message pb.Message
}

// Buffer keeps messages. It is not safe for concurrent use.
type Buffer struct {
	perReplica int // messages
	maxBytes   int
	held       map[Key][]Held
	messages   int
	bytes      int
}

// New returns an empty buffer of at most perReplica messages for each replica and maxBytes in all.
func New(perReplica, maxBytes int) *Buffer {
	return &Buffer{perReplica: perReplica, maxBytes: maxBytes, held: map[Key][]Held{}}
}

// fixedBytes is what a message or an entry counts beside its data.
const fixedBytes = 256

// Bytes is what a message counts as.
func Bytes(m *pb.Message) int {
	n := fixedBytes + len(m.Context)
	for i := range m.Entries {
		n += fixedBytes + len(m.Entries[i].Data)
	}
	return n
}

// Keep keeps a message, and returns how many were dropped for it; if none of that makes room, it is the message itself that
// was. awaited says whether a replica may still come; when room is short, what is held for those that may not goes first.
func (b *Buffer) Keep(k Key, h Held, awaited func(Key) bool) (dropped int) {
	size := Bytes(&h.Message)
	if b.bytes+size > b.maxBytes {
		for other := range b.held {
			if !awaited(other) {
				dropped += len(b.Take(other))
			}
		}
	}
	list := b.held[k]
	for len(list) > 0 && (len(list) >= b.perReplica || b.bytes+size > b.maxBytes) {
		b.count(&list[0], -1)
		list = slices.Delete(list, 0, 1)
		dropped++
	}
	if b.bytes+size > b.maxBytes {
		if len(list) == 0 {
			delete(b.held, k)
		}
		return dropped + 1
	}
	b.held[k] = append(list, h)
	b.count(&h, 1)
	return dropped
}

func (b *Buffer) count(h *Held, sign int) {
	b.messages += sign
	b.bytes += sign * Bytes(&h.Message)
}

// Take removes and returns what is held for a replica, in the order in which it came.
func (b *Buffer) Take(k Key) []Held {
	list := b.held[k]
	delete(b.held, k)
	for i := range list {
		b.count(&list[i], -1)
	}
	return list
}

// Drop removes what is held for those replicas of a group that are not awaited any more, and returns how much that was.
func (b *Buffer) Drop(g id.GroupID, awaited func(Key) bool) (dropped int) {
	for k := range b.held {
		if k.Group == g && !awaited(k) {
			dropped += len(b.Take(k))
		}
	}
	return dropped
}

// Len is how many messages are held, and how many bytes they count as.
func (b *Buffer) Len() (messages, bytes int) { return b.messages, b.bytes }
