package partition_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"ackline/broker/id"
	"ackline/broker/partition"
	"ackline/broker/partition/waiter"
	"ackline/broker/seglog"
	"ackline/broker/vfs"
)

// created is the configuration of a group before it was changed.
var created = []byte("created")

// configure proposes another configuration.
func (f *fixture) configure() {
	i := id.Index(len(f.g.log) + 1)
	f.g.log = append(f.g.log, partition.Entry{Index: i, Term: f.g.term, Type: 2, Data: fmt.Appendf(nil, "configuration of %d", i)})
}

// confOf is the configuration as of an index.
func (f *fixture) confOf(i id.Index) []byte {
	for ; i > 0; i-- {
		if e := f.g.log[i-1]; e.Type != 0 {
			return e.Data
		}
	}
	return created
}

func (f *fixture) last() id.Index { return id.Index(len(f.g.log)) }

func (f *fixture) checkpoint() (payload []byte) {
	f.t.Helper()
	_, _, payload, err := f.p.Checkpoint()
	must(f.t, err)
	return payload
}

// follower is a replica that has nothing but the log of another, and has applied it up to an index.
func (f *fixture) follower(fs vfs.FS, upTo id.Index) *fixture {
	r := &fixture{t: f.t, g: &fakeGroup{log: slices.Clone(f.g.log), term: f.g.term}}
	r.openOn(fs, nil, nil, 0)
	if upTo > 0 {
		r.g.commit(f.t, upTo)
	}
	return r
}

// openOn opens a partition from what a WAL would have: the newest checkpoint or snapshot, the entries behind it, and that they
// are committed up to an index.
func (f *fixture) openOn(fs vfs.FS, payload []byte, behind []partition.Entry, commit id.Index) {
	f.t.Helper()
	f.p = partition.New(partition.Config{Deliver: f.deliver, Now: func() int64 { return 1 }})
	if payload != nil {
		must(f.t, f.p.RecoverCheckpoint(payload))
	}
	must(f.t, f.p.Recover(behind))
	must(f.t, f.p.RecoverCommit(commit))
	at, conf, applied := f.p.Recovered()
	log, err := seglog.Open(seglog.Options{FS: fs, Dir: "/g", Group: 5}, at)
	must(f.t, err)
	must(f.t, f.p.Open(log))
	f.log, f.g.p, f.g.configured = log, f.p, applied
	f.p.Join(f.g)
	if conf == nil {
		conf = created
	}
	f.p.Configured(applied, conf)
}

// snapshot returns the partition's snapshot, and fails without one.
func (f *fixture) snapshot() partition.Start {
	f.t.Helper()
	f.g.Lock()
	defer f.g.Unlock()
	s, ok := f.p.SnapshotLocked()
	if !ok {
		f.t.Fatal("there is no snapshot")
	}
	return s
}

func (f *fixture) restore(s partition.Start) {
	f.t.Helper()
	f.g.Lock()
	err := f.p.RestoreLocked(s.Index, s.Term, s.Conf, s.Payload)
	f.g.configured, f.g.compacted = s.Index, s.Index
	f.g.Unlock()
	must(f.t, err)
}

// aged is a leader with a long log of short segments and many configurations, whose oldest segments are gone.
func aged(t *testing.T, seed uint64) *fixture {
	r := rand.New(rand.NewPCG(seed, 9))
	f := newFixture(t, 600)
	f.g.Lock()
	f.p.Configured(0, created)
	f.g.Unlock()
	seq := int32(0)
	for i := range 120 {
		switch n := 1 + r.IntN(4); {
		case r.IntN(6) == 0:
			f.configure()
		default:
			f.mustProduce(0, n, producer(5, 0, seq), stamped(int64(1000+i)))
			seq += int32(n)
		}
		switch r.IntN(12) {
		case 0:
			f.checkpoint()
			fallthrough
		case 1, 2:
			f.commitAll()
		}
	}
	f.commitAll()
	f.checkpoint()
	if s, ok := f.p.SnapshotLocked(); ok {
		t.Fatalf("a log with all its entries has a snapshot at %d", s.Index)
	}
	f.age(f.log.Segments()[3].Base)
	return f
}

// age moves the log start and drops what is below.
func (f *fixture) age(start id.Offset) {
	f.t.Helper()
	must(f.t, f.p.AdvanceLogStart(start))
	f.commitAll()
	f.checkpoint()
	if got := f.p.Segments()[0].Base; got != start {
		f.t.Fatalf("the segments begin at offset %d, want %d", got, start)
	}
}

// state returns the partition's state in a payload, with the log start that a replica has that begins there.
func state(t *testing.T, payload []byte) []byte {
	t.Helper()
	at := 1 + seglog.CheckpointSize
	at += 4 + int(binary.LittleEndian.Uint32(payload[at:]))
	b := slices.Clone(payload[at:])
	copy(b[25:33], b[17:25])
	return b
}

// TestSnapshotIsTheStateWhereTheLogBegins, which is that of a replica that has applied as much and no more; and the
// configuration is that of this index too, although the group had applied more before the partition stored it.
func TestSnapshotIsTheStateWhereTheLogBegins(t *testing.T) {
	for seed := range uint64(20) {
		f := aged(t, seed)
		s := f.snapshot()
		first := f.p.Segments()[0]
		prefix := f.follower(vfs.NewMem(), s.Index)
		at, conf, base, err := partition.DecodePayload(s.Payload)
		must(t, err)
		if s.Index != first.First-1 || base.Index != s.Index || base.Term != s.Term || f.g.log[s.Index-1].Term != s.Term ||
			base.Next != first.Base || base.LogStart != first.Base || at != seglog.EmptyAt(first.First, first.Base, s.Term) {
			t.Fatalf("seed %d: a snapshot at %d of term %d with %+v, segments at %+v; the log begins with %+v", seed, s.Index, s.Term, base, at, first)
		}
		if want := f.confOf(s.Index); !bytes.Equal(s.Conf, want) || !bytes.Equal(conf, want) {
			t.Fatalf("seed %d: configuration %q, in the payload %q; want %q", seed, s.Conf, conf, want)
		}
		if got, want := state(t, s.Payload), state(t, prefix.checkpoint()); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: the state at %d is\n%x, that of a replica that has applied this much is\n%x", seed, s.Index, got, want)
		}
	}
}

// TestSnapshotSurvivesARestart, the segments that the checkpoint does not have included: they are cut again from the WAL,
// before raft has said what the configuration is.
func TestSnapshotSurvivesARestart(t *testing.T) {
	for seed := range uint64(20) {
		f := aged(t, seed)
		payload := f.checkpoint()
		if payload == nil { // aged took one
			f.mustProduce(0, 1)
			f.commitAll()
			payload = f.checkpoint()
		}
		flushed := f.last()
		for i := range 40 {
			if i%7 == 0 {
				f.configure()
			}
			f.mustProduce(i, 3)
		}
		f.commitAll()
		again := &fixture{t: t, segmentBytes: 600, g: &fakeGroup{log: f.g.log, term: f.g.term}}
		again.openOn(f.fs.CrashClone(seed), payload, f.g.log[flushed:], f.last())
		if got, want := again.snapshot(), f.snapshot(); got.Index != want.Index || !bytes.Equal(got.Payload, want.Payload) {
			t.Fatalf("seed %d: after a restart the snapshot is at %d, before at %d; or they differ", seed, got.Index, want.Index)
		}
		// Raft goes over what it has to apply again. Until then no configuration is known for what would be flushed.
		if i, _, _, err := again.p.Checkpoint(); err != nil || i != 0 {
			t.Fatalf("seed %d: a checkpoint at %d, %v, while raft has not applied a configuration change again", seed, i, err)
		}
		again.commitAll()
		again.g.lead(again.last())
		again.commitAll()
		again.checkpoint()
		f.checkpoint()
		start := f.p.Segments()[8].Base
		again.age(start)
		f.age(start)
		got, want := again.snapshot(), f.snapshot()
		if wantConf := f.confOf(want.Index); got.Index != want.Index || !bytes.Equal(got.Payload, want.Payload) || !bytes.Equal(got.Conf, wantConf) {
			t.Fatalf("seed %d: a snapshot at %d with configuration %q, the other's is at %d with %q; or they differ; want %q",
				seed, got.Index, got.Conf, want.Index, want.Conf, wantConf)
		}
	}
}

// same compares two partitions that lead: what is read, where segments begin, what snapshot they have.
func same(t *testing.T, got, want *fixture, what string) {
	t.Helper()
	start := got.p.Bounds().Start
	must(t, want.p.AdvanceLogStart(start)) // nothing unless it is later
	if g, w := readAll(t, got.p, 1000), readAll(t, want.p, 1000); !bytes.HasSuffix(w, g) || got.p.Bounds().High != want.p.Bounds().High || len(g) == 0 {
		t.Fatalf("%s: reads %d bytes in %+v, the leader %d in %+v", what, len(g), got.p.Bounds(), len(w), want.p.Bounds())
	}
	gs, ws := got.p.Segments(), want.p.Segments()
	for len(ws) > 0 && ws[0].First < gs[0].First {
		ws = ws[1:]
	}
	if !slices.Equal(gs, ws) {
		t.Fatalf("%s: segments %+v, the leader has %+v", what, gs, ws)
	}
}

// TestRestore: whatever a replica was, with a snapshot and the entries behind it it is what the leader is, and can hand the
// same snapshot on, whether it has segments already or not, now and after a restart.
func TestRestore(t *testing.T) {
	for seed := range uint64(10) {
		leader := aged(t, seed)
		s := leader.snapshot()
		disk := vfs.NewMem()
		f := leader.follower(disk, s.Index/2)
		if seed%2 == 0 {
			f.checkpoint()
			f.g.commit(t, s.Index*3/4)
		}
		f.restore(s)
		want(t, f.acked())
		if b := f.p.Bounds(); b.Start != b.High || b.Start != leader.p.Segments()[0].Base || b.Leading {
			t.Fatalf("seed %d: bounds %+v after a snapshot that ends at %d", seed, b, leader.p.Segments()[0].Base)
		}
		for stage := range 4 {
			if got := f.snapshot(); got.Index != s.Index || !bytes.Equal(got.Payload, s.Payload) || !bytes.Equal(got.Conf, s.Conf) {
				t.Fatalf("seed %d, stage %d: it hands on another snapshot, at %d, than that at %d", seed, stage, got.Index, s.Index)
			}
			if h := f.p.History(); h.FirstIndex() != s.Index+1 {
				t.Fatalf("seed %d, stage %d: the history begins at %d", seed, stage, h.FirstIndex())
			} else if term, err := h.Term(s.Index); err != nil || term != s.Term {
				t.Fatalf("seed %d, stage %d: the snapshot's term is %d, %v", seed, stage, term, err)
			}
			switch stage {
			case 0: // the old segments go
				must(t, flushed(f.p))
			case 1:
				f.g.commit(t, f.last()-3)
				f.checkpoint()
			case 2:
				f.commitAll()
				payload := f.checkpoint()
				f.openOn(disk.CrashClone(seed), payload, nil, f.last())
			}
		}
		f.g.lead(f.last())
		f.commitAll()
		leader.g.log = f.g.log // the no-op
		leader.commitAll()
		leader.checkpoint()
		f.checkpoint()
		same(t, f, leader, fmt.Sprint("seed ", seed))
		if _, _, err := f.p.Read(nil, f.p.Bounds().Start-1, 1000, false, partition.Leader); !errors.Is(err, partition.ErrOffsetOutOfRange) {
			t.Fatalf("seed %d: a read below the log start: %v", seed, err)
		}
		o, ms, ok, err := f.p.MaxTimestamp()
		if o2, ms2, ok2, err2 := leader.p.MaxTimestamp(); o != o2 || ms != ms2 || ok != ok2 || err != nil || err2 != nil {
			t.Fatalf("seed %d: greatest timestamp %d at %d, %v, %v; the leader has %d at %d, %v", seed, ms, o, ok, err, ms2, o2, err2)
		}
	}
}

func flushed(p *partition.Partition) error {
	_, err := p.Flush()
	return err
}

// TestRestoreRemembersProducers: a batch that is repeated is found out, though nothing of it is in the log.
func TestRestoreRemembersProducers(t *testing.T) {
	leader := aged(t, 1)
	s := leader.snapshot()
	f := leader.follower(vfs.NewMem(), 0)
	f.g.log = f.g.log[:s.Index]
	f.restore(s)
	f.g.lead(s.Index)
	f.commitAll()
	next := int32(leader.p.Segments()[0].Base) // one producer has written everything
	if err := f.produce(0, 1, producer(5, 0, next+1)); !errors.Is(err, partition.ErrOutOfOrder) {
		t.Fatalf("a gap behind the snapshot: %v", err)
	}
	f.mustProduce(1, 1, producer(5, 0, next))
	f.commitAll()
	want(t, f.acked(), fmt.Sprintf("1@%d", next))
}

// TestRestoreFailsWhoWaits: whether what they wait for is in the snapshot, nobody can tell any more.
func TestRestoreFailsWhoWaits(t *testing.T) {
	leader := aged(t, 2)
	s := leader.snapshot()
	f := newFixture(t, 0)
	f.mustProduce(1, 2)
	f.mustProduce(2, 2, producer(8, 0, 0))
	f.mustProduce(3, 2, producer(8, 0, 0)) // waits for the one before
	w := waiter.New()
	if !f.p.Await(w, 0, partition.Leader) {
		t.Fatal("there is something to read")
	}
	f.restore(s)
	want(t, f.acked(), "1!true", "2!true", "3!true")
	select {
	case <-w.C:
	default:
		t.Fatal("the reader sleeps on")
	}
}

func TestRestoreRefusesWhatIsNotASnapshot(t *testing.T) {
	leader := aged(t, 3)
	s := leader.snapshot()
	leader.mustProduce(0, 1)
	leader.commitAll()
	for what, c := range map[string]partition.Start{
		"another index":  {s.Index + 1, s.Term, s.Conf, s.Payload},
		"another term":   {s.Index, s.Term + 1, s.Conf, s.Payload},
		"a checkpoint":   {leader.last(), s.Term, s.Conf, leader.checkpoint()},
		"cut":            {s.Index, s.Term, s.Conf, s.Payload[:len(s.Payload)-1]},
		"nothing":        {s.Index, s.Term, s.Conf, nil},
		"what is passed": s,
	} {
		f := leader.follower(vfs.NewMem(), 5)
		if what == "what is passed" {
			f.g.commit(t, s.Index)
		}
		before := f.p.Bounds()
		f.g.Lock()
		err := f.p.RestoreLocked(c.Index, c.Term, c.Conf, c.Payload)
		f.g.Unlock()
		if err == nil || f.p.Bounds() != before {
			t.Errorf("%s: %v, bounds %+v and before %+v", what, err, f.p.Bounds(), before)
		}
	}
}

// TestNoSnapshotWithoutAConfiguration: segments that an older release began do not have one.
func TestNoSnapshotWithoutAConfiguration(t *testing.T) {
	f := newFixture(t, 600)
	for i := range 20 {
		f.mustProduce(i, 3)
	}
	f.commitAll()
	f.checkpoint()
	f.age(f.log.Segments()[1].Base)
	f.g.Lock()
	defer f.g.Unlock()
	if s, ok := f.p.SnapshotLocked(); ok {
		t.Fatalf("a snapshot at %d with the configuration %q", s.Index, s.Conf)
	}
}
