package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"ackline/broker/api"
	"ackline/broker/engine"
	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/node/datadir"
	"ackline/broker/node/hosting"
	"ackline/broker/node/worklist"
	"ackline/broker/partition"
	"ackline/broker/replica"
	"ackline/broker/seglog"
	"ackline/broker/transport/rtt"
	"ackline/broker/wal"
)

// events are the groups of which the metadata says that something has changed, for reconcile to carry out: opening and deleting
// groups takes disk time, and the metadata group must not wait for it.
type events struct {
	*worklist.Queue[id.GroupID]
	look func() // a group's intent changed
}

// GroupChanged implements meta.Listener.
func (e *events) GroupChanged(ev meta.Event) {
	e.Add(ev.Group)
	if ev.Kind == meta.GroupReplaced {
		e.look()
	}
}

// reconcile opens and deletes groups until the node stops.
func (n *Node) reconcile() {
	defer n.loops.Done()
	for {
		select {
		case <-n.stopping:
			return
		case <-n.events.Wake():
		}
		n.carryOut(n.events.Take(math.MaxInt))
	}
}

// carryOut makes this node's share of groups what the metadata says by now. All groups that it opens share the WAL's next batch.
func (n *Node) carryOut(list []id.GroupID) {
	for _, g := range list {
		n.align(g)
	}
	n.engine.Drive()
	n.hosts.Notify()
}

// align makes this node's replica of a group what the metadata says of it: open, kept until its group does without it, or gone.
func (n *Node) align(g id.GroupID) {
	cat := n.meta.Catalog()
	r := n.hosts.Get(g)
	here, going := replicaOn(cat.Replicas(g), n.dir.Node), replicaOn(cat.Gone(g), n.dir.Node)
	topic, part := cat.Group(g)
	switch {
	case g == id.MetadataGroup:
		n.engine.SetReplicas(g, whereabouts(cat, g))
	case topic == nil:
		n.drop(g, going)
		delete(n.dropped, g)
		n.engine.Forget(g)
	case r != nil && r.Self == here, r != nil && r.Self == going && !r.Free.Load():
		if r.Self != here && r.Going.CompareAndSwap(false, true) {
			n.lookAgain()
		}
		n.engine.SetReplicas(g, whereabouts(cat, g))
	case r == nil && going != 0 && n.remembers(g, going): // its group may still count on it
		n.open(cat, topic, part, going)
	case r != nil:
		n.drop(g, r.Self)
		n.events.Add(g) // there may be another to open in its place
	case going != 0 && n.dropped[g] != going:
		n.drop(g, going)
		n.events.Add(g)
	case here == 0:
	case n.remembers(g, here) || n.settled.Load():
		n.open(cat, topic, part, here)
	default:
		// A replica of which nothing is here is new, or was deleted: a metadata that is old could not tell. One that came back
		// empty under its old id would vote a second time. So it waits until enter.
	}
}

// remembers tells whether a replica has ever stored anything here.
func (n *Node) remembers(g id.GroupID, r id.ReplicaID) bool {
	st, ok := n.wal.State(g)
	return ok && !st.Deleted && st.Replica == r
}

func (n *Node) open(cat *meta.Catalog, t *meta.Topic, part int32, self id.ReplicaID) {
	if err := n.openGroup(cat, t, part, self); err != nil {
		g := t.Partitions[part].Group
		n.log.Error("a partition could not be opened", "topic", t.Name, "partition", part, "group", g, "err", err)
		n.hosts.Fail(g, err)
	}
}

func (n *Node) drop(g id.GroupID, self id.ReplicaID) {
	if err := n.deleteGroup(g, self); err != nil {
		n.log.Error("a deleted group's files could not be removed", "group", g, "err", err)
	}
}

// whereabouts is where replicas of a group are: those that belong, and those that do not any more and may still be part of it.
func whereabouts(cat *meta.Catalog, g id.GroupID) []engine.Replica {
	placed := cat.Replicas(g)
	if g == id.MetadataGroup {
		placed = cat.MetadataReplicas()
	}
	return replicas(slices.Concat(placed, cat.Gone(g)))
}

func replicaOn(list []meta.Replica, node id.NodeID) id.ReplicaID {
	for _, r := range list {
		if r.Node == node {
			return r.ID
		}
	}
	return 0
}

// newPartition makes the partition of a group, to be fed by recovery.
func (n *Node) newPartition(g id.GroupID) *partition.Partition {
	return partition.New(partition.Config{Deliver: n.handler.Deliver, Now: n.now, Changed: n.hosts.Notify,
		FlushBytes: n.cfg.Storage.FlushBytes, Dirty: func() { n.backlog.Add(g) }, Large: func() { n.backlog.Large(g) }})
}

// openGroup opens this node's replica of a partition and, when it is the only voter, makes it leader.
func (n *Node) openGroup(cat *meta.Catalog, t *meta.Topic, i int32, self id.ReplicaID) error {
	g, founders := t.Partitions[i].Group, t.Partitions[i].First()
	part := n.replay.Take(g)
	at, conf, applied := part.Recovered()
	log, err := seglog.Open(seglog.Options{FS: n.fs, Dir: n.dir.Group(g), Group: g, Files: n.files, GiveBack: n.giveBack}, at)
	if err != nil {
		return err
	}
	if err := part.Open(log); err != nil {
		return errors.Join(err, log.Close())
	}
	st := n.groupState(g, conf, applied)
	host := &hosting.Watch{Part: part, Look: n.lookAgain}
	c := n.groupConfig(g, self, founders)
	c.Applier, c.Observer, c.History, c.Snapshots, c.Host = part, part, part.History(), hosting.Snapshots{Part: part}, host
	c.DataCRC = partition.DataCRC
	group, err := n.engine.Add(engine.Spec{Config: c, State: st, Replicas: whereabouts(cat, g), Join: host.Join})
	if err != nil {
		return errors.Join(err, log.Close())
	}
	r := &hosting.Hosted{ID: g, Self: self, Part: part, Group: group, Topic: t.ID}
	r.Going.Store(self != replicaOn(t.Partitions[i].Replicas, n.dir.Node))
	n.hosts.Add(r)
	n.lookAgain()
	if slices.Contains(founders, self) && (len(founders) == 1 || st.Hard.Term == 0 && founders[0] == self) {
		group.Campaign() // of a new group the first is to lead
	}
	return nil
}

// groupConfig is what all of a node's groups have in common.
func (n *Node) groupConfig(g id.GroupID, self id.ReplicaID, founders []id.ReplicaID) replica.Config {
	c := n.cfg.Cluster
	ticks := func(ms int) int { return max(1, ms/c.TickMs) }
	return replica.Config{
		Group: g, Replica: self, Voters: founders, Budget: n.budget, Catchup: n.catchup,
		Seed: uint64(n.dir.Incarnation) ^ uint64(g), Now: n.now,
		ElectionTicks: ticks(c.ElectionMs), HeartbeatTicks: ticks(c.ElectionMs / 4), QuietTicks: ticks(c.QuietMs),
		Far: func() int { return int((n.links.Farthest() + n.tick() - 1) / n.tick()) },
	}
}

// tick is how long a tick is now: with it every group's election time-out, at least rtt.Patience round trips to the farthest node that lives,
// and so to any majority. Heartbeats and leases are counted in ticks too.
func (n *Node) tick() time.Duration {
	return rtt.Stretch(ms(n.cfg.Cluster.TickMs), ms(n.cfg.Cluster.ElectionMs), n.links.Farthest())
}

// election is the least election time-out with such ticks.
func (n *Node) election() time.Duration {
	return n.tick() * time.Duration(max(1, n.cfg.Cluster.ElectionMs/n.cfg.Cluster.TickMs))
}

// groupState is what the WAL's index says of a group, with what its machine has.
func (n *Node) groupState(g id.GroupID, conf []byte, applied id.Index) replica.State {
	s, ok := n.wal.State(g)
	if !ok {
		return replica.State{}
	}
	return replica.State{
		Hard: s.Hard, Flushed: s.Flushed, FlushedTerm: s.FlushedTerm,
		Last: n.wal.Last(g), Applied: max(applied, s.Flushed), Conf: conf,
	}
}

// deleteGroup ends a group: it stops, a tombstone makes its records void, its files go, and the metadata group hears that
// they are gone.
func (n *Node) deleteGroup(g id.GroupID, self id.ReplicaID) error {
	if r := n.hosts.Remove(g); r != nil {
		n.engine.Remove(g)
		if err := r.Part.Close(); err != nil {
			return err
		}
	}
	n.backlog.Remove(g)
	n.replay.Drop(g)
	if _, ok := n.wal.State(g); ok {
		t := &tombstone{group: g, done: make(chan struct{})}
		n.wal.Signal(t)
		n.engine.Drive()
		select {
		case <-t.done:
		case <-n.stopping:
			return nil // the next start does it again
		}
	}
	if err := n.fs.RemoveAll(n.dir.Group(g)); err != nil {
		return err
	}
	if err := n.fs.SyncDir(n.dir.File(datadir.GroupsName)); err != nil {
		return err
	}
	n.wal.Forget(g)
	if self == 0 {
		return nil
	}
	n.dropped[g] = self
	n.gone.Add(meta.GroupReplica{Group: g, Replica: self})
	return nil
}

// maxGone bounds the replicas of one command.
const maxGone = 1000

// reportGone tells the metadata group which files are gone, until the node stops; the next start tells the rest. Reconciling goes on
// while that has no leader.
func (n *Node) reportGone() {
	defer n.loops.Done()
	ctx, cancel := n.running()
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.gone.Wake():
		}
		for some := n.gone.Take(maxGone); len(some) > 0 && ctx.Err() == nil; some = n.gone.Take(maxGone) {
			if err := n.tell(ctx, meta.FilesGone{Node: n.dir.Node, Replicas: some}); err != nil && ctx.Err() == nil {
				n.log.Warn("the metadata group would not hear that files are gone", "err", err)
			}
		}
	}
}

// running returns a context that ends when the node stops or has failed.
func (n *Node) running() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		select {
		case <-n.stopping:
		case <-n.ended:
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// tombstone is a source of one record.
type tombstone struct {
	group id.GroupID
	once  sync.Once
	done  chan struct{}
}

// Collect implements wal.Source.
func (t *tombstone) Collect(b *wal.Batch) { b.Delete(t.group) }

// Durable implements wal.Source.
func (t *tombstone) Durable(id.LSN) { t.once.Do(func() { close(t.done) }) }

// AwaitOpen implements api.Hosts.
func (n *Node) AwaitOpen(ctx context.Context, t *meta.Topic) error {
	for i := range t.Partitions {
		if replicaOn(t.Partitions[i].Replicas, n.dir.Node) == 0 {
			continue
		}
		g := t.Partitions[i].Group
		here := func() bool { return replicaOn(n.meta.Catalog().Replicas(g), n.dir.Node) != 0 }
		if err := n.hosts.Await(ctx, g, here); err != nil {
			return fmt.Errorf("topic %s, partition %d: %w", t.Name, i, err)
		}
	}
	return nil
}

// Leader implements api.Hosts.
func (n *Node) Leader(g id.GroupID) (api.Leader, bool) {
	l, ok := n.engine.Leader(g)
	return api.Leader{Node: l.Node, Term: l.Term}, ok
}

// Alive implements api.Hosts: with a node whose connection has just ended it is as if it were dead, until it is back or found dead.
func (n *Node) Alive(p id.NodeID) bool { return n.links.Connected(p) && n.engine.Alive(p) }

// Nearest implements api.Hosts.
func (n *Node) Nearest(g id.GroupID, rack string) (id.NodeID, bool) { return n.mover.Nearest(g, rack) }

// Changed implements api.Hosts.
func (n *Node) Changed() <-chan struct{} { return n.hosts.Changed() }

// Partition implements api.Hosts.
func (n *Node) Partition(g id.GroupID) *partition.Partition { return n.hosts.Partition(g) }
