package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/replica/raftlog"
	"ackline/broker/syncmethod"
	"ackline/broker/transport"
	"ackline/broker/transport/frame"
	"ackline/broker/vfs"
	"ackline/broker/wal"
)

// patience is what a hanging test exceeds.
const patience = 30 * time.Second

var (
	begin = time.Now()
	boots atomic.Uint64
)

func now() int64 { return int64(time.Since(begin)) + 1 }

// until waits for a condition that other goroutines bring about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// machine is what a group applies to: a list of strings. All of it is guarded by the group's lock.
type machine struct {
	t       testing.TB
	node    *node
	id      id.GroupID
	group   *replica.Group
	state   []string
	applied id.Index
	term    id.Term // of applied

	news      chan struct{} // closed and replaced when the next two may have changed
	committed id.Index
	lost      id.Index // the first index that this leadership may not have committed; 0: none
	offer     *replica.Snapshot
	stream    bool // snapshots are streamed, and stored by Store
	refuse    bool // the first that is to be stored
	restored  int
	stored    atomic.Int64
}

func (m *machine) Apply(es []replica.Entry) error {
	for _, e := range es {
		if e.Index != m.applied+1 {
			return fmt.Errorf("entry %d behind %d", e.Index, m.applied)
		}
		m.applied, m.term = e.Index, e.Term
		if e.Type == replica.EntryNormal && len(e.Data) > 0 {
			m.state = append(m.state, string(e.Data))
		}
	}
	return nil
}

func (m *machine) Lead(id.Term, []replica.Entry)    { m.lost = 0 }
func (m *machine) Follow(id.Term, id.ReplicaID)     { m.lost = m.committed + 1; m.tell() }
func (m *machine) Committed(i id.Index, _, _ int64) { m.committed = i; m.tell() }
func (m *machine) Dropped(from id.Index, _ error)   { m.lost = from; m.tell() }

func (m *machine) tell() {
	close(m.news)
	m.news = make(chan struct{})
}

func (m *machine) Take() replica.Completion { return nil }

// payload is a checkpoint's or a snapshot's.
type payload struct {
	Conf  []byte
	State []string
}

func (m *machine) Snapshot() (replica.Snapshot, bool) {
	if m.offer == nil {
		return replica.Snapshot{}, false
	}
	return *m.offer, true
}

func (m *machine) Restore(s replica.Snapshot) error {
	var p payload
	if err := json.Unmarshal(s.Payload, &p); err != nil {
		return err
	}
	m.restored++
	m.state, m.applied, m.term = p.State, s.Index, s.Term
	return nil
}

// checkpoint forgets the log up to what is applied, and offers a snapshot instead.
func (m *machine) checkpoint() {
	m.t.Helper()
	m.group.Lock()
	p, err := json.Marshal(payload{m.group.ConfLocked(), m.state})
	if err != nil {
		m.t.Fatal(err)
	}
	m.offer = &replica.Snapshot{Index: m.applied, Term: m.term, Conf: m.group.ConfLocked(), Payload: p}
	if m.stream {
		m.offer.Payload = nil
		m.offer.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(p)), nil }
	}
	at, term := m.applied, m.term
	m.group.Unlock()
	done := m.group.Checkpoint(at, term, p)
	m.node.e.Drive()
	select {
	case <-done:
	case <-time.After(patience):
		m.t.Fatal("the checkpoint is not durable")
	}
}

// store is Spec.Store.
func (m *machine) store(at replica.Snapshot, r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(r)
	if members, confErr := at.Conf.Members(); at.Index == 0 || at.Term == 0 || confErr != nil || len(members.Voters) == 0 {
		return nil, fmt.Errorf("a snapshot at %d of term %d with %+v, %v", at.Index, at.Term, members, confErr)
	}
	if m.stored.Add(1) == 1 && m.refuse {
		return nil, errors.New("no room")
	}
	return b, err
}

func (m *machine) data() []string {
	m.group.Lock()
	defer m.group.Unlock()
	return slices.Clone(m.state)
}

// propose returns once the entry is committed, or with why that is not known.
func (m *machine) propose(data string) error {
	m.group.Lock()
	i, _, err := m.group.ProposeLocked([]byte(data))
	m.group.Unlock()
	if err != nil {
		return err
	}
	m.node.e.Drive()
	for deadline := time.After(patience); ; {
		m.group.Lock()
		committed, lost, news := m.committed, m.lost, m.news
		m.group.Unlock()
		switch {
		case lost != 0 && lost <= i:
			return errUnknown
		case committed >= i:
			return nil
		}
		select {
		case <-news:
		case <-deadline:
			return errors.New("neither committed nor lost")
		}
	}
}

var errUnknown = errors.New("the leadership ended")

// node is an engine with all that it needs.
type node struct {
	t        testing.TB
	id       id.NodeID
	e        *Engine
	tr       *transport.Transport
	w        *wal.WAL
	addr     string
	machines map[id.GroupID]*machine
	closed   bool
}

// cluster is three nodes whose groups have replica 10·group + node on each.
type cluster struct {
	t      testing.TB
	manual bool // see options
	nodes  []*node
}

// tick ticks every node, if nobody else does.
func (c *cluster) tick() {
	for _, n := range c.nodes {
		if c.manual && !n.closed {
			n.e.Tick()
			for n.e.Work() {
				continue
			}
		}
	}
}

type options struct {
	fs        func(id.NodeID) vfs.FS
	ringBytes int64
	config    func(*Config)
	manual    bool // nobody calls Tick and Work
	tick      time.Duration
}

func newCluster(t testing.TB, o options) *cluster {
	t.Helper()
	c := &cluster{t: t, manual: o.manual}
	for i := range 3 {
		c.nodes = append(c.nodes, newNode(t, id.NodeID(i+1), o))
	}
	for _, n := range c.nodes {
		for _, p := range c.nodes {
			if p != n {
				n.tr.AddPeer(p.id, p.addr)
			}
		}
	}
	c.connected()
	return c
}

func (c *cluster) connected() {
	c.t.Helper()
	for _, n := range c.nodes {
		until(c.t, fmt.Sprintf("node %d to be connected", n.id), func() bool {
			s := n.tr.Stats()
			for _, l := range s.Links {
				if !l.Connected {
					return false
				}
			}
			for _, p := range s.Peers {
				if !p.Up {
					return false
				}
			}
			return true
		})
	}
}

func newNode(t testing.TB, self id.NodeID, o options) *node {
	t.Helper()
	cfg := Config{Node: self}
	if o.config != nil {
		o.config(&cfg)
	}
	n := &node{t: t, id: self, e: New(cfg), machines: map[id.GroupID]*machine{}}
	var fs vfs.FS = vfs.NewMem()
	if o.fs != nil {
		fs = o.fs(self)
	}
	if err := fs.MkdirAll("/"); err != nil {
		t.Fatal(err)
	}
	var err error
	n.w, _, err = wal.Open(wal.Options{FS: fs, Path: "/ring", RingBytes: max(o.ringBytes, 4<<20), BatchBytes: 16 << 10,
		Method: syncmethod.All()[0], Outgoing: n.e.Flush}, nil)
	if err != nil {
		t.Fatal(err)
	}
	n.tr, err = transport.New(transport.Config{Node: self, Identity: frame.Identity{Incarnation: id.Incarnation(100 + self), Boot: boots.Add(1)},
		Cluster: "test", HeartbeatInterval: 5 * time.Millisecond, DeadAfter: 20 * time.Second, RedialMin: 2 * time.Millisecond,
		RedialMax: 20 * time.Millisecond, Now: now}, n.e, n.e.Callbacks())
	if err != nil {
		t.Fatal(err)
	}
	n.e.Attach(n.w, n.tr)
	if !o.manual {
		n.e.Start(max(o.tick, 10*time.Millisecond))
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.addr = ln.Addr().String()
	n.tr.Start(ln)
	t.Cleanup(n.close)
	return n
}

// close ends a node as a killed process ends, as far as others see.
func (n *node) close() {
	if !n.closed {
		n.closed = true
		n.tr.Close()
		n.e.Close()
		if err := n.w.Close(); err != nil {
			n.t.Error(err)
		}
	}
}

func replicaID(g id.GroupID, n id.NodeID) id.ReplicaID { return id.ReplicaID(10*int64(g) + int64(n)) }

// spec is a group of three.
func (n *node) spec(g id.GroupID, change func(*machine)) (Spec, *machine) {
	m := &machine{t: n.t, node: n, id: g, news: make(chan struct{})}
	if change != nil {
		change(m)
	}
	s := Spec{Config: replica.Config{Group: g, Replica: replicaID(g, n.id), Applier: m, Observer: m, Snapshots: m,
		Budget: raftlog.NewBudget(1 << 20), QuietTicks: 3, Seed: uint64(g), Now: now},
		Join: func(group *replica.Group) { m.group = group }}
	if m.stream {
		s.Store = m.store
	}
	for i := range id.NodeID(3) {
		s.Replicas = append(s.Replicas, Replica{i + 1, replicaID(g, i+1)})
		s.Config.Voters = append(s.Config.Voters, replicaID(g, i+1))
	}
	return s, m
}

func (n *node) add(g id.GroupID) *machine {
	n.t.Helper()
	return n.addAs(g, nil)
}

func (n *node) addAs(g id.GroupID, change func(*machine)) *machine {
	n.t.Helper()
	s, m := n.spec(g, change)
	if _, err := n.e.Add(s); err != nil {
		n.t.Fatal(err)
	}
	n.machines[g] = m
	n.e.Drive()
	return m
}

// addAll adds a group everywhere and makes a node its leader.
func (c *cluster) addAll(g id.GroupID, leader int) *machine {
	c.t.Helper()
	for _, n := range c.nodes {
		n.add(g)
	}
	return c.elect(g, leader)
}

func (c *cluster) elect(g id.GroupID, leader int) *machine {
	c.t.Helper()
	n := c.nodes[leader]
	n.e.Group(g).Campaign()
	n.e.Drive()
	m := n.machines[g]
	until(c.t, fmt.Sprintf("a leader of group %d that has committed", g), func() bool { return c.leader(g) != nil })
	return m
}

// leader is a group's leader that has committed something in its term; nil if there is none.
func (c *cluster) leader(g id.GroupID) *machine {
	for _, n := range c.nodes {
		if m := n.machines[g]; m != nil && !n.closed {
			if s := m.group.Status(); s.IsLead && s.Commit == s.Last && s.Last > 0 {
				return m
			}
		}
	}
	return nil
}

// propose commits data on whoever leads. What is not known to be committed is proposed again.
func (c *cluster) propose(g id.GroupID, data string) {
	c.t.Helper()
	until(c.t, fmt.Sprintf("%q to be committed", data), func() bool {
		m := c.leader(g)
		return m != nil && m.propose(data) == nil
	})
}

// same waits until replicas have applied the same, and returns it.
func (c *cluster) same(g id.GroupID, count int, nodes ...int) []string {
	c.t.Helper()
	var first []string
	until(c.t, fmt.Sprintf("%d entries of group %d on nodes %v", count, g, nodes), func() bool {
		c.tick() // the commit index may wait for a heartbeat
		first = c.nodes[nodes[0]].machines[g].data()
		for _, i := range nodes[1:] {
			if !slices.Equal(first, c.nodes[i].machines[g].data()) {
				return false
			}
		}
		return len(first) >= count
	})
	return first
}
