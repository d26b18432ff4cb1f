// Package node puts a broker together: it opens what the other packages are in the order in which they need one another,
// moves data between them in the background, and closes them again.
//
// Open: data directory (lock, identity) → sync method → WAL (one pass of recovery) → metadata group → partitions → server.
// Close is the same backwards, with a checkpoint before the WAL closes.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"ackline/broker/api"
	"ackline/broker/engine"
	"ackline/broker/httpapi"
	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/metric/histogram"
	"ackline/broker/node/admin"
	"ackline/broker/node/backlog"
	"ackline/broker/node/config"
	"ackline/broker/node/datadir"
	"ackline/broker/node/founding"
	"ackline/broker/node/hosting"
	"ackline/broker/node/reach"
	"ackline/broker/node/reassign"
	"ackline/broker/node/replay"
	"ackline/broker/node/throttle"
	"ackline/broker/node/worklist"
	"ackline/broker/replica"
	"ackline/broker/replica/catchup"
	"ackline/broker/replica/membership"
	"ackline/broker/replica/raftlog"
	"ackline/broker/seglog"
	"ackline/broker/seglog/giveback"
	"ackline/broker/server"
	"ackline/broker/stage"
	"ackline/broker/syncmethod"
	"ackline/broker/transport"
	"ackline/broker/transport/secure"
	"ackline/broker/vfs"
	"ackline/broker/wal"
)

// Options are what a node is given beside its configuration.
type Options struct {
	FS  vfs.FS       // nil: the operating system's
	Log *slog.Logger // nil: slog.Default
	// Progress hears of what takes long at start: filling a new ring. May be nil.
	Progress func(what string, done, total int64)
}

// Node is a running broker.
type Node struct {
	cfg config.Config
	fs  vfs.FS
	log *slog.Logger
	now func() int64

	boot    uint64 // drawn by each process
	dir     *datadir.Dir
	method  syncmethod.Method
	wal     *wal.WAL
	engine  *engine.Engine
	links   *transport.Transport // nil without peers
	raftLn  net.Listener         // nil without peers
	keys    *secure.Keys         // nil without TLS
	founder *founding.Founder    // nil without peers
	reach   *reach.Peers         // nil without peers
	// Recovery is what opening the WAL found.
	Recovery wal.Recovery
	replay   *replay.Replay
	files    *seglog.Files
	giveBack *giveback.Queue
	budget   *raftlog.Budget
	catchup  *catchup.Governor
	meta     *metaGroup
	hosts    *hosting.Hosts
	events   *events
	backlog  *backlog.Set
	handler  *api.Handler
	server   *server.Server
	stages   *stage.Set
	ln       net.Listener
	admin    *admin.Server
	http     *httpapi.Server // nil without one
	httpLn   net.Listener

	gone    *worklist.Queue[meta.GroupReplica] // this node's replicas whose files are removed, until the metadata group has heard of it
	dropped map[id.GroupID]id.ReplicaID        // what was the last to be removed of a group; owned by reconcile
	mover   *reassign.Mover
	placer  *placer
	look    chan struct{}   // capacity 1: groups' members, or the nodes, may not be what the metadata says
	forget  func(id.NodeID) // a peer; nil without any

	flushDue      chan struct{} // capacity 1: from pollLoop to flushLoop
	throttle      *throttle.Throttle
	checkpointing sync.Mutex  // one checkpoint at a time
	saving        atomic.Bool // one is under way

	// Counters and histograms (ns) of background work, read by metrics.
	checkpoints, flushes           *histogram.Histogram
	flushedBytes, checkpointErrors atomic.Uint64

	full atomic.Bool // the disk has no room for segments

	settled  atomic.Bool // the catalog has everything that was committed before this start
	ready    atomic.Bool
	loops    sync.WaitGroup
	formed   chan struct{} // closed when the cluster is formed, as far as this node knows
	stopping chan struct{} // closed when Close begins
	ended    chan struct{} // closed when a failure ends the node
	failure  atomic.Pointer[error]
}

// Open starts a node: on return it serves clients. The error says what to do about it.
func Open(cfg config.Config, o Options) (_ *Node, err error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, fs: o.FS, log: o.Log, now: stage.Now, stages: stage.NewSet(), checkpoints: newLatency(), flushes: newLatency(),
		flushDue: make(chan struct{}, 1), gone: worklist.New[meta.GroupReplica](), dropped: map[id.GroupID]id.ReplicaID{}, look: make(chan struct{}, 1), boot: rand.Uint64() | 1,
		formed: make(chan struct{}), stopping: make(chan struct{}), ended: make(chan struct{})}
	if n.fs == nil {
		n.fs = vfs.OS()
	}
	if n.log == nil {
		n.log = slog.Default()
	}
	var undo []func()
	defer func() {
		for i := len(undo) - 1; err != nil && i >= 0; i-- {
			undo[i]()
		}
	}()
	if n.keys, err = cfg.Keys(); err != nil {
		return nil, err
	}
	// The ports first: a node that cannot listen need not recover.
	if n.ln, err = listen("--listen-addr", cfg.Node.ListenAddr); err != nil {
		return nil, err
	}
	undo = append(undo, func() { n.ln.Close() })
	if len(cfg.Cluster.Peers) > 0 {
		if n.raftLn, err = listen("--raft-addr", cfg.Cluster.RaftAddr); err != nil {
			return nil, err
		}
		undo = append(undo, func() { n.raftLn.Close() })
	}
	if n.dir, err = datadir.Open(n.fs, cfg.Node.DataDir, id.NodeID(cfg.Node.ID), cfg.Cluster.Name); err != nil {
		return nil, err
	}
	undo = append(undo, func() { n.dir.Close() })
	if err = n.openStorage(o.Progress); err != nil {
		return nil, err
	}
	undo = append(undo, func() { n.closeGroups(); n.wal.Close() })
	loops := []func(){n.reconcile, n.reportGone, n.pollLoop, n.moveLoop, n.placeLoop, n.flushLoop, n.retentionLoop, n.expireLoop}
	n.loops.Add(len(loops))
	undo = append(undo, func() { close(n.stopping); n.loops.Wait() })
	for _, loop := range loops {
		go loop()
	}
	if err = n.openHTTP(); err != nil { // before joining: /readyz says that the node is starting
		return nil, err
	}
	undo = append(undo, n.closeHTTP)
	if err = n.join(); err != nil {
		return nil, err
	}
	n.loops.Add(1)
	go func() {
		defer n.loops.Done()
		select {
		case <-n.formed: // a node that the cluster may yet refuse has nothing to say to clients
		case <-n.stopping:
		}
		if err := n.server.Serve(n.ln); err != nil {
			n.fail(fmt.Errorf("listener: %w", err))
		}
	}()
	return n, nil
}

// closeGroups ends what steps groups, and then these.
func (n *Node) closeGroups() {
	if n.links != nil {
		n.links.Close()
	}
	n.engine.Close()
}

func listen(flag, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w; choose a free port, or port 0 for any", flag, addr, err)
	}
	return ln, nil
}

// openStorage opens everything below the network, and recovers it.
func (n *Node) openStorage(progress func(string, int64, int64)) error {
	for _, dir := range []string{n.dir.File(datadir.MetaName), n.dir.File(datadir.GroupsName)} {
		if err := vfs.MkdirAllDurable(n.fs, dir); err != nil {
			return fmt.Errorf("data directory %s: %w", n.dir.Path, err)
		}
	}
	var err error
	if n.method, err = n.dir.Method(n.cfg.WAL.SyncMethod, n.log); err != nil {
		return err
	}
	n.files = seglog.NewFiles(n.cfg.Storage.OpenFiles)
	n.giveBack = &giveback.Queue{Free: func() (int64, error) { return n.fs.Free(n.dir.Path) }}
	n.budget, n.throttle = raftlog.NewBudget(n.cfg.Limits.CacheBytes), throttle.New(n.cfg.Limits, n.cfg.Storage.FlushBytes)
	n.events = &events{worklist.New[id.GroupID](), n.lookAgain}
	n.hosts, n.backlog = hosting.New(), backlog.New()
	host := adminHost{n, time.Now()}
	n.admin, n.mover = admin.New(n.dir.Node, host), reassign.NewMover(n.dir.Node, host, n.log)
	n.placer = newPlacer(n.cfg.Cluster)
	n.engine = engine.New(engine.Config{Node: n.dir.Node, Awaited: n.awaited, Interval: n.tick})
	n.meta = n.newMetaGroup()
	if err := n.openServer(); err != nil {
		return err
	}
	n.replay = replay.New(n.newPartition)
	n.wal, n.Recovery, err = wal.Open(wal.Options{
		FS: n.fs, Path: n.dir.File(datadir.RingName), RingBytes: n.cfg.WAL.RingBytes, BatchBytes: n.cfg.WAL.BatchBytes,
		Method: n.method, Window: time.Duration(n.cfg.WAL.WindowUs) * time.Microsecond, Fatal: n.fail, Outgoing: n.engine.Flush,
		Progress: func(done, total int64) {
			if progress != nil {
				progress("filling the WAL's ring with zeros", done, total)
			}
		},
	}, n.replay)
	if err != nil {
		return err
	}
	n.catchup = catchup.New(catchup.Config{LeastBytesPerSecond: n.cfg.Cluster.CatchUpBytesPerSecond, WAL: n.wal.Stats().Written, Now: n.now})
	if n.Recovery.Torn {
		n.log.Warn("the WAL ended in a torn batch, which was never acknowledged and is cut off", "lsn", n.Recovery.End)
	}
	if n.dir.Fresh {
		if err := n.dir.Save(); err != nil {
			return err
		}
	}
	return n.openLinks()
}

func (n *Node) openServer() error {
	c := api.Config{
		Cluster: n.meta, Hosts: n, Drive: n.engine.Drive, Writable: n.writable, Settled: n.settled.Load,
		Self: n.dir.Node, AutoCreate: n.cfg.Topics.AutoCreate, DefaultPartitions: n.cfg.Topics.DefaultPartitions,
		Limits:     meta.Limits{DefaultPartitions: int(n.cfg.Topics.DefaultPartitions), MaxMessageBytes: n.maxMessageBytes()},
		ThrottleMs: n.throttleMs, Origins: n.placer.tally(), Now: n.now, Log: n.log,
	}
	if n.cfg.Cluster.ForwardProduce && len(n.cfg.Cluster.Peers) > 0 {
		c.Forward = func(ctx context.Context, to id.NodeID, question []byte) ([]byte, error) {
			return n.links.Call(ctx, to, kindForward, question)
		}
	}
	n.handler = api.New(c)
	var err error
	n.server, err = server.New(server.Config{
		MaxConnections: n.cfg.Limits.Connections, MaxFrameBytes: n.cfg.Limits.FrameBytes,
		MaxInflightBytes: n.cfg.Limits.InflightBytes, IdleTimeout: n.cfg.IdleTimeout(), Stages: n.stages,
	}, n.handler)
	return err
}

// maxMessageBytes is the largest batch that fits behind a full WAL batch: its own headers beside it.
func (n *Node) maxMessageBytes() int64 {
	return min(int64(n.cfg.Limits.FrameBytes), 2*int64(n.cfg.WAL.BatchBytes))
}

// writable refuses writes while the disk is full and the WAL nearly so.
func (n *Node) writable() error {
	if n.full.Load() {
		if used, usable := n.wal.Usage(); used*10 > usable*9 {
			return errors.New("the broker's disk is full")
		}
	}
	return nil
}

// joinTimeout bounds how long a node without peers may take to know itself.
const joinTimeout = 30 * time.Second

// join opens the metadata group, founds or finds the cluster in it, and opens this node's partitions. A node with peers does
// that in the background, since it may have to wait for them: clients can ask meanwhile, and hear what it knows.
func (n *Node) join() error {
	n.engine.Start(ms(n.cfg.Cluster.TickMs))
	if n.links == nil {
		close(n.formed)
		if err := n.openMeta(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), joinTimeout)
		defer cancel()
		return n.enter(ctx)
	}
	formed := n.dir.Cluster != ""
	if formed {
		close(n.formed)
		if err := n.openMeta(); err != nil {
			return err
		}
	}
	n.links.Start(n.raftLn)
	n.loops.Add(1)
	go func() {
		defer n.loops.Done()
		ctx, cancel := n.running()
		defer cancel()
		if err := n.joinPeers(ctx, formed); err != nil && ctx.Err() == nil {
			n.end(err, "this node cannot join its cluster")
		}
	}()
	return nil
}

// joinPeers is join's part that takes as long as the peers do.
func (n *Node) joinPeers(ctx context.Context, formed bool) error {
	if !formed {
		if err := n.form(ctx); err != nil {
			return err
		}
		close(n.formed)
		if err := n.openMeta(); err != nil {
			return err
		}
	}
	return n.enter(ctx)
}

// enter makes the node known to the cluster and waits for its partitions.
func (n *Node) enter(ctx context.Context) error {
	if err := n.enrol(ctx); err != nil {
		return err
	}
	n.settled.Store(true)
	for _, t := range n.meta.Catalog().Topics() { // those that had to wait for it
		for i := range t.Partitions {
			n.events.Add(t.Partitions[i].Group)
		}
	}
	n.lookAgain()
	for _, t := range n.meta.Catalog().Topics() {
		if err := n.AwaitOpen(ctx, t); err != nil {
			return err
		}
	}
	n.ready.Store(true)
	return nil
}

func (n *Node) openMeta() error {
	var conf membership.ConfState
	if len(n.replay.Meta) > 0 {
		var err error
		if conf, err = n.meta.recover(n.replay.Meta); err != nil {
			return err
		}
	}
	st := n.groupState(id.MetadataGroup, conf, 0)
	n.meta.lastTerm, n.meta.newest.Term = st.FlushedTerm, st.FlushedTerm
	founders := n.founders()
	self := replicaOn(founders, n.dir.Node)
	if n.dir.Joined != nil {
		self = n.dir.Joined.Replica
	}
	c := n.groupConfig(id.MetadataGroup, self, replicaIDs(founders))
	c.Host = reassign.Watch{Look: n.lookAgain}
	c.Applier, c.Observer, c.Snapshots, c.Reader = n.meta, n.meta, n.meta, n.meta
	group, err := n.engine.Add(engine.Spec{
		Config: c, State: st, Replicas: replicas(founders), Store: n.meta.store, Forwards: true,
		Join: func(g *replica.Group) { n.meta.group.Store(g) },
	})
	if err != nil {
		return err
	}
	if len(founders) == 1 || st.Hard.Term == 0 && founders[0].Node == n.dir.Node {
		group.Campaign()
	}
	n.events.Add(id.MetadataGroup) // others than the founders may be part of it by now
	n.engine.Drive()
	return nil
}

// fail ends the node: nothing is acknowledged any more, and the process is to exit.
func (n *Node) fail(err error) { n.end(err, "what is on the disk is unknown") }

func (n *Node) end(err error, why string) {
	if n.failure.CompareAndSwap(nil, &err) {
		n.log.Error("the node ends: "+why, "err", err)
		close(n.ended)
	}
}

// Ended is closed when a failure has ended the node.
func (n *Node) Ended() <-chan struct{} { return n.ended }

// Err returns what ended the node, if anything did.
func (n *Node) Err() error {
	if e := n.failure.Load(); e != nil {
		return *e
	}
	return nil
}

// ListenAddr is the address that is listened on, with the port that was taken.
func (n *Node) ListenAddr() string { return n.ln.Addr().String() }

// AdvertiseAddr is the address that clients are told.
func (n *Node) AdvertiseAddr() string {
	if a := n.cfg.Node.AdvertiseAddr; a != "" {
		return a
	}
	return n.ListenAddr()
}

// SyncMethod is how the WAL makes writes durable.
func (n *Node) SyncMethod() syncmethod.Method { return n.method }

// Ready tells whether the node does what clients ask, and if not, why.
func (n *Node) Ready() (bool, string) {
	switch {
	case n.failure.Load() != nil:
		return false, n.Err().Error()
	case !n.ready.Load():
		if why := n.leaderless(); why != "" {
			return false, "starting: " + why
		}
		return false, "starting"
	}
	if why := n.leaderless(); why != "" {
		return false, why
	}
	if err := n.writable(); err != nil {
		return false, err.Error()
	}
	for _, r := range n.hosts.All() {
		if err := r.Group.Err(); err != nil {
			return false, err.Error()
		}
		if b := r.Part.Bounds(); b.Leader == 0 && !b.Leading && !r.Going.Load() {
			return false, fmt.Sprintf("group %d has no leader", r.ID)
		}
	}
	return true, ""
}

// Close stops the node in order: no new connections, what it leads is handed over, no new requests, the old ones answered, everything applied
// moved to segments, the WAL marked clean. ctx bounds how long clients are waited for.
func (n *Node) Close(ctx context.Context) error {
	n.ready.Store(false)
	n.server.StopAccepting()
	if n.links != nil && n.failure.Load() == nil {
		n.handOver(ctx)
	}
	n.handler.Close()
	errs := []error{n.server.Shutdown(ctx)}
	if n.failure.Load() == nil {
		errs = append(errs, n.Checkpoint(ctx))
	}
	close(n.stopping)
	n.closeHTTP()
	n.loops.Wait()
	n.closeGroups()
	errs = append(errs, n.wal.Close())
	for _, r := range n.hosts.All() {
		errs = append(errs, r.Part.Close())
	}
	return errors.Join(append(errs, n.dir.Close())...)
}
