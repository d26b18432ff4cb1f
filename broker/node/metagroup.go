package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strings"
	"sync/atomic"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/meta/petition"
	"ackline/broker/meta/ticket"
	"ackline/broker/node/datadir"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
	"ackline/broker/statemachine"
	"ackline/broker/vfs"
)

// metaGroup is the metadata group on this node: the state machine of meta, the raft group under it, and those who wait for
// a command. Its lock is the group's.
type metaGroup struct {
	machine *meta.Machine
	group   atomic.Pointer[replica.Group] // nil until a fresh node has met its peers
	dir     *datadir.Dir
	*petition.Desk

	lastTerm id.Term // of the last applied entry; guarded by the group's lock

	snapshot id.Index // newest on disk; owned by the checkpointer
}

// Catalog implements api.Cluster.
func (m *metaGroup) Catalog() *meta.Catalog { return m.machine.Catalog() }

// Apply implements replica.Applier.
func (m *metaGroup) Apply(es []replica.Entry) error {
	for i := range es {
		e := &es[i]
		if e.Index <= m.machine.LastApplied() {
			continue
		}
		from, data := ticket.Detach(e.Data)
		if e.Type != replica.EntryNormal {
			data = nil // raft's own
		}
		result, err := m.machine.Apply(statemachine.Entry{Index: e.Index, Term: e.Term, Data: data})
		if err != nil {
			return err
		}
		m.lastTerm = e.Term
		if r, ok := result.(meta.Result); ok {
			m.Settle(from, r)
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

// A metadata snapshot is a file of its own, meta/INDEX.snap, since the catalog may be larger than a WAL record should be.
// The checkpoint's payload names it: u8 version 1, u64 index, u32 CRC-32C of the file, then raft's configuration.
const (
	snapVersion = 1
	snapFixed   = 13
	snapSuffix  = ".snap"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func snapName(i id.Index) string { return fmt.Sprintf("%020d%s", i, snapSuffix) }

// checkpoint writes a snapshot of what is applied and records it in the WAL, unless nothing changed. It returns a channel
// that is closed once the record is durable, nil when there is nothing to wait for.
func (m *metaGroup) checkpoint() (<-chan struct{}, error) {
	group := m.group.Load()
	if group == nil {
		return nil, nil
	}
	group.Lock()
	applied, term, conf := m.machine.LastApplied(), m.lastTerm, group.ConfLocked()
	catalog := m.machine.Catalog()
	group.Unlock()
	if applied == m.snapshot {
		return nil, nil
	}
	var b bytes.Buffer
	if err := catalog.Snapshot(&b); err != nil {
		return nil, fmt.Errorf("snapshot of the metadata: %w", err)
	}
	if err := vfs.WriteFileAtomic(m.dir.FS, m.dir.File(datadir.MetaName, snapName(applied)), b.Bytes()); err != nil {
		return nil, fmt.Errorf("snapshot of the metadata: %w", err)
	}
	p := binary.LittleEndian.AppendUint64([]byte{snapVersion}, uint64(applied))
	p = binary.LittleEndian.AppendUint32(p, crc32.Checksum(b.Bytes(), castagnoli))
	m.snapshot = applied
	return group.Checkpoint(applied, term, append(p, conf...)), nil
}

// removeOld deletes the snapshots before the newest, once the record that names it is durable.
func (m *metaGroup) removeOld() error {
	names, err := m.dir.FS.List(m.dir.File(datadir.MetaName))
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, snapSuffix) && name < snapName(m.snapshot) {
			err = errors.Join(err, m.dir.FS.Remove(filepath.Join(m.dir.File(datadir.MetaName), name)))
		}
	}
	return err
}

// restore loads the snapshot that a checkpoint names and returns its index and raft's configuration.
func (m *metaGroup) restore(payload []byte) (id.Index, membership.ConfState, error) {
	if len(payload) < snapFixed || payload[0] != snapVersion {
		return 0, nil, fmt.Errorf("metadata: a checkpoint of %d bytes that this program cannot read", len(payload))
	}
	index := id.Index(binary.LittleEndian.Uint64(payload[1:]))
	name := m.dir.File(datadir.MetaName, snapName(index))
	b, err := vfs.ReadFile(m.dir.FS, name)
	if err != nil {
		return 0, nil, fmt.Errorf("metadata: the snapshot that the WAL names: %w", err)
	}
	if got, want := crc32.Checksum(b, castagnoli), binary.LittleEndian.Uint32(payload[9:]); got != want {
		return 0, nil, fmt.Errorf("metadata: %s is corrupt: CRC-32C %08x, the WAL says %08x", name, got, want)
	}
	if err := m.machine.Restore(bytes.NewReader(b)); err != nil {
		return 0, nil, fmt.Errorf("metadata: %s: %w", name, err)
	}
	m.snapshot = index
	return index, membership.ConfState(payload[snapFixed:]), nil
}
