package partition_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"ackline/broker/id"
	"ackline/broker/partition"
	"ackline/broker/seglog"
	"ackline/broker/vfs"
)

// cuts flushes everything applied and says where segments begin.
func (f *fixture) cuts() (bases []id.Offset) {
	f.t.Helper()
	_, err := f.p.Flush()
	must(f.t, err)
	for _, s := range f.log.Segments() {
		bases = append(bases, s.Base)
	}
	return bases
}

// commands is how many of the group's entries are commands.
func (f *fixture) commands() (n int) {
	for _, e := range f.g.log {
		if len(e.Data) > 0 && e.Data[0] == 0xFF {
			n++
		}
	}
	return n
}

func (f *fixture) commitAll() { f.g.commit(f.t, id.Index(len(f.g.log))) }

// TestSegmentSizeChangesOnAnOpenPartition: the first batch under another segment.bytes is the first that it decides about, and
// the change costs one entry.
func TestSegmentSizeChangesOnAnOpenPartition(t *testing.T) {
	f := newFixture(t, 0)
	each := int64(len(batch(1)))
	for _, size := range []int64{partition.DefaultSegmentBytes, 4 * each, 4 * each, 1 << 20} {
		f.segmentBytes = size
		for i := range 10 {
			f.mustProduce(i, 1)
		}
	}
	f.commitAll()
	want := []id.Offset{0, 10, 14, 18, 22, 26} // four batches each, until ten more go into the one that is open
	if got := f.cuts(); !slices.Equal(got, want) {
		t.Errorf("segments begin at %v, want %v", got, want)
	}
	if n := f.commands(); n != 2 {
		t.Errorf("%d commands for two changes", n)
	}
}

// TestReplicasCutSegmentsAlike compares a leader, whose topic is configured anew again and again, with a replica that has heard
// of nothing but the log and with one that restarts all the time, from a checkpoint and what the WAL has behind it.
func TestReplicasCutSegmentsAlike(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		leader := newFixture(t, 0)
		follower := &fixture{t: t, fs: vfs.NewMem(), g: &fakeGroup{}}
		follower.open(seglog.Checkpoint{}, nil, 0)
		restless := &fixture{t: t, fs: vfs.NewMem(), g: &fakeGroup{}}
		restless.open(seglog.Checkpoint{}, nil, 0)
		for range 80 {
			if r.IntN(5) == 0 {
				leader.segmentBytes = 200 + r.Int64N(1000)
			}
			leader.mustProduce(0, 1+r.IntN(5))
			if r.IntN(3) != 0 {
				continue
			}
			leader.commitAll()
			restless.g.log = slices.Clone(leader.g.log)
			restless.commitAll()
			if r.IntN(2) == 0 {
				restless = restless.restart(seed)
			}
		}
		leader.commitAll()
		restless.g.log, follower.g.log = leader.g.log, leader.g.log
		restless.commitAll()
		follower.commitAll()
		want := leader.cuts()
		if len(want) < 4 || leader.commands() < 4 {
			t.Fatalf("seed %d: segments at %v and %d changes show nothing", seed, want, leader.commands())
		}
		if got := follower.cuts(); !slices.Equal(got, want) {
			t.Errorf("seed %d: a follower's segments begin at %v, the leader's at %v", seed, got, want)
		}
		if got := restless.cuts(); !slices.Equal(got, want) {
			t.Errorf("seed %d: after restarts segments begin at %v, the leader's at %v", seed, got, want)
		}
	}
}

// restart takes a checkpoint, or does not, and returns the replica that is made of it and of the log behind it.
func (f *fixture) restart(seed uint64) *fixture {
	f.t.Helper()
	index, _, payload, err := f.p.Checkpoint()
	must(f.t, err)
	if index == 0 {
		return f // nothing new since the last one, whose payload is gone
	}
	again := &fixture{t: f.t, fs: f.fs.CrashClone(seed), g: f.g}
	again.open(seglog.Checkpoint{}, payload, 0)
	return again
}

// TestReplayKnowsTheSegmentSize: what the WAL holds is cut as it was, whether the command that says how is behind the checkpoint
// or in it.
func TestReplayKnowsTheSegmentSize(t *testing.T) {
	each := int64(len(batch(1)))
	for _, checkpointed := range []bool{false, true} {
		f := newFixture(t, 3*each)
		f.mustProduce(0, 1)
		f.commitAll()
		var payload []byte
		if checkpointed {
			var err error
			_, _, payload, err = f.p.Checkpoint()
			must(t, err)
		}
		flushed := len(f.g.log)
		for i := range 8 {
			f.mustProduce(i, 1)
		}
		f.commitAll()
		again := &fixture{t: t, fs: f.fs.CrashClone(1), g: f.g}
		again.p = partition.New(partition.Config{Deliver: again.deliver, Now: func() int64 { return 1 }})
		if checkpointed {
			must(t, again.p.RecoverCheckpoint(payload))
			must(t, again.p.Recover(f.g.log[flushed:]))
		} else {
			must(t, again.p.Recover(f.g.log))
		}
		must(t, again.p.RecoverCommit(id.Index(len(f.g.log))))
		at, _, _ := again.p.Recovered()
		log, err := seglog.Open(seglog.Options{FS: again.fs, Dir: "/g", Group: 5}, at)
		must(t, err)
		must(t, again.p.Open(log))
		again.log, again.g.p = log, again.p
		again.p.Join(again.g)
		if got, want := again.cuts(), []id.Offset{0, 3, 6}; !slices.Equal(got, want) {
			t.Errorf("checkpointed %v: segments begin at %v, want %v", checkpointed, got, want)
		}
	}
}

// TestSegmentSizeIsDecidedWithTheLog: like offsets, the size that a leader decided on is void when raft refuses it and stands
// when the next leader finds it in its log.
func TestSegmentSizeIsDecidedWithTheLog(t *testing.T) {
	f := newFixture(t, 600)
	f.g.busy = errors.New("busy")
	if err := f.produce(0, 1); !errors.Is(err, f.g.busy) || f.commands() != 0 {
		t.Fatalf("error %v, %d commands; want raft's and none", err, f.commands())
	}
	f.g.busy = nil
	f.mustProduce(0, 1)
	f.segmentBytes = 700
	f.mustProduce(1, 1)
	if n := f.commands(); n != 2 {
		t.Fatalf("%d commands for two sizes", n)
	}

	// The second one is refused, and the size goes back to the first before that is applied.
	f.g.Lock()
	f.g.log = f.g.log[:3] // the no-op, a command, a batch
	f.p.Dropped(4, errors.New("refused"))
	f.g.Unlock()
	f.segmentBytes = 600
	f.mustProduce(2, 1)
	f.segmentBytes = 700
	f.mustProduce(3, 1)
	if n := f.commands(); n != 3 {
		t.Fatalf("%d commands, want the first, the same again for certainty, and the second again", n)
	}

	// The next leader has all of it in its log, uncommitted.
	f.g.follow()
	f.g.lead(1)
	f.mustProduce(4, 1)
	if n := f.commands(); n != 3 {
		t.Fatalf("%d commands after an election, want 3", n)
	}
	f.commitAll()
	f.g.follow()
	f.g.lead(id.Index(len(f.g.log)))
	f.mustProduce(5, 1)
	if n := f.commands(); n != 3 {
		t.Fatalf("%d commands when all is applied, want 3", n)
	}
}

// withConf is a state as it stands at the start of a segment.
func withConf(conf string, state []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte{3}, uint32(len(conf)))
	return append(append(b, conf...), state...)
}

// TestStoredStateOfAnyVersion: the first has no segment size in it, the second none of the configuration.
func TestStoredStateOfAnyVersion(t *testing.T) {
	state := func(version byte, rest ...uint64) []byte {
		b := []byte{version}
		for _, v := range append([]uint64{7, 3, 20, 10}, rest...) { // index, term, next offset, log start
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		return append(b, 0, 0, 0, 0) // no producers
	}
	for _, c := range []struct {
		what string
		b    []byte
		size int64 // 0: refused
	}{
		{"first version", state(1), partition.DefaultSegmentBytes},
		{"second version", state(2, 5000), 5000},
		{"no size", state(2, 0), 0},
		{"negative size", state(2, 1<<63), 0},
		{"second version cut", state(2)[:36], 0},
		{"third version", withConf("conf", state(2, 5000)), 5000},
		{"third version before the first", withConf("", state(1)), partition.DefaultSegmentBytes},
		{"third version twice", withConf("", withConf("", state(2, 5000))), 0},
		{"third version cut", withConf("conf", nil)[:7], 0},
		{"fourth version", state(4, 5000), 0},
		{"nothing", nil, 0},
	} {
		got, err := partition.DecodeBase(c.b)
		if (err == nil) != (c.size != 0) || got.SegmentBytes != c.size {
			t.Errorf("%s: size %d, %v; want %d", c.what, got.SegmentBytes, err, c.size)
		} else if err == nil && (got.Index != 7 || got.Term != 3 || got.Next != 20 || got.LogStart != 10) {
			t.Errorf("%s: %+v", c.what, got)
		}
	}
}

// TestMalformedCommandsStop: a replica that passed over one would differ from the others.
func TestMalformedCommandsStop(t *testing.T) {
	for what, data := range map[string][]byte{
		"segment size 0":        {0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0},
		"negative segment size": {0xFF, 2, 0xFF, 0, 0, 0, 0, 0, 0, 0},
		"segment size cut":      {0xFF, 2, 0, 0, 1},
		"log start cut":         {0xFF, 1, 0, 0, 1},
		"log start too long":    {0xFF, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"a mark alone":          {0xFF},
	} {
		f := newFixture(t, 0)
		f.g.Lock()
		err := f.p.Apply([]partition.Entry{{Index: 2, Term: 1, Data: data}})
		f.g.Unlock()
		if err == nil {
			t.Errorf("%s: applied", what)
		}
	}
}
