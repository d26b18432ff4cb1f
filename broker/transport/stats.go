package transport

import (
	"cmp"
	"slices"
	"sync/atomic"

	"ackline/broker/id"
	"ackline/broker/transport/detect"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/rtt"
)

// counters are the node's; those of each link are with it. They only go up.
type counters struct {
	dials, unroutable, refused, crowded, malformed atomic.Uint64

	in struct{ bytes, frames, messages, heartbeats atomic.Uint64 }

	snapshots struct{ sent, sendFailed, bytesOut, taken, takeFailed, bytesIn atomic.Uint64 }
}

// LinkStats is what one connection to a peer did, across reconnects.
type LinkStats struct {
	Peer      id.NodeID
	Class     frame.Class
	Connected bool

	Connects     uint64 // handshakes that succeeded; less one, the redials
	Bytes        uint64 // taken by the kernel
	Frames       uint64
	Messages     uint64 // enqueued
	Dropped      uint64 // messages that are lost for certain, or were in a batch of which part is
	Oversized    uint64 // of those: larger than MaxFrameBytes, so that they will never arrive
	QueueBytes   int64  // that wait now
	InlineWrites uint64 // attempts of goroutines that flushed
	ShortWrites  uint64 // those that did not take everything
	WriterStarts uint64 // hand-overs to a goroutine that may wait
	WriterWrites uint64 // its writes
}

// PeerStats is how a peer looks from here.
type PeerStats struct {
	Peer id.NodeID
	Up   bool
	RTT  rtt.Estimate // to it and back
}

// Stats is everything that is counted. But for QueueBytes, Connected and Up, figures only go up.
type Stats struct {
	Links []LinkStats // by peer, then class
	Peers []PeerStats // by peer

	Dials      uint64 // attempts to connect, successful or not
	Refused    uint64 // handshakes of others that failed
	Crowded    uint64 // connections closed because MaxHandshakes were at the door
	Malformed  uint64 // connections closed for what came over them
	Unroutable uint64 // messages to nodes that are no peers

	BytesIn, FramesIn, MessagesIn, HeartbeatsIn uint64

	SnapshotsSent, SnapshotsSendFailed, SnapshotBytesOut uint64
	SnapshotsTaken, SnapshotsTakeFailed, SnapshotBytesIn uint64
}

// Stats reads the counters.
func (t *Transport) Stats() Stats {
	n := &t.counters
	s := Stats{
		Dials: n.dials.Load(), Refused: n.refused.Load(), Crowded: n.crowded.Load(), Malformed: n.malformed.Load(),
		Unroutable: n.unroutable.Load(),
		BytesIn:    n.in.bytes.Load(), FramesIn: n.in.frames.Load(), MessagesIn: n.in.messages.Load(), HeartbeatsIn: n.in.heartbeats.Load(),
		SnapshotsSent: n.snapshots.sent.Load(), SnapshotsSendFailed: n.snapshots.sendFailed.Load(), SnapshotBytesOut: n.snapshots.bytesOut.Load(),
		SnapshotsTaken: n.snapshots.taken.Load(), SnapshotsTakeFailed: n.snapshots.takeFailed.Load(), SnapshotBytesIn: n.snapshots.bytesIn.Load(),
	}
	for _, p := range *t.peers.Load() {
		for c, l := range p.links {
			k, passed := &l.Counters, l.Passed()
			s.Links = append(s.Links, LinkStats{
				Peer: p.id, Class: frame.Class(c), Connected: l.Connected(),
				Connects: k.Connects.Load(), Bytes: k.Bytes.Load(), Frames: passed.Frames, Messages: passed.Messages,
				Dropped: k.Dropped.Load(), Oversized: k.Oversized.Load(), QueueBytes: k.QueueBytes.Load(), InlineWrites: k.InlineWrites.Load(),
				ShortWrites: k.ShortWrites.Load(), WriterStarts: k.WriterStarts.Load(), WriterWrites: k.WriterWrites.Load(),
			})
		}
		up := false
		t.watch.do(func(d *detect.Detector, _ int64) { up = d.IsUp(p.id) })
		s.Peers = append(s.Peers, PeerStats{p.id, up, p.rtt.Estimate()})
	}
	slices.SortFunc(s.Links, func(a, b LinkStats) int {
		return cmp.Or(cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Class, b.Class))
	})
	slices.SortFunc(s.Peers, func(a, b PeerStats) int { return cmp.Compare(a.Peer, b.Peer) })
	return s
}
