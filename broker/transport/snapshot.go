package transport

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/snapshot"
)

// Errors of SendSnapshot, beside those of package snapshot.
var (
	// ErrClosed: the transport is closed, or the node is no peer.
	ErrClosed = errors.New("transport: closed, or no such peer")
	// ErrBusy: MaxSnapshotsOut are being sent. Try again when one has its outcome.
	ErrBusy = errors.New("transport: too many snapshots are being sent")
)

// SendSnapshot sends a MsgSnap of a group, whose Data should be empty, and what r reads as its data, over a connection of
// its own. It returns at once and may be called with locks held. done is called exactly once, from another goroutine:
// with nil if the receiver's Handler took the snapshot, else with why not, a *snapshot.RemoteError in the receiver's words
// if it has any. r is closed before; if the node goes, even while it is read.
func (t *Transport) SendSnapshot(to id.NodeID, g id.GroupID, m pb.Message, r io.ReadCloser, done func(error)) {
	closeSource := sync.OnceFunc(func() { r.Close() })
	t.mu.Lock()
	p := t.peer(to)
	ok := p != nil && !t.closed
	if ok {
		t.wg.Add(1)
	}
	t.mu.Unlock()
	go func() {
		err := ErrClosed
		if ok {
			defer t.wg.Done()
			stop := context.AfterFunc(p.ctx, closeSource)
			err = t.sendSnapshot(p, g, &m, r)
			stop()
		}
		closeSource()
		if err != nil {
			t.counters.snapshots.sendFailed.Add(1)
		} else {
			t.counters.snapshots.sent.Add(1)
		}
		done(err)
	}()
}

func (t *Transport) sendSnapshot(p *peer, g id.GroupID, m *pb.Message, r io.Reader) error {
	head, err := snapshot.Head(g, m)
	if err != nil {
		return err
	}
	select {
	case t.snapOut <- struct{}{}:
		defer func() { <-t.snapOut }()
	default:
		return ErrBusy
	}
	nc, _, done, err := t.dial(p, frame.Snapshot)
	if err != nil {
		return err
	}
	defer done()
	s := snapshot.Sender{Conn: nc, Peer: p.id, ChunkBytes: snapshot.ChunkBytes(t.cfg.SnapshotRate), Timeout: t.cfg.SnapshotTimeout,
		ResultTimeout: t.cfg.SnapshotResultTimeout, Turn: t.turn,
		Sent: func(n int) { t.counters.snapshots.bytesOut.Add(uint64(n)) }}
	return s.Send(head, r)
}

// turn takes n bytes of the rate that all snapshots share, and returns how long to wait for them.
func (t *Transport) turn(n int) time.Duration {
	t.bucketMu.Lock()
	defer t.bucketMu.Unlock()
	return t.bucket.Take(n, t.cfg.Now())
}

// takeSnapshot receives one snapshot and answers what became of it.
func (t *Transport) takeSnapshot(g guest) {
	r := snapshot.Receiver{Conn: g.nc, Timeout: t.cfg.SnapshotTimeout,
		Got: func(n int) { t.counters.snapshots.bytesIn.Add(uint64(n)) }}
	err := r.Receive(func(m frame.GroupMessage, data io.Reader) error { return t.handler.Snapshot(g.peer.id, m, data) })
	if err != nil {
		t.counters.snapshots.takeFailed.Add(1)
		return
	}
	t.counters.snapshots.taken.Add(1)
}
