package replica_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
	"ackline/broker/vfs"
	"ackline/broker/wal"
)

// disk is what a replica finds again after a crash: the WAL's file system, and of a machine whose state is its log the
// entries that it has flushed, which count as synced before the checkpoint that names them.
type disk struct {
	fs    *vfs.Mem
	first id.Index // of the flushed entries
	term  id.Term  // of the entry before
	segs  []replica.Entry
}

func newDisk() *disk { return &disk{fs: vfs.NewMem(), first: 1} }

// crash is the disk after a power cut.
func (d *disk) crash(seed uint64) *disk {
	return &disk{fs: d.fs.CrashClone(seed), first: d.first, term: d.term, segs: slices.Clone(d.segs)}
}

// machine records what it is told. Its state is the data that it applied; or, if net.logs, the log: then it keeps what it
// flushed, and its snapshots are empty.
type machine struct {
	peer *peer
	net  *net

	state     []string // data applied, of entries above base
	applied   []replica.Entry
	base      payload
	committed id.Index
	leads     int
	follows   int
	dropped   id.Index
	tail      []replica.Entry
	fail      error

	prepared  *replica.Snapshot // what Snapshot gives
	preparing int               // how often Snapshot says that it has none
	asked     int
	restored  int
	reads     []read
	asleep    bool
	members   membership.Members
	leader    replica.Status
	proposed  []replica.Entry                 // by this replica in its term, and not committed
	brought   map[id.Index]membership.Members // configurations whose entries are about to be applied
	named     bool                            // a snapshot that does not know this replica was restored
}

type read struct {
	ctx   uint64
	index id.Index
	err   error
}

// payload is a checkpoint's or a snapshot's.
type payload struct {
	Index id.Index
	Term  id.Term
	Conf  []byte
	Data  []string // nil if the state is the log
	Reset bool     // a snapshot: the log begins behind it
}

func (m *machine) Apply(es []replica.Entry) error {
	if m.fail != nil {
		return m.fail
	}
	for _, e := range es {
		if e.Index <= m.last() {
			continue
		}
		if e.Index != m.last()+1 {
			return fmt.Errorf("entry %d does not follow %d", e.Index, m.last())
		}
		e.Data = slices.Clone(e.Data)
		m.applied = append(m.applied, e)
		if len(e.Data) > 0 && e.Type == replica.EntryNormal {
			m.state = append(m.state, string(e.Data))
		}
		if m.net.sees != nil {
			m.net.sees(m.peer, &e)
		}
		if ms, ok := m.brought[e.Index]; ok && m.net.truth != nil && !m.named {
			m.net.truth.configured(m.peer, e.Index, ms)
		}
		delete(m.brought, e.Index)
	}
	return nil
}

func (m *machine) last() id.Index {
	if n := len(m.applied); n > 0 {
		return m.applied[n-1].Index
	}
	return m.base.Index
}

// data is all that was applied and is still there.
func (m *machine) data() []string {
	if m.net.logs {
		return slices.Concat(m.peer.flushed(), m.state)
	}
	return slices.Concat(m.base.Data, m.state)
}

func (m *machine) Lead(_ id.Term, tail []replica.Entry) {
	m.leads++
	m.proposed = nil
	m.tail = append([]replica.Entry(nil), tail...)
}
func (m *machine) Follow(id.Term, id.ReplicaID) {
	m.follows++
	m.proposed = nil
}
func (m *machine) Committed(i id.Index, _, _ int64) {
	if i < m.committed {
		m.net.t.Fatalf("replica %d: commit index %d after %d", m.peer.id, i, m.committed)
	}
	m.committed = i
	for len(m.proposed) > 0 && m.proposed[0].Index <= i {
		if tr := m.net.truth; tr != nil {
			tr.acked[m.proposed[0].Index], tr.last = string(m.proposed[0].Data), max(tr.last, m.proposed[0].Index)
		}
		m.proposed = m.proposed[1:]
	}
}
func (m *machine) Dropped(from id.Index, _ error) {
	m.dropped = from
	for n := len(m.proposed); n > 0 && m.proposed[n-1].Index >= from; n-- {
		if tr := m.net.truth; tr != nil {
			tr.void[string(m.proposed[n-1].Data)] = m.proposed[n-1].Index
		}
		m.proposed = m.proposed[:n-1]
	}
}
func (m *machine) Take() replica.Completion { return nil }

func (m *machine) Readable(ctx uint64, i id.Index, err error) {
	m.reads = append(m.reads, read{ctx, i, err})
}

func (m *machine) Ticks(_ id.GroupID, needed bool)       { m.asleep = !needed }
func (m *machine) Leader(_ id.GroupID, s replica.Status) { m.leader = s }
func (m *machine) Configured(_ id.GroupID, at id.Index, ms membership.Members) {
	m.members = ms
	m.brought[at] = ms
}

// checkpoint records everything applied, and drops the flushed entries below first.
func (p *peer) checkpoint(first id.Index) {
	p.group.Lock()
	conf := p.group.ConfLocked()
	p.group.Unlock()
	if len(p.applied) == 0 {
		return
	}
	end := p.applied[len(p.applied)-1]
	at := payload{Index: end.Index, Term: end.Term, Conf: conf}
	if p.net.logs {
		p.disk.segs = append(p.disk.segs, p.applied...)
	} else {
		at.Data = p.data()
	}
	p.base, p.applied, p.state = at, nil, nil
	if !p.net.logs {
		p.prepared = snapshotOf(at)
	}
	done := p.group.Checkpoint(at.Index, at.Term, at.encode())
	p.wal.Drive()
	select {
	case <-done:
	default:
		p.net.t.Fatalf("replica %d: the checkpoint at %d is not durable", p.id, at.Index)
	}
	if p.net.logs && first > p.disk.first && first <= end.Index {
		p.retain(first, conf)
	}
}

// retain drops flushed entries, and prepares the snapshot that stands for them. conf is the configuration there: a test
// that changes it must not drop what came before.
func (p *peer) retain(first id.Index, conf membership.ConfState) {
	d := p.disk
	n := first - d.first
	d.term, d.first, d.segs = d.segs[n-1].Term, first, slices.Clone(d.segs[n:])
	if p.net.truth != nil {
		conf = p.net.truth.conf(first - 1)
	}
	p.prepared = snapshotOf(payload{Index: first - 1, Term: d.term, Conf: conf, Reset: true})
}

func snapshotOf(at payload) *replica.Snapshot {
	return &replica.Snapshot{Index: at.Index, Term: at.Term, Conf: at.Conf, Payload: at.encode()}
}

func (at payload) encode() []byte {
	b, err := json.Marshal(at)
	if err != nil {
		panic(err)
	}
	return b
}

// flushed is the data of the flushed entries.
func (p *peer) flushed() (out []string) {
	for _, e := range p.disk.segs {
		if len(e.Data) > 0 && e.Type == replica.EntryNormal {
			out = append(out, string(e.Data))
		}
	}
	return out
}

// recover takes what the WAL says of the machine, and returns the configuration.
func (p *peer) recover(s wal.GroupState) membership.ConfState {
	var at payload
	if err := json.Unmarshal(s.Payload, &at); err != nil {
		p.net.t.Fatal(err)
	}
	if at.Index != s.Flushed || at.Term != s.FlushedTerm {
		p.net.t.Fatalf("the payload is of %d in term %d, the WAL says %d in term %d", at.Index, at.Term, s.Flushed, s.FlushedTerm)
	}
	d := p.disk
	if p.net.logs {
		switch {
		case s.Snapshot:
			d.first, d.term, d.segs = at.Index+1, at.Term, nil
		case d.first+id.Index(len(d.segs)) <= at.Index:
			p.net.t.Fatalf("the checkpoint is at %d, the segments end at %d", at.Index, d.first+id.Index(len(d.segs))-1)
		default:
			d.segs = d.segs[:at.Index+1-d.first]
		}
	}
	p.base = at
	return at.Conf
}

// Snapshot and Restore implement replica.Snapshotter.
func (m *machine) Snapshot() (replica.Snapshot, bool) {
	m.asked++
	if m.preparing > 0 {
		m.preparing--
		return replica.Snapshot{}, false
	}
	if d := m.peer.disk; m.prepared == nil && m.net.truth != nil {
		switch {
		case !m.net.logs && m.base.Index > 0:
			m.prepared = snapshotOf(m.base)
		case m.net.logs && d.first > 1:
			m.prepared = snapshotOf(payload{Index: d.first - 1, Term: d.term, Conf: m.net.truth.conf(d.first - 1), Reset: true})
		}
	}
	if m.prepared == nil {
		return replica.Snapshot{}, false
	}
	return *m.prepared, true
}

func (m *machine) Restore(s replica.Snapshot) error {
	var at payload
	if err := json.Unmarshal(s.Payload, &at); err != nil {
		return err
	}
	if at.Index != s.Index || at.Term != s.Term {
		return fmt.Errorf("a snapshot at %d of term %d with the payload of %d in term %d", s.Index, s.Term, at.Index, at.Term)
	}
	m.restored++
	known, err := membership.ConfState(at.Conf).Members()
	if err != nil {
		return err
	}
	m.named = !slices.Contains(slices.Concat(known.Voters, known.Learners, known.Outgoing), m.peer.id)
	m.base, m.applied, m.state, m.prepared = at, nil, nil, nil
	if m.net.logs {
		m.peer.disk.first, m.peer.disk.term, m.peer.disk.segs = at.Index+1, at.Term, nil
	}
	return nil
}

var errNoEntry = errors.New("not in the segments")

// FirstIndex, Term and Entries implement raftlog.History.
func (m *machine) FirstIndex() id.Index { return m.peer.disk.first }

func (m *machine) Term(i id.Index) (id.Term, error) {
	d := m.peer.disk
	switch {
	case i == d.first-1:
		return d.term, nil
	case i < d.first || i >= d.first+id.Index(len(d.segs)):
		return 0, errNoEntry
	}
	return d.segs[i-d.first].Term, nil
}

func (m *machine) Entries(lo, hi id.Index, maxBytes int) ([]replica.Entry, error) {
	d := m.peer.disk
	if lo < d.first || hi > d.first+id.Index(len(d.segs)) {
		return nil, errNoEntry
	}
	es := d.segs[lo-d.first : hi-d.first]
	n, size := 1, len(es[0].Data)
	for n < len(es) && size+len(es[n].Data) <= maxBytes {
		size += len(es[n].Data)
		n++
	}
	return es[:n], nil
}
