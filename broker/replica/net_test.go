package replica_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
	"ackline/broker/replica/raftlog"
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
	drop  func(pb.Message) bool       // nil: nothing is lost but to and from those cut off
	tune  func(*replica.Config)       // nil: the defaults
	sees  func(*peer, *replica.Entry) // hears of everything that is applied
	logs  bool                        // the machine's state is its log: see disk
	truth *truth                      // nil: nobody watches
	snaps int                         // snapshots that were sent
	busy  bool                        // the transport takes no snapshots
	ring  int64                       // bytes of a WAL's ring; 0 means 1 MiB, room for 150 batches
}

// peer is one replica.
type peer struct {
	id    id.ReplicaID
	disk  *disk
	wal   *wal.WAL
	group *replica.Group
	machine
}

func (n *net) Send(_ id.GroupID, ms []pb.Message) { n.queue = append(n.queue, ms...) }

// SendSnapshot streams the snapshot as the transport would, and reports it to nobody: run does.
func (n *net) SendSnapshot(_ id.GroupID, m pb.Message, s replica.Snapshot) bool {
	if n.busy {
		return false
	}
	n.snaps++
	snap := *m.Snapshot
	snap.Data = s.Payload
	if s.Open != nil {
		r, err := s.Open()
		if err != nil {
			n.t.Fatal(err)
		}
		if snap.Data, err = io.ReadAll(r); err != nil {
			n.t.Fatal(err)
		}
	}
	m.Snapshot = &snap
	n.queue = append(n.queue, m)
	return true
}

func newNet(t *testing.T, n int) *net {
	return (&net{t: t}).open(n)
}

func (n *net) open(replicas int) *net {
	n.peers, n.cut = map[id.ReplicaID]*peer{}, map[id.ReplicaID]bool{}
	for i := range replicas {
		n.start(id.ReplicaID(i+1), newDisk(), replicas)
	}
	return n
}

func openWAL(t *testing.T, fs vfs.FS, ringBytes int64) *wal.WAL {
	t.Helper()
	w, _, err := wal.Open(wal.Options{FS: fs, Path: "/ring", RingBytes: ringBytes, BatchBytes: 16 << 10, Method: syncmethod.All()[0], Inline: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// start opens a replica on a disk, from what the WAL there holds. The group was created with replicas 1 to n.
func (n *net) start(self id.ReplicaID, d *disk, voters int) *peer {
	n.t.Helper()
	if err := d.fs.MkdirAll("/"); err != nil {
		n.t.Fatal(err)
	}
	return n.startOn(self, d, openWAL(n.t, d.fs, max(n.ring, 1<<20)), voters)
}

func (n *net) startOn(self id.ReplicaID, d *disk, w *wal.WAL, created int) *peer {
	n.t.Helper()
	p := &peer{id: self, disk: d, wal: w}
	p.machine = machine{peer: p, net: n, brought: map[id.Index]membership.Members{}}
	var st replica.State
	if s, ok := w.State(testGroup); ok {
		st = replica.State{Hard: s.Hard, Flushed: s.Flushed, FlushedTerm: s.FlushedTerm, Last: w.Last(testGroup), Applied: s.Flushed}
		if len(s.Payload) > 0 {
			st.Conf = p.recover(s)
		}
	}
	voters := make([]id.ReplicaID, created)
	for i := range voters {
		voters[i] = id.ReplicaID(i + 1)
	}
	now := int64(0)
	cfg := replica.Config{Group: testGroup, Replica: self, Voters: voters, WAL: w, Applier: &p.machine, Observer: &p.machine,
		Reader: &p.machine, Host: &p.machine, Snapshots: &p.machine, Budget: raftlog.NewBudget(1 << 20), Seed: uint64(self),
		Now: func() int64 { now++; return now }}
	if created > 1 {
		cfg.Sender = n
	}
	if n.logs {
		cfg.History = &p.machine
	}
	if n.tune != nil {
		n.tune(&cfg)
	}
	g, err := replica.NewGroup(cfg, st)
	if err != nil {
		n.t.Fatal(err)
	}
	p.group = g
	n.peers[self] = p
	return p
}

// all lists the replicas in the order of their ids.
func (n *net) all() (ps []*peer) {
	for _, i := range slices.Sorted(maps.Keys(n.peers)) {
		ps = append(ps, n.peers[i])
	}
	return ps
}

// run writes and delivers until nothing is left to do.
func (n *net) run() {
	n.t.Helper()
	for range 100_000 {
		for _, p := range n.all() {
			p.wal.Drive()
		}
		if len(n.queue) == 0 {
			return
		}
		m := n.queue[0]
		n.queue = n.queue[1:]
		n.deliver(m)
	}
	n.t.Fatal("the network does not come to rest")
}

// deliver takes one message to where it belongs, or loses it.
func (n *net) deliver(m pb.Message) {
	n.t.Helper()
	to, from := n.peers[id.ReplicaID(m.To)], n.peers[id.ReplicaID(m.From)]
	lost := to == nil || n.drop != nil && n.drop(m) || n.cut[id.ReplicaID(m.To)] || n.cut[id.ReplicaID(m.From)]
	var err error
	if !lost {
		err = to.group.Step(m)
	}
	if m.Type == pb.MsgSnap && from != nil {
		from.group.ReportSnapshot(id.ReplicaID(m.To), !lost && err == nil)
	}
	if err != nil && !errors.Is(err, replica.ErrRefused) && to.group.Err() == nil {
		n.t.Fatalf("step %v to %d: %v", m.Type, m.To, err)
	}
}

// tick ticks every replica that wants it, and lets what follows happen.
func (n *net) tick() {
	n.t.Helper()
	for _, p := range n.all() {
		if !p.asleep {
			p.group.Tick()
		}
	}
	n.run()
}

func (n *net) elect(i id.ReplicaID) *peer {
	n.t.Helper()
	p := n.peers[i]
	for _, q := range n.all() {
		q.group.ForgetLeader() // as survivors do when a leader is known to be dead
	}
	p.group.Campaign()
	n.run()
	if !p.group.Status().IsLead {
		n.t.Fatalf("replica %d did not become leader: %+v", i, p.group.Status())
	}
	return p
}

// leader is who leads in the highest term, nil if nobody does.
func (n *net) leader() (l *peer) {
	for _, p := range n.all() {
		if s := p.group.Status(); s.IsLead && (l == nil || s.Term > l.group.Status().Term) {
			l = p
		}
	}
	return l
}

func (p *peer) propose(data string) (id.Index, error) {
	p.group.Lock()
	defer p.group.Unlock()
	i, _, err := p.group.ProposeLocked([]byte(data))
	return i, err
}

func (n *net) mustPropose(p *peer, data string) id.Index {
	n.t.Helper()
	i, err := p.propose(data)
	if err != nil {
		n.t.Fatalf("propose %q: %v", data, err)
	}
	return i
}

// fill proposes and commits entries, some at a time.
func (n *net) fill(p *peer, count int) (want []string) {
	n.t.Helper()
	for k := range count {
		want = append(want, number(k))
		n.mustPropose(p, number(k))
		if k%7 == 0 {
			n.run()
		}
	}
	n.run()
	return want
}

// same checks that replicas have applied the same.
func (n *net) same(want []string, replicas ...id.ReplicaID) {
	n.t.Helper()
	for _, i := range replicas {
		if got := n.peers[i].data(); !slices.Equal(got, want) {
			n.t.Fatalf("replica %d applied %d entries, want %d: %q; want %q", i, len(got), len(want), got, want)
		}
	}
}

func number(n int) string { return fmt.Sprintf("entry %d", n) }
