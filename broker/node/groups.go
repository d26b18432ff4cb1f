package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"ackline/broker/api"
	"ackline/broker/engine"
	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/node/datadir"
	"ackline/broker/partition"
	"ackline/broker/replica"
	"ackline/broker/seglog"
	"ackline/broker/wal"
)

// events are what the metadata group says has changed, for the reconciler to carry out: opening and deleting groups takes
// disk time, and the metadata group must not wait for it.
type events struct {
	mu   sync.Mutex
	list []meta.Event
	wake chan struct{} // capacity 1
}

// GroupChanged implements meta.Listener.
func (e *events) GroupChanged(ev meta.Event) {
	e.mu.Lock()
	e.list = append(e.list, ev)
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *events) take() []meta.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.list
	e.list = nil
	return list
}

// reconcile opens and deletes groups until the node stops.
func (n *Node) reconcile() {
	defer n.loops.Done()
	for {
		select {
		case <-n.stopping:
			return
		case <-n.events.wake:
		}
		n.carryOut(n.events.take())
	}
}

// carryOut does what a list of events asks for. All groups that it opens share the WAL's next batch.
func (n *Node) carryOut(list []meta.Event) {
	for _, e := range list {
		here := replicaOn(e.Replicas, n.dir.Node)
		switch {
		case e.Group == id.MetadataGroup:
		case here != 0 && n.engine.SetReplicas(e.Group, replicas(e.Replicas)): // it is open already
		case here != 0:
			if err := n.openGroup(e, here); err != nil {
				n.log.Error("a partition could not be opened", "topic", e.Topic.Name, "partition", e.Partition, "group", e.Group, "err", err)
				n.hosts.fail(e.Group, err)
			}
		default:
			if err := n.deleteGroup(e.Group, replicaOn(e.Gone, n.dir.Node)); err != nil {
				n.log.Error("a deleted group's files could not be removed", "group", e.Group, "err", err)
			}
			if e.Kind == meta.GroupDeleted {
				n.engine.Forget(e.Group)
			}
		}
	}
	n.engine.Drive()
	n.hosts.notify()
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
	return partition.New(partition.Config{Deliver: n.handler.Deliver, Now: n.now, Changed: n.hosts.notify,
		FlushBytes: n.cfg.Storage.FlushBytes, Dirty: func() { n.backlog.Add(g) }, Large: func() { n.backlog.Large(g) }})
}

// openGroup opens this node's replica of a partition and, when it is the only voter, makes it leader.
func (n *Node) openGroup(e meta.Event, self id.ReplicaID) error {
	if n.hosts.get(e.Group) != nil {
		return nil
	}
	part := n.replay.parts[e.Group]
	delete(n.replay.parts, e.Group)
	if part == nil {
		part = n.newPartition(e.Group)
	}
	at, conf, applied := part.Recovered()
	log, err := seglog.Open(seglog.Options{FS: n.fs, Dir: n.dir.Group(e.Group), Group: e.Group, Files: n.files}, at)
	if err != nil {
		return err
	}
	if err := part.Open(log); err != nil {
		return errors.Join(err, log.Close())
	}
	st := n.groupState(e.Group, conf, applied)
	host := &partHost{part: part}
	c := n.groupConfig(e.Group, self, e.Replicas)
	c.Applier, c.Observer, c.History, c.Snapshots, c.Host = part, part, part.History(), partSnapshots{part}, host
	group, err := n.engine.Add(engine.Spec{Config: c, State: st, Replicas: replicas(e.Replicas), Join: host.join})
	if err != nil {
		return errors.Join(err, log.Close())
	}
	n.hosts.add(&hosted{id: e.Group, self: self, part: part, group: group, topic: e.Topic.ID})
	if _, bytes := part.Pending(); bytes >= n.cfg.Storage.FlushBytes {
		n.backlog.Large(e.Group) // flushLarge may have come before there was a host
	}
	if len(e.Replicas) == 1 || st.Hard.Term == 0 && e.Replicas[0].ID == self {
		group.Campaign() // of a new group the first is to lead
	}
	return nil
}

// groupConfig is what all of a node's groups have in common.
func (n *Node) groupConfig(g id.GroupID, self id.ReplicaID, all []meta.Replica) replica.Config {
	c := n.cfg.Cluster
	ticks := func(ms int) int { return max(1, ms/c.TickMs) }
	return replica.Config{
		Group: g, Replica: self, Voters: replicaIDs(all), Budget: n.budget,
		Seed: uint64(n.dir.Incarnation) ^ uint64(g), Now: n.now,
		ElectionTicks: ticks(c.ElectionMs), HeartbeatTicks: ticks(c.HeartbeatIntervalMs), QuietTicks: ticks(c.QuietMs),
	}
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
	if r := n.hosts.remove(g); r != nil {
		n.engine.Remove(g)
		if err := r.part.Close(); err != nil {
			return err
		}
	}
	n.backlog.Remove(g)
	delete(n.replay.parts, g)
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
	n.gone.add(meta.GroupReplica{Group: g, Replica: self})
	return nil
}

// gone are this node's replicas whose files are removed, until the metadata group has heard of it. Reconciling goes on while
// that has no leader.
type gone struct {
	mu   sync.Mutex // guards list
	list []meta.GroupReplica
	wake chan struct{} // capacity 1
}

func (g *gone) add(r meta.GroupReplica) {
	g.mu.Lock()
	g.list = append(g.list, r)
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// maxGone bounds the replicas of one command.
const maxGone = 1000

// reportGone tells the metadata group which files are gone, until the node stops; the next start tells the rest.
func (n *Node) reportGone() {
	defer n.loops.Done()
	ctx, cancel := n.running()
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.gone.wake:
		}
		for ctx.Err() == nil {
			n.gone.mu.Lock()
			some := n.gone.list[:min(len(n.gone.list), maxGone)]
			n.gone.list = n.gone.list[len(some):]
			n.gone.mu.Unlock()
			if len(some) == 0 {
				break
			}
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
		if err := n.hosts.await(ctx, t.Partitions[i].Group); err != nil {
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

// Partition implements api.Hosts.
func (n *Node) Partition(g id.GroupID) *partition.Partition { return n.hosts.Partition(g) }
