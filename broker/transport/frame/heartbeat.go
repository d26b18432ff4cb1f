package frame

import (
	"fmt"

	"ackline/broker/id"
)

// One heartbeat per interval and pair of nodes stands for those of all groups that the two share. It has no groups' lists
// to say so, only what changed:
//
//	 0  4  number of leaders
//	 4  4  number of reads
//	 8  8  when it was sent, by the sender's clock (package rtt)
//	16  8  the receiver's newest heartbeat's such field, moved on by how long the sender has had it; 0 = none
//	24  8  how long the sender has had that one, in nanoseconds: how long it has been deaf
//	32     the leaders, the reads
//
// A leader, which the sender announces as soft state; the highest term wins:
//
//	 0  8  group
//	 8  8  term
//	16  8  replica
//
// A read: a leader asks whether it still leads, or the answer to that:
//
//	 0  8  group
//	 8  8  term
//	16  8  context, which the answer repeats
//	24  8  flags: 1 = answer
const (
	heartbeatSize = 32
	leaderSize    = 24
	readSize      = 32

	flagAnswer = 1

	// MaxBeatItems is how many leaders and reads together one heartbeat may carry.
	MaxBeatItems = 2048
)

// Leader says that a replica leads its group in a term.
type Leader struct {
	Group   id.GroupID
	Term    id.Term
	Replica id.ReplicaID
}

// Read is a leader's question whether anyone knows of a higher term, or the answer that the sender does not.
type Read struct {
	Group   id.GroupID
	Term    id.Term
	Context uint64
	Answer  bool
}

// Heartbeat is what a node tells another at intervals.
type Heartbeat struct {
	Sent, Echo, Held uint64
	Leaders          []Leader
	Reads            []Read
}

func (h *Heartbeat) append(b []byte) []byte {
	if n := len(h.Leaders) + len(h.Reads); n > MaxBeatItems {
		panic(fmt.Sprintf("frame: a heartbeat with %d items, at most %d are possible", n, MaxBeatItems))
	}
	b = le.AppendUint32(b, uint32(len(h.Leaders)))
	b = le.AppendUint32(b, uint32(len(h.Reads)))
	b = le.AppendUint64(b, h.Sent)
	b = le.AppendUint64(b, h.Echo)
	b = le.AppendUint64(b, h.Held)
	for _, l := range h.Leaders {
		b = le.AppendUint64(b, uint64(l.Group))
		b = le.AppendUint64(b, uint64(l.Term))
		b = le.AppendUint64(b, uint64(l.Replica))
	}
	for _, r := range h.Reads {
		b = le.AppendUint64(b, uint64(r.Group))
		b = le.AppendUint64(b, uint64(r.Term))
		b = le.AppendUint64(b, r.Context)
		flags := uint64(0)
		if r.Answer {
			flags = flagAnswer
		}
		b = le.AppendUint64(b, flags)
	}
	return b
}

// Decode decodes a heartbeat's body into h, whose slices' memory it uses again. Nothing refers to body.
func (h *Heartbeat) Decode(body []byte) error {
	if len(body) < heartbeatSize {
		return fmt.Errorf("%w: heartbeat of %d bytes", ErrFormat, len(body))
	}
	leaders, reads := uint64(le.Uint32(body)), uint64(le.Uint32(body[4:]))
	if leaders+reads > MaxBeatItems || uint64(len(body)) != heartbeatSize+leaders*leaderSize+reads*readSize {
		return fmt.Errorf("%w: heartbeat of %d bytes with %d leaders and %d reads", ErrFormat, len(body), leaders, reads)
	}
	h.Sent, h.Echo, h.Held = le.Uint64(body[8:]), le.Uint64(body[16:]), le.Uint64(body[24:])
	h.Leaders, h.Reads = h.Leaders[:0], h.Reads[:0]
	body = body[heartbeatSize:]
	for range leaders {
		h.Leaders = append(h.Leaders, Leader{id.GroupID(le.Uint64(body)), id.Term(le.Uint64(body[8:])), id.ReplicaID(le.Uint64(body[16:]))})
		body = body[leaderSize:]
	}
	for range reads {
		flags := le.Uint64(body[24:])
		if flags&^flagAnswer != 0 {
			return fmt.Errorf("%w: read with flags %#x", ErrFormat, flags)
		}
		h.Reads = append(h.Reads, Read{id.GroupID(le.Uint64(body)), id.Term(le.Uint64(body[8:])), le.Uint64(body[16:]), flags == flagAnswer})
		body = body[readSize:]
	}
	return nil
}
