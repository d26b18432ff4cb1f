package node

import (
	"fmt"
	"io"

	"ackline/broker/node/metasnap"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
)

// checkpoint writes a snapshot of what is applied and records it in the WAL, unless nothing changed. It returns a channel
// that is closed once the record is durable, nil when there is nothing to wait for.
func (m *metaGroup) checkpoint() (<-chan struct{}, error) {
	group := m.group.Load()
	if group == nil {
		return nil, nil
	}
	group.Lock()
	catalog, term, conf, newest := m.machine.Catalog(), m.lastTerm, group.ConfLocked(), m.newest.Index
	group.Unlock()
	if catalog.Applied() == newest {
		return nil, nil
	}
	f, err := m.files.Write(catalog, term, conf)
	if err != nil {
		return nil, err
	}
	group.Lock()
	if m.newest.Index < f.Index { // unless another node's has come meanwhile
		m.newest = f
	}
	group.Unlock()
	return group.Checkpoint(f.Index, f.Term, f.Payload()), nil
}

// recover loads the snapshot that the WAL names and returns raft's configuration.
func (m *metaGroup) recover(payload []byte) (membership.ConfState, error) {
	f, err := metasnap.Parse(payload)
	if err != nil {
		return nil, err
	}
	catalog, err := m.files.Load(&f)
	if err != nil {
		return nil, err
	}
	m.machine.Install(catalog)
	m.Applied(f.Index)
	m.newest = f
	return f.Conf, m.files.RemoveOthers(&f)
}

// Snapshot implements replica.Snapshotter. A checkpoint is a snapshot, so the newest one always meets the log.
func (m *metaGroup) Snapshot() (replica.Snapshot, bool) {
	f := m.newest
	return replica.Snapshot{Index: f.Index, Term: f.Term, Conf: f.Conf,
		Open: func() (io.ReadCloser, error) { return m.files.Open(&f) }}, f.Index != 0
}

// store takes a snapshot that another node streams, off all locks, and returns what the WAL is to record.
func (m *metaGroup) store(at replica.Snapshot, r io.Reader) ([]byte, error) {
	f, err := m.files.Receive(at.Index, at.Term, at.Conf, r)
	if err != nil {
		return nil, err
	}
	return f.Payload(), nil
}

// Restore implements replica.Snapshotter. Commands that wait may be in the snapshot, and are refused when they come again, or
// in no log at all.
func (m *metaGroup) Restore(s replica.Snapshot) error {
	f, err := metasnap.Parse(s.Payload)
	if err != nil {
		return err
	}
	if f.Index != s.Index || f.Term != s.Term {
		return fmt.Errorf("metadata: a snapshot at index %d of term %d whose file is of %d in term %d", s.Index, s.Term, f.Index, f.Term)
	}
	catalog, err := m.files.Load(&f)
	if err != nil {
		return err
	}
	m.Resend()
	m.machine.Install(catalog)
	m.dirty()
	m.Applied(f.Index)
	m.newest, m.lastTerm = f, f.Term
	return nil
}
