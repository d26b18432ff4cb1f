// Package sim runs a whole cluster in one loop that a seed rules: nodes with their WALs, groups, partitions and segments,
// the real ones, on disks in memory and a network in memory, with clients; and everything that can go wrong. There is no
// goroutine and no clock, so that a seed that fails fails again. Only tests use it.
//
// A run goes through some thousand units of time in trouble, then all trouble ends, and the cluster must become whole within
// a bounded time. What must hold all the while is package model's, and what the replicas check of themselves.
package sim

import (
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/partition"
	"ackline/broker/sim/model"
	"ackline/broker/sim/net"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/broker/wal"
)

const (
	groups       = 3
	tickEvery    = 10 // units of time
	ringBytes    = 512 << 10
	batchBytes   = 8 << 10
	segmentBytes = 700 // some batches
	producers    = 6
)

// Config says what is run.
type Config struct {
	Seed  uint64
	Steps int // units of time in trouble
	// Full rings are part of the trouble.
	Full bool
	// Trace, if not nil, hears what happens.
	Trace func(string)
}

// Cluster is one run.
type Cluster struct {
	cfg    Config
	r      *rand.Rand
	floods *rand.Rand
	now    int64
	net    *net.Net[packet]
	nodes  []*node
	parts  []*part
	method syncmethod.Method
	quiet  int
	calm   bool // the trouble is over

	producers []*model.Producer // of partition i % groups
	reports   []*report
	trace     hash.Hash64
	err       error // the first broken promise
	did       deeds
}

// deeds count what happened, to see that something did.
type deeds struct {
	acked, failed, unknown, elections, crashes, torn, snapshots, restored, changes, removed, transfers, pauses, cuts, reads,
	fetches, followed, checkpoints, retained, paced int
	filled, fullElections int // if Config.Full
}

// packet is a raft message on the network.
type packet struct {
	g        int
	raw      []byte
	snapshot int // the report that is expected, 0 for none
}

// report is what becomes of a snapshot that was sent.
type report struct {
	m   *member
	to  id.ReplicaID
	due int64
}

// New makes a cluster of 3 or 5 nodes.
func New(cfg Config) *Cluster {
	r := rand.New(rand.NewPCG(cfg.Seed, 99))
	c := &Cluster{cfg: cfg, r: r, floods: rand.New(rand.NewPCG(cfg.Seed, 98)), trace: fnv.New64a(), reports: []*report{nil}}
	n := 3 + 2*r.IntN(2)
	methods := syncmethod.All()
	c.method = methods[r.IntN(len(methods))]
	if r.IntN(2) == 0 {
		c.quiet = 3
	}
	c.net = net.New[packet](net.Config{Nodes: n, FIFO: r.IntN(2) == 0, MaxLatency: 1 + r.Int64N(15), Loss: 0.01 * r.Float64(),
		Repeat: 0.02 * r.Float64(), Seed: r.Uint64()})
	for g := range groups {
		c.parts = append(c.parts, newPart(g, n))
	}
	for i := range producers {
		c.producers = append(c.producers, model.NewProducer(i+1, i >= producers/2, c.parts[i%groups].truth, r.Uint64()))
	}
	blank := blankDisk(c.method)
	for i := range n {
		c.nodes = append(c.nodes, &node{c: c, n: i, mem: blank.Clone(), members: make([]*member, groups)})
	}
	c.note("%d nodes, %s, quiet after %d", n, c.method, c.quiet)
	return c
}

// blankDisk is a disk with an empty ring: filling one takes a while.
func blankDisk(m syncmethod.Method) *vfs.Mem {
	mem := vfs.NewMem()
	w, _, err := wal.Open(wal.Options{FS: mem, Path: "/ring", RingBytes: ringBytes, BatchBytes: batchBytes, RingID: 1, Method: m, Inline: true}, nil)
	if err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return mem
}

func (c *Cluster) clock() int64 { return c.now }

// note adds to the trace.
func (c *Cluster) note(format string, args ...any) {
	line := fmt.Sprintf("%6d  "+format, append([]any{c.now}, args...)...)
	c.trace.Write([]byte(line))
	if c.cfg.Trace != nil {
		c.cfg.Trace(line)
	}
}

func (c *Cluster) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
		c.note("BROKEN: %v", c.err)
	}
}

func (c *Cluster) check(err error) {
	if err != nil {
		c.fail("%v", err)
	}
}

// checkOn is check, of what a node met: anything may fail whose power is off.
func (c *Cluster) checkOn(n *node, err error) {
	if err != nil && !n.dead {
		c.fail("node %d: %v", n.n, err)
	}
}

func (c *Cluster) newPartition(n *node) *partition.Partition {
	return partition.New(partition.Config{MaxProducers: 100, Now: c.clock, Deliver: func(a *partition.Ack) { c.deliver(n, a) }})
}

func (c *Cluster) expectReport(m *member, to id.ReplicaID) int {
	c.reports = append(c.reports, &report{m, to, c.now + 300})
	return len(c.reports) - 1
}

// settleReport tells the sender of a snapshot what became of it, once.
func (c *Cluster) settleReport(i int, ok bool) {
	if i == 0 || c.reports[i] == nil {
		return
	}
	rep := c.reports[i]
	c.reports[i] = nil
	if n := rep.m.node; n.up && !n.dead && n.members[rep.m.g] == rep.m {
		rep.m.group.ReportSnapshot(rep.to, ok)
	}
}

// step lets one unit of time pass.
func (c *Cluster) step() {
	c.now++
	for _, n := range c.nodes {
		if !n.up && n.back <= c.now {
			c.boot(n)
		}
	}
	for m, ok := c.net.Next(c.now); ok; m, ok = c.net.Next(c.now) {
		c.arrive(m)
	}
	for i := 1; i < len(c.reports); i++ {
		if rep := c.reports[i]; rep != nil && rep.due <= c.now {
			c.settleReport(i, false)
		}
	}
	for _, n := range c.nodes {
		if n.up && !n.dead && c.err == nil {
			c.run(n)
		}
		c.reap(n)
	}
	if c.err != nil {
		return
	}
	c.clients()
	for _, n := range c.nodes {
		c.reap(n)
	}
	c.watch()
}

func (c *Cluster) boot(n *node) {
	err := n.start()
	c.note("node %d is up: %v", n.n, err)
	c.checkOn(n, err)
	c.reap(n)
}

// reap ends the run of a node whose power went.
func (c *Cluster) reap(n *node) {
	if n.up && n.dead {
		c.did.torn++
		n.crash(false)
		n.back = c.now + c.r.Int64N(300)
		c.rumour(n, true)
	}
}

// run gives a node its unit of time.
func (c *Cluster) run(n *node) {
	for n.nextTck <= c.now {
		n.nextTck += tickEvery
		n.owed++
	}
	if n.paused > c.now {
		return
	}
	if n.paused != 0 { // it was, and has to catch up
		n.paused = 0
		c.note("node %d goes on, %d ticks and %d messages late", n.n, n.owed, len(n.inbox))
		if c.r.IntN(2) == 0 {
			c.ticks(n)
		}
		for _, m := range n.inbox {
			c.arrive(m)
		}
		n.inbox = nil
	}
	c.ticks(n)
	if c.calm || c.r.IntN(3) > 0 {
		n.wal.Drive()
	}
	for other := range c.nodes {
		if c.net.Broken(n.n, other) {
			c.unreachable(n, other)
		}
	}
	if used, usable := n.wal.Usage(); used > usable/2 {
		c.save(n)
	}
}

func (c *Cluster) ticks(n *node) {
	for ; n.owed > 0; n.owed-- {
		for _, m := range n.members {
			if m != nil && !m.asleep {
				m.group.Tick()
			}
		}
	}
}

func (c *Cluster) unreachable(n *node, other int) {
	for g, m := range n.members {
		if m != nil && c.parts[g].hosted[other] != 0 {
			m.group.ReportUnreachable(c.parts[g].hosted[other])
		}
	}
}

func (c *Cluster) save(n *node) {
	c.did.checkpoints++
	c.checkOn(n, n.checkpoint())
}

// arrive delivers a message.
func (c *Cluster) arrive(m net.Message[packet]) {
	n := c.nodes[m.To]
	if !n.up || n.dead {
		return
	}
	if n.paused > c.now {
		n.inbox = append(n.inbox, m)
		return
	}
	var msg pb.Message
	if err := msg.Unmarshal(m.Body.raw); err != nil {
		panic(err)
	}
	c.note("%v of group %d from %d to %d: term %d, index %d of %d, %d entries, commit %d, reject %v", msg.Type, m.Body.g, m.From, m.To,
		msg.Term, msg.Index, msg.LogTerm, len(msg.Entries), msg.Commit, msg.Reject)
	to := n.members[m.Body.g]
	if to == nil {
		c.settleReport(m.Body.snapshot, false)
		return
	}
	err := to.group.Step(msg)
	c.settleReport(m.Body.snapshot, err == nil)
	c.checkOn(n, to.group.Err())
}

// rumour is that a node is dead, or not: it reaches others, or does not.
func (c *Cluster) rumour(about *node, dead bool) {
	for _, n := range c.nodes {
		if n == about || !n.up || n.dead || !c.calm && c.r.IntN(4) == 0 {
			continue
		}
		for g, m := range n.members {
			if r := c.parts[g].hosted[about.n]; m != nil && r != 0 {
				m.group.PeersDown([]id.ReplicaID{r})
				if !dead {
					m.group.PeersDown(nil)
				}
			}
		}
	}
}
