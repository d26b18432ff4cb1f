package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/meta"
	"ackline/broker/meta/barrier"
	"ackline/broker/meta/petition"
	"ackline/broker/node/datadir"
	"ackline/broker/node/hosting"
	"ackline/broker/node/metasnap"
	"ackline/broker/node/replay"
	"ackline/broker/node/worklist"
	"ackline/broker/partition"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
	"ackline/broker/replica/raftlog"
	"ackline/broker/seglog"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/broker/wal"
)

// rig is one node's storage, opened as the node opens it, with groups that the test steps.
type rig struct {
	t      *testing.T
	fs     vfs.FS
	node   *Node
	events *events

	part  *partition.Partition
	meta  *metaGroup
	group *replica.Group
}

const (
	rigGroup  id.GroupID   = 7
	rigLeader id.ReplicaID = 1 // the only voter
)

func openRig(t *testing.T, fs vfs.FS) (*rig, error) {
	r := &rig{t: t, fs: fs, events: &events{worklist.New[id.GroupID](), func() {}}}
	n := &Node{fs: fs, dir: &datadir.Dir{FS: fs, Path: "/d"}}
	r.node = n
	n.replay = replay.New(func(id.GroupID) *partition.Partition {
		return partition.New(partition.Config{Deliver: func(*partition.Ack) {}, Now: func() int64 { return 1 }})
	})
	for _, dir := range []string{n.dir.File(datadir.MetaName), n.dir.File(datadir.GroupsName)} {
		if err := vfs.MkdirAllDurable(fs, dir); err != nil {
			return nil, err
		}
	}
	var err error
	n.wal, _, err = wal.Open(wal.Options{FS: fs, Path: "/d/ring", RingBytes: 2 << 20, BatchBytes: 32 << 10,
		Method: syncmethod.All()[0], Inline: true, Fatal: func(error) {}}, n.replay)
	return r, err
}

func mustOpenRig(t *testing.T, fs vfs.FS) *rig {
	t.Helper()
	r, err := openRig(t, fs)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Send and SendSnapshot make the rig a replica.Sender to nobody.
func (r *rig) Send(id.GroupID, []pb.Message)                              {}
func (r *rig) SendSnapshot(id.GroupID, pb.Message, replica.Snapshot) bool { return false }

func (r *rig) config(g id.GroupID, self id.ReplicaID) replica.Config {
	return replica.Config{Group: g, Replica: self, Voters: []id.ReplicaID{rigLeader}, WAL: r.node.wal, Sender: r,
		Budget: raftlog.NewBudget(1 << 20), Now: func() int64 { return 1 }}
}

func (r *rig) start(c replica.Config, st replica.State) {
	r.t.Helper()
	var err error
	if r.group, err = replica.NewGroup(c, st); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) lead() {
	r.group.Campaign()
	r.node.wal.Drive()
}

// openPart opens the rig's partition as openGroup does.
func (r *rig) openPart(self id.ReplicaID) *rig {
	r.t.Helper()
	part := r.node.replay.Part(rigGroup)
	at, conf, applied := part.Recovered()
	log, err := seglog.Open(seglog.Options{FS: r.fs, Dir: r.node.dir.Group(rigGroup), Group: rigGroup}, at)
	if err == nil {
		err = part.Open(log)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	host := &hosting.Watch{Part: part, Look: func() {}}
	c := r.config(rigGroup, self)
	c.Applier, c.Observer, c.History, c.Snapshots, c.Host = part, part, part.History(), hosting.Snapshots{Part: part}, host
	r.start(c, r.node.groupState(rigGroup, conf, applied))
	host.Join(r.group)
	r.part = part
	return r
}

func (r *rig) checkpointPart() {
	r.t.Helper()
	index, term, payload, err := r.part.Checkpoint()
	if err != nil {
		r.t.Fatal(err)
	}
	if index != 0 {
		r.group.Checkpoint(index, term, payload)
		r.node.wal.Drive()
	}
}

// produce appends n batches, in segments of about three.
func (r *rig) produce(n int) {
	r.t.Helper()
	for range n {
		b := make([]byte, 200)
		b[16] = 2
		for i := range 8 { // no producer
			b[43+i] = 0xFF
		}
		if err := r.part.Append(b, kwire.PeekBatch(b), 700, nil); err != nil {
			r.t.Fatal(err)
		}
	}
	r.node.wal.Drive()
}

func (r *rig) learner(replica id.ReplicaID) {
	r.t.Helper()
	if _, _, err := r.group.Change(membership.Change{Replica: replica, To: membership.Learner}); err != nil {
		r.t.Fatal(err)
	}
	r.node.wal.Drive()
}

// snapshot is what the rig's leader would send.
func (r *rig) snapshot(from replica.Snapshotter) replica.Snapshot {
	r.t.Helper()
	r.group.Lock()
	defer r.group.Unlock()
	s, ok := from.Snapshot()
	if !ok {
		r.t.Fatal("there is no snapshot")
	}
	return s
}

// send makes a follower take a snapshot, as far as its disk lets it.
func (r *rig) send(s replica.Snapshot, term id.Term, payload []byte) error {
	r.t.Helper()
	conf, err := s.Conf.Decode(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	c := r.group.Status()
	err = r.group.Step(pb.Message{Type: pb.MsgSnap, From: uint64(rigLeader), To: 2, Term: uint64(term), Snapshot: &pb.Snapshot{
		Data: payload, Metadata: pb.SnapshotMetadata{Index: uint64(s.Index), Term: uint64(s.Term), ConfState: conf}}})
	r.node.wal.Drive()
	if now := r.group.Status(); err == nil && now.Applied != s.Index && c.Applied < s.Index {
		return fmt.Errorf("the snapshot at %d is not restored: %+v", s.Index, now)
	}
	return err
}

// agedPart is a leader whose oldest segments are gone, and which has learners: 3 since before its start, 4 since later.
func agedPart(t *testing.T) *rig {
	l := mustOpenRig(t, vfs.NewMem()).openPart(rigLeader)
	l.lead()
	l.produce(10)
	l.learner(3)
	l.produce(20)
	l.checkpointPart()
	start := l.part.Segments()[5].Base
	if err := l.part.AdvanceLogStart(start); err != nil {
		t.Fatal(err)
	}
	l.produce(5)
	l.checkpointPart()
	l.learner(4)
	l.produce(5)
	l.checkpointPart()
	if got := l.part.Segments()[0].Base; got != start {
		t.Fatalf("the log begins at offset %d, want %d", got, start)
	}
	return l
}

// TestPartitionIsCaughtUpByASnapshot, with the real group, WAL and segments: the snapshot's configuration is the one of its
// index, the follower's history begins behind it, and it does so after a crash.
func TestPartitionIsCaughtUpByASnapshot(t *testing.T) {
	l := agedPart(t)
	s, status := l.snapshot(hosting.Snapshots{Part: l.part}), l.group.Status()
	ms, err := s.Conf.Members()
	if err != nil || !reflect.DeepEqual(ms.Learners, []id.ReplicaID{3}) || s.Open != nil {
		t.Fatalf("members %+v, %v; want the learner that there was at the log's start", ms, err)
	}
	disk := vfs.NewMem()
	f := mustOpenRig(t, disk).openPart(2)
	if err := f.send(s, status.Term, s.Payload); err != nil {
		t.Fatal(err)
	}
	recovered := mustOpenRig(t, disk.CrashClone(1)).openPart(2) // before anything else is there
	all, err := l.part.History().Entries(s.Index+1, status.Last+1, 1<<20)
	if err != nil || len(all) != int(status.Last-s.Index) {
		t.Fatalf("%d entries, %v", len(all), err)
	}
	for what, f := range map[string]*rig{"at once": f, "after a crash": recovered} {
		app := pb.Message{Type: pb.MsgApp, From: uint64(rigLeader), To: 2, Term: uint64(status.Term), Index: uint64(s.Index),
			LogTerm: uint64(s.Term), Commit: uint64(status.Commit)}
		for _, e := range all {
			app.Entries = append(app.Entries, pb.Entry{Index: uint64(e.Index), Term: uint64(e.Term), Type: pb.EntryType(e.Type), Data: e.Data})
		}
		if err := f.group.Step(app); err != nil {
			t.Fatal(what, err)
		}
		f.node.wal.Drive()
		f.checkpointPart()
		got, err := f.part.History().Entries(s.Index+1, status.Last+1, 1<<20)
		if err != nil || !reflect.DeepEqual(got, all) {
			t.Fatalf("%s: %d entries, %v; the leader has %d", what, len(got), err, len(all))
		}
		if again := f.snapshot(hosting.Snapshots{Part: f.part}); !bytes.Equal(again.Payload, s.Payload) || again.Index != s.Index {
			t.Fatalf("%s: it hands on a snapshot at %d, it was given one at %d", what, again.Index, s.Index)
		}
		if lb, fb := l.part.Bounds(), f.part.Bounds(); fb.Start != lb.Start || fb.High != lb.High {
			t.Fatalf("%s: bounds %+v, the leader has %+v", what, fb, lb)
		}
	}
	// The newest record is a checkpoint now.
	again := mustOpenRig(t, disk.CrashClone(2)).openPart(2)
	got, err := again.part.History().Entries(s.Index+1, status.Last+1, 1<<20)
	if err != nil || !reflect.DeepEqual(got, all) {
		t.Fatalf("after a restart: %d entries, %v; the leader has %d", len(got), err, len(all))
	}
}

// TestReplayForgetsAnotherReplica: a group that comes back to a node under a new id has nothing of what the old one left.
func TestReplayForgetsAnotherReplica(t *testing.T) {
	l := agedPart(t)
	disk := l.fs.(*vfs.Mem).CrashClone(1)
	r := mustOpenRig(t, disk)
	before := r.node.replay.Part(rigGroup)
	if at, _, applied := before.Recovered(); at.Next == 0 || applied == 0 {
		t.Fatal("the rig has recovered nothing")
	}
	if err := r.node.replay.HardState(rigGroup, 9, wal.HardState{Term: 1}); err != nil {
		t.Fatal(err)
	}
	if at, _, applied := r.node.replay.Part(rigGroup).Recovered(); at.Next != 0 || applied != 0 {
		t.Fatalf("replica 9 begins at %+v, with %d applied", at, applied)
	}
	for _, step := range []struct {
		self id.ReplicaID
		want string
	}{{1, "one"}, {1, "two"}, {2, ""}} {
		var err error
		switch step.want {
		case "":
			err = r.node.replay.HardState(id.MetadataGroup, step.self, wal.HardState{Term: 1})
		case "one":
			err = r.node.replay.Checkpoint(id.MetadataGroup, step.self, 1, 1, wal.HardState{}, []byte("one"))
		default:
			err = r.node.replay.Snapshot(id.MetadataGroup, step.self, 1, 1, []byte("two"))
		}
		if err != nil || string(r.node.replay.Meta) != step.want {
			t.Fatalf("the metadata's payload is %q, %v; want %q", r.node.replay.Meta, err, step.want)
		}
	}
}

// openMetadata opens the rig's metadata group as openMeta does.
func (r *rig) openMetadata(self id.ReplicaID) (*rig, error) {
	m := &metaGroup{machine: meta.New(r.events), files: metasnap.New(r.fs, r.node.dir.File(datadir.MetaName)), look: func() {}, dirty: func() {}, Barrier: barrier.New(barrier.Config{})}
	m.Desk = petition.New(1, 1, func(data []byte) error {
		r.group.Lock()
		_, _, err := r.group.ProposeLocked(data)
		r.group.Unlock()
		r.node.wal.Drive()
		return err
	})
	var conf membership.ConfState
	if b := r.node.replay.Meta; len(b) > 0 {
		var err error
		if conf, err = m.recover(b); err != nil {
			return nil, err
		}
	}
	st := r.node.groupState(id.MetadataGroup, conf, 0)
	m.lastTerm, m.newest.Term = st.FlushedTerm, st.FlushedTerm
	c := r.config(id.MetadataGroup, self)
	c.Applier, c.Observer, c.Snapshots = m, m, m
	r.start(c, st)
	m.group.Store(r.group)
	r.meta = m
	return r, nil
}

func mustOpenMetadata(t *testing.T, fs vfs.FS, self id.ReplicaID) *rig {
	t.Helper()
	r, err := mustOpenRig(t, fs).openMetadata(self)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) command(c meta.Command) {
	r.t.Helper()
	if result, err := r.meta.Propose(r.t.Context(), c); err != nil || result.Refused != nil {
		r.t.Fatal(err, result.Refused)
	}
}

func (r *rig) checkpointMeta() {
	r.t.Helper()
	if _, err := r.meta.checkpoint(); err != nil {
		r.t.Fatal(err)
	}
	r.node.wal.Drive()
}

func (r *rig) image() []byte {
	r.t.Helper()
	var b bytes.Buffer
	if err := r.meta.machine.Snapshot(&b); err != nil {
		r.t.Fatal(err)
	}
	return b.Bytes()
}

// foundedMeta is a leader of the metadata group with a node and topics, and a snapshot of them.
func foundedMeta(t *testing.T) *rig {
	l := mustOpenMetadata(t, vfs.NewMem(), rigLeader)
	l.lead()
	l.command(meta.Bootstrap{Level: meta.MaxFeatureLevel, ClusterID: "c", Replicas: []meta.Replica{{Node: 1, ID: rigLeader}}})
	l.command(meta.RegisterNode{Node: meta.Node{ID: 1, Incarnation: 5, KafkaAddr: "a:1", RaftAddr: "a:1"}})
	l.checkpointMeta()
	return l
}

func (r *rig) files() []string {
	r.t.Helper()
	names, err := r.fs.List(r.node.dir.File(datadir.MetaName))
	if err != nil {
		r.t.Fatal(err)
	}
	return names
}

func stream(t *testing.T, s replica.Snapshot) []byte {
	t.Helper()
	rc, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(rc)
	if err = errors.Join(err, rc.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestMetadataIsCaughtUpByASnapshot: the file is streamed, stored, recorded, restored; the reconciler hears of what is new, and
// the command of someone who waits is sent again, for it may have been lost.
func TestMetadataIsCaughtUpByASnapshot(t *testing.T) {
	l := foundedMeta(t)
	s := l.snapshot(l.meta)
	f := mustOpenMetadata(t, vfs.NewMem(), 2)
	sent := make(chan struct{}, 100)
	f.meta.Desk = petition.New(2, 1, func([]byte) error { sent <- struct{}{}; return nil })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go f.meta.Propose(ctx, meta.IssueProducerIDs{Count: 1})
	<-sent
	payload, err := f.meta.store(s, bytes.NewReader(stream(t, s)))
	if err == nil {
		err = f.send(s, l.group.Status().Term, payload)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.image(), l.image()) {
		t.Fatal("the state is not the leader's")
	}
	<-sent
	if again := f.snapshot(f.meta); again.Index != s.Index || again.Term != s.Term || !bytes.Equal(again.Conf, s.Conf) || !bytes.Equal(stream(t, again), stream(t, s)) {
		t.Fatalf("it hands on a snapshot at %d of term %d, it was given one at %d of %d", again.Index, again.Term, s.Index, s.Term)
	}
	if done, err := f.meta.checkpoint(); done != nil || err != nil {
		t.Fatalf("a checkpoint of what the snapshot has: %v", err)
	}
}

// TestMetadataSnapshotIsRefusedBeforeItIsRecorded when it could not be restored.
func TestMetadataSnapshotIsRefusedBeforeItIsRecorded(t *testing.T) {
	l := foundedMeta(t)
	s := l.snapshot(l.meta)
	b := stream(t, s)
	f := mustOpenMetadata(t, vfs.NewMem(), 2)
	damaged := bytes.Clone(b)
	damaged[len(b)/2] ^= 1
	older := s
	older.Index--
	for what, c := range map[string]struct {
		at replica.Snapshot
		b  []byte
	}{"damaged": {s, damaged}, "cut": {s, b[:len(b)-1]}, "of another index": {older, b}} {
		if _, err := f.meta.store(c.at, bytes.NewReader(c.b)); err == nil {
			t.Errorf("%s: stored", what)
		}
	}
	if names := f.files(); len(names) != 0 {
		t.Errorf("files %q are left", names)
	}
}

// TestMetadataSnapshotCrash cuts the power at every operation from the first byte that is stored to the checkpoint after: what
// the WAL names is there and whole, and what it does not name goes.
func TestMetadataSnapshotCrash(t *testing.T) {
	l := foundedMeta(t)
	s, term := l.snapshot(l.meta), l.group.Status().Term
	b, want := stream(t, s), l.image()
	restored, total := 0, int64(0)
	for cut := int64(-1); cut < total; cut++ {
		disk, cutter := vfs.NewMem(), vfs.NewCutter(-1)
		f := mustOpenMetadata(t, vfs.Inject(disk, func(op vfs.Op) error { return cutter.Hook(op) }), 2)
		cutter = vfs.NewCutter(cut)
		payload, err := f.meta.store(s, bytes.NewReader(b))
		if err == nil {
			_ = f.send(s, term, payload) // with the disk gone it is not restored
		}
		if cut < 0 {
			total = cutter.Seen()
		}
		again := mustOpenMetadata(t, disk.CrashClone(uint64(cut+1)), 2)
		got := again.meta.machine.LastApplied()
		switch {
		case got == s.Index && bytes.Equal(again.image(), want):
			restored++
			if names := again.files(); len(names) != 1 {
				t.Errorf("cut %d: files %q", cut, names)
			}
		case got != 0 || again.group.Status().Last != 0:
			t.Errorf("cut %d: applied %d, %+v", cut, got, again.group.Status())
		case f.group.Status().Applied != 0:
			t.Errorf("cut %d: it was restored, and is gone", cut)
		}
	}
	if restored == 0 || restored == int(total)+1 || total < 4 {
		t.Errorf("of %d crashes %d end with the snapshot", total+1, restored)
	}
}

// TestMetadataKeepsTheSnapshotThatTheWALNames: a newer one may be on disk, and its record not.
func TestMetadataKeepsTheSnapshotThatTheWALNames(t *testing.T) {
	l := foundedMeta(t)
	old := l.files()
	l.command(meta.RegisterNode{Node: meta.Node{ID: 2, RaftAddr: "b:1"}})
	if _, err := l.meta.checkpoint(); err != nil { // without a write of the WAL
		t.Fatal(err)
	}
	named := func() id.Index {
		st, _ := l.node.wal.State(id.MetadataGroup)
		return st.Flushed
	}
	if err := l.meta.files.RemoveOld(named()); err != nil || !slices.Contains(l.files(), old[0]) || len(l.files()) != 2 {
		t.Fatalf("files %q, %v; the WAL names %q", l.files(), err, old)
	}
	l.node.wal.Drive()
	if err := l.meta.files.RemoveOld(named()); err != nil || slices.Contains(l.files(), old[0]) || len(l.files()) != 1 {
		t.Fatalf("files %q, %v; the WAL names another than %q", l.files(), err, old)
	}
}
