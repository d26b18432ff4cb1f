package replica_test

import (
	"fmt"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/broker/wal"
)

const testGroup id.GroupID = 7

// net is some replicas of one group, each with a WAL of its own on a memory disk, and the messages between them. It is
// stepped by hand: nothing runs by itself.
type net struct {
	t     *testing.T
	peers map[id.ReplicaID]*peer
	cut   map[id.ReplicaID]bool
	queue []pb.Message
	drop  func(pb.Message) bool // nil: nothing is lost but to and from those cut off
}

type peer struct {
	id    id.ReplicaID
	fs    *vfs.Mem
	wal   *wal.WAL
	group *replica.Group
	machine
}

// machine records what it is told.
type machine struct {
	applied   []replica.Entry
	committed id.Index
	leads     int
	follows   int
	dropped   id.Index
	tail      []replica.Entry
	fail      error
}

func (m *machine) Apply(es []replica.Entry) error {
	if m.fail != nil {
		return m.fail
	}
	for _, e := range es {
		if n := len(m.applied); n > 0 && e.Index <= m.applied[n-1].Index {
			continue
		}
		e.Data = append([]byte(nil), e.Data...)
		m.applied = append(m.applied, e)
	}
	return nil
}
func (m *machine) Lead(_ id.Term, tail []replica.Entry) {
	m.leads++
	m.tail = append([]replica.Entry(nil), tail...)
}
func (m *machine) Follow(id.Term, id.ReplicaID)     { m.follows++ }
func (m *machine) Committed(i id.Index, _, _ int64) { m.committed = i }
func (m *machine) Dropped(from id.Index, _ error)   { m.dropped = from }
func (m *machine) Take() replica.Completion         { return nil }
func (n *net) Send(_ id.GroupID, ms []pb.Message)   { n.queue = append(n.queue, ms...) }
func (m *machine) data() (out []string) {
	for _, e := range m.applied {
		if len(e.Data) > 0 && e.Type == replica.EntryNormal {
			out = append(out, string(e.Data))
		}
	}
	return out
}

func newNet(t *testing.T, n int) *net {
	c := &net{t: t, peers: map[id.ReplicaID]*peer{}, cut: map[id.ReplicaID]bool{}}
	for i := range n {
		c.start(id.ReplicaID(i+1), vfs.NewMem(), n)
	}
	return c
}

func openWAL(t *testing.T, fs vfs.FS, ringBytes int64) *wal.WAL {
	t.Helper()
	w, _, err := wal.Open(wal.Options{FS: fs, Path: "/ring", RingBytes: ringBytes, BatchBytes: 16 << 10, Method: syncmethod.All()[0], Inline: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// start opens a replica on a disk, from what the WAL there holds.
func (c *net) start(self id.ReplicaID, fs *vfs.Mem, n int) *peer {
	c.t.Helper()
	if err := fs.MkdirAll("/"); err != nil {
		c.t.Fatal(err)
	}
	return c.startOn(self, fs, openWAL(c.t, fs, 1<<20), n)
}

func (c *net) startOn(self id.ReplicaID, fs *vfs.Mem, w *wal.WAL, n int) *peer {
	c.t.Helper()
	p := &peer{id: self, fs: fs, wal: w}
	var st replica.State
	if s, ok := p.wal.State(testGroup); ok {
		st = replica.State{Hard: s.Hard, Flushed: s.Flushed, FlushedTerm: s.FlushedTerm, Last: p.wal.Last(testGroup), Applied: s.Flushed}
	}
	voters := make([]id.ReplicaID, n)
	for i := range voters {
		voters[i] = id.ReplicaID(i + 1)
	}
	now := int64(0)
	var sender replica.Sender
	if n > 1 {
		sender = c
	}
	g, err := replica.NewGroup(replica.Config{Group: testGroup, Replica: self, Voters: voters, WAL: p.wal, Sender: sender,
		Applier: &p.machine, Observer: &p.machine, Budget: replica.NewBudget(1 << 20), Seed: uint64(self),
		Now: func() int64 { now++; return now }}, st)
	if err != nil {
		c.t.Fatal(err)
	}
	p.group = g
	c.peers[self] = p
	return p
}

// run writes and delivers until nothing is left to do.
func (c *net) run() {
	for range 10_000 {
		for _, p := range c.peers {
			p.wal.Drive()
		}
		if len(c.queue) == 0 {
			return
		}
		m := c.queue[0]
		c.queue = c.queue[1:]
		to := c.peers[id.ReplicaID(m.To)]
		if to == nil || c.drop != nil && c.drop(m) || c.cut[id.ReplicaID(m.To)] || c.cut[id.ReplicaID(m.From)] {
			continue
		}
		if err := to.group.Step(m); err != nil {
			c.t.Fatalf("step %v to %d: %v", m.Type, m.To, err)
		}
	}
	c.t.Fatal("the network does not come to rest")
}

func (c *net) elect(i id.ReplicaID) *peer {
	c.t.Helper()
	p := c.peers[i]
	for _, q := range c.peers {
		q.group.ForgetLeader() // as survivors do when a leader is known to be dead
	}
	p.group.Campaign()
	c.run()
	if !p.group.Status().IsLead {
		c.t.Fatalf("replica %d did not become leader: %+v", i, p.group.Status())
	}
	return p
}

func (p *peer) propose(data string) (id.Index, error) {
	p.group.Lock()
	defer p.group.Unlock()
	i, _, err := p.group.ProposeLocked([]byte(data))
	return i, err
}

func (c *net) mustPropose(p *peer, data string) id.Index {
	c.t.Helper()
	i, err := p.propose(data)
	if err != nil {
		c.t.Fatalf("propose %q: %v", data, err)
	}
	return i
}

func number(n int) string { return fmt.Sprintf("entry %d", n) }
