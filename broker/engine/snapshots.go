package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/transport"
)

// SendSnapshot implements replica.Sender. The outcome is reported whatever becomes of it.
func (m *member) SendSnapshot(_ id.GroupID, msg pb.Message, s replica.Snapshot) bool {
	to := id.ReplicaID(msg.To)
	node, ok := m.nodeOf(to)
	if !ok || m.e.links == nil {
		m.e.counters.unroutable.Add(1)
		return false
	}
	open := s.Open
	if open == nil {
		open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(s.Payload)), nil }
	}
	m.e.links.SendSnapshot(node, m.id, msg, &source{open: open}, func(err error) {
		m.group.ReportSnapshot(to, err == nil)
		m.e.Drive()
	})
	return true
}

// source opens a snapshot when it is read for the first time, which is off the group's lock.
type source struct {
	open func() (io.ReadCloser, error)

	mu     sync.Mutex // guards the rest
	r      io.ReadCloser
	closed bool
}

func (s *source) reader() (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, io.ErrClosedPipe
	case s.r != nil:
		return s.r, nil
	}
	r, err := s.open()
	if err == nil {
		s.r = r
	}
	return r, err
}

func (s *source) Read(p []byte) (int, error) {
	r, err := s.reader()
	if err != nil {
		return 0, err
	}
	return r.Read(p)
}

// Close may be called while Read runs.
func (s *source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.r == nil {
		return nil
	}
	return s.r.Close()
}

// Errors that the sender of a snapshot is told.
var (
	errNotHere   = errors.New("engine: the replica is not here")
	errReceiving = errors.New("engine: another snapshot of the group is being received")
)

// Snapshot implements transport.Handler. The sender hears of the outcome when the group has taken the snapshot; that it is
// durable, raft tells.
func (e *Engine) Snapshot(from id.NodeID, gm transport.GroupMessage, r io.Reader) error {
	msg, m := gm.Message, e.groups.get(gm.Group)
	switch {
	case msg.Type != pb.MsgSnap || msg.Snapshot == nil:
		return fmt.Errorf("%w: %v without a snapshot", replica.ErrRefused, msg.Type)
	case m == nil || m.self != id.ReplicaID(msg.To):
		e.counters.refused.Add(1)
		return fmt.Errorf("%w: group %d, replica %d on node %d", errNotHere, gm.Group, msg.To, e.cfg.Node)
	case !m.from(from, id.ReplicaID(msg.From)):
		e.counters.refused.Add(1)
		return fmt.Errorf("%w: group %d: replica %d is not on node %d", replica.ErrRefused, gm.Group, msg.From, from)
	case !m.receiving.TryLock():
		return fmt.Errorf("%w: group %d", errReceiving, gm.Group)
	}
	defer m.receiving.Unlock()
	data, err := m.receive(msg.Snapshot, r)
	if err != nil {
		return fmt.Errorf("group %d: receiving a snapshot at %d: %w", gm.Group, msg.Snapshot.Metadata.Index, err)
	}
	s := *msg.Snapshot
	s.Data = data
	msg.Snapshot = &s
	err = m.group.Step(msg)
	e.Drive()
	return err
}

// receive turns what comes into the payload that the WAL records.
func (m *member) receive(s *pb.Snapshot, r io.Reader) ([]byte, error) {
	if m.store != nil {
		conf, err := s.Metadata.ConfState.Marshal()
		if err != nil {
			return nil, err
		}
		return m.store(replica.Snapshot{Index: id.Index(s.Metadata.Index), Term: id.Term(s.Metadata.Term), Conf: conf}, r)
	}
	most := m.e.wal.LargestBatch() / 2 // what the group takes
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("it has more than %d bytes, the WAL takes no more at once", most)
	}
	return data, err
}
