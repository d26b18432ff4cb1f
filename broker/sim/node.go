package sim

import (
	"errors"
	"fmt"

	"ackline/broker/id"
	"ackline/broker/partition"
	"ackline/broker/replica/catchup"
	"ackline/broker/replica/raftlog"
	"ackline/broker/seglog"
	"ackline/broker/sim/model"
	"ackline/broker/sim/net"
	"ackline/broker/vfs"
	"ackline/broker/wal"
)

// node is a machine: a disk, and while it is up, what runs on it.
type node struct {
	c       *Cluster
	n       int
	mem     *vfs.Mem
	up      bool
	dead    bool // the power went in the middle of what is still being done: nobody hears of that any more
	cut     int  // the power goes at this many changes of the disk from now; 0: it does not
	back    int64
	paused  int64 // until then
	nextTck int64
	owed    int // ticks, of a paused node

	fs      vfs.FS
	wal     *wal.WAL
	files   *seglog.Files
	budget  *raftlog.Budget
	catchup *catchup.Governor
	members []*member // by group
	inbox   []net.Message[packet]
	sent    []*try
}

// try is a batch on its way through a node.
type try struct {
	producer *model.Producer
	batch    *model.Batch
	ack      partition.Ack
	over     bool
}

var errDown = errors.New("sim: the power is off")

// hook cuts the power in the middle of an operation.
func (n *node) hook(op vfs.Op) error {
	if op.Kind == vfs.OpClose {
		return nil // segments that go are closed in the background
	}
	if n.dead {
		return errDown
	}
	if n.cut > 0 && op.Changes() {
		if n.cut--; n.cut == 0 {
			n.c.note("node %d: the power goes at %v %s", n.n, op.Kind, op.Name)
			n.dead = true
			return vfs.ErrCut
		}
	}
	return nil
}

// start boots the machine. An error is a broken promise, unless the power went again.
func (n *node) start() error {
	n.up, n.dead = true, false
	n.fs = vfs.Inject(n.mem, n.hook)
	n.files, n.budget = seglog.NewFiles(8), raftlog.NewBudget(8<<10)
	n.members = make([]*member, len(n.c.parts))
	n.inbox, n.owed, n.paused = nil, 0, 0
	n.nextTck = n.c.now + 1 + n.c.r.Int64N(tickEvery)
	if err := vfs.MkdirAllDurable(n.fs, "/groups"); err != nil {
		return err
	}
	rep := &replay{n: n, parts: make([]*partition.Partition, len(n.c.parts))}
	var err error
	n.wal, _, err = wal.Open(wal.Options{FS: n.fs, Path: "/ring", RingBytes: ringBytes, BatchBytes: batchBytes, RingID: 1,
		Method: n.c.method, Inline: true, Fatal: n.fatal}, rep)
	if err != nil {
		return err
	}
	n.catchup = n.pace()
	for g, p := range n.c.parts {
		if self := p.hosted[n.n]; self != 0 {
			if err := n.open(g, self, rep.parts[g]); err != nil {
				return fmt.Errorf("group %d: %w", g, err)
			}
		} else if err := n.erase(g); err != nil {
			return err
		}
	}
	return nil
}

// pace has half of the seeds pace who is behind, if only by a few entries. How long the log's writes take is made up, and gets longer:
// a real clock would make each run another.
func (n *node) pace() *catchup.Governor {
	if n.c.cfg.Seed%2 == 0 {
		return nil
	}
	stats := n.wal.Stats()
	return catchup.New(catchup.Config{LeastBytesPerSecond: 20_000, FarBytes: 512, Now: func() int64 { return n.c.now * 1e6 },
		WAL: func() (writes, ns, bytes uint64) {
			n.c.did.paced++
			writes = stats.Batches.Load()
			return writes, writes * writes, stats.Bytes.Load()
		}})
}

func (n *node) fatal(err error) {
	if !n.dead {
		n.c.fail("node %d: %v", n.n, err)
		n.dead = true
	}
}

// erase removes what is left of a group that the node has no replica of.
func (n *node) erase(g int) error {
	if m := n.members[g]; m != nil {
		n.members[g] = nil
		m.group.Stop()
		if err := m.part.Close(); err != nil {
			return err
		}
	}
	s, ok := n.wal.State(groupID(g))
	if !ok {
		return nil
	}
	if !s.Deleted {
		n.wal.SignalCheckpoint(tombstone(groupID(g))) // it frees space, and is durable when Drive returns
		n.wal.Drive()
	}
	if err := n.fs.RemoveAll(groupDir(g)); err != nil {
		return err
	}
	if err := n.fs.SyncDir("/groups"); err != nil {
		return err
	}
	n.wal.Forget(groupID(g))
	return nil
}

type tombstone id.GroupID

func (t tombstone) Collect(b *wal.Batch) { b.Delete(id.GroupID(t)) }
func (t tombstone) Durable(id.LSN)       {}

// crash ends the machine's run. What of its last writes survives, the seed decides; or all does, when only the process died.
func (n *node) crash(kill bool) {
	n.dead, n.up, n.cut = true, false, 0
	if kill {
		n.mem = n.mem.Clone()
	} else {
		n.mem = n.mem.CrashClone(n.c.r.Uint64())
	}
	n.c.net.Cut(n.n)
	for _, t := range n.sent {
		n.c.ended(t, model.Unknown)
	}
	n.sent, n.members, n.inbox = nil, make([]*member, len(n.c.parts)), nil
	n.c.did.crashes++
}

// replay feeds partitions with what the WAL holds.
type replay struct {
	n     *node
	parts []*partition.Partition
	of    [groups]id.ReplicaID
}

// part returns a group's partition. A record under another ReplicaID voids what came before.
func (r *replay) part(g id.GroupID, self id.ReplicaID) *partition.Partition {
	i := groupIndex(g)
	if r.parts[i] == nil || r.of[i] != self {
		r.parts[i], r.of[i] = r.n.c.newPartition(r.n), self
	}
	return r.parts[i]
}

func (r *replay) Entries(g id.GroupID, self id.ReplicaID, es []wal.Entry) error {
	if g == unled {
		return nil
	}
	return r.part(g, self).Recover(es)
}

func (r *replay) HardState(g id.GroupID, self id.ReplicaID, h wal.HardState) error {
	return r.part(g, self).RecoverCommit(h.Commit)
}

func (r *replay) Checkpoint(g id.GroupID, self id.ReplicaID, _ id.Index, _ id.Term, h wal.HardState, payload []byte) error {
	if err := r.part(g, self).RecoverCheckpoint(payload); err != nil {
		return err
	}
	return r.part(g, self).RecoverCommit(h.Commit)
}

func (r *replay) Snapshot(g id.GroupID, self id.ReplicaID, _ id.Index, _ id.Term, payload []byte) error {
	r.parts[groupIndex(g)] = nil
	return r.part(g, self).RecoverCheckpoint(payload)
}

func (r *replay) Deleted(g id.GroupID) error {
	if g == unled {
		return nil
	}
	r.parts[groupIndex(g)] = nil
	return nil
}
