package partition_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"ackline/broker/partition"
	"ackline/broker/vfs"
)

// TestRestoreCrash cuts the power at every operation that changes the disk from the moment on at which the WAL has the
// snapshot, and recovers from it or from a checkpoint that came later.
func TestRestoreCrash(t *testing.T) {
	leader := aged(t, 4)
	leader.g.lead(leader.last())
	leader.commitAll()
	leader.checkpoint()
	s, end := leader.snapshot(), leader.last()
	prepared := vfs.NewMem()
	before := leader.follower(prepared, s.Index-4)
	old := before.checkpoint()
	must(t, before.p.Close())
	total := int64(0)
	for cut := int64(-1); cut < total; cut++ {
		disk, cutter := prepared.Clone(), vfs.NewCutter(cut)
		f := &fixture{t: t, g: &fakeGroup{log: slices.Clone(leader.g.log), term: leader.g.term}}
		f.openOn(vfs.Inject(disk, cutter.Hook), old, nil, s.Index-4)
		stored := [][]byte{s.Payload}
		f.restore(s)
		var err error
		for i := s.Index; err == nil && i <= end; i += 16 {
			f.g.commit(t, i)
			var p []byte
			if _, _, p, err = f.p.Checkpoint(); p != nil {
				stored = append(stored, p)
			}
		}
		if cut < 0 {
			must(t, err)
			total = cutter.Seen()
		} else if err == nil {
			t.Fatalf("cut %d of %d: nothing failed", cut, total)
		}
		newest := len(stored) - 1
		for n := max(0, newest-1); n <= newest; n++ {
			again := &fixture{t: t, g: &fakeGroup{log: slices.Clone(leader.g.log), term: leader.g.term}}
			_, _, base, err := partition.DecodePayload(stored[n])
			must(t, err)
			again.openOn(disk.CrashClone(uint64(cut+1)), stored[n], again.g.log[base.Index:end], end)
			again.commitAll()
			again.g.term, again.g.log = leader.g.term-1, again.g.log[:end]
			again.g.Lock()
			again.p.Lead(again.g.term+1, nil)
			again.g.Unlock()
			again.checkpoint()
			same(t, again, leader, fmt.Sprintf("cut %d, record %d of %d", cut, n, newest))
			if got := again.snapshot(); !bytes.Equal(got.Payload, s.Payload) {
				t.Fatalf("cut %d, record %d: the snapshot is at %d and not the one at %d", cut, n, got.Index, s.Index)
			}
		}
	}
	if total < 20 { // three checkpoints and the removal
		t.Fatalf("%d operations cannot be all of it", total)
	}
}

// gate is a hook that holds the first operation of a kind on files with a suffix, until it is opened.
type gate struct {
	kind        vfs.Kind
	suffix      string
	once        sync.Once
	there, open chan struct{}
}

func newGate(kind vfs.Kind, suffix string) *gate {
	return &gate{kind: kind, suffix: suffix, there: make(chan struct{}), open: make(chan struct{})}
}

func (g *gate) hook(op vfs.Op) error {
	if op.Kind == g.kind && strings.HasSuffix(op.Name, g.suffix) {
		g.once.Do(func() { close(g.there); <-g.open })
	}
	return nil
}

// TestReadDuringRestore: a reader who is at the old segments gets what he asked for or is told that this is not the leader;
// nothing that the snapshot brought stands where he reads.
func TestReadDuringRestore(t *testing.T) {
	leader := aged(t, 5)
	for _, file := range []string{".idx", ".seg"} {
		for _, renewed := range []bool{false, true} {
			data, before, err := readThroughRestore(leader, file, renewed)
			switch {
			case errors.Is(err, partition.ErrNotLeader):
				if !renewed {
					t.Errorf("%s: %v, and the segments were there", file, err)
				}
			case err != nil:
				t.Errorf("%s, made anew %v: %v", file, renewed, err)
			case len(data) == 0 || !bytes.HasPrefix(before, data):
				t.Errorf("%s, made anew %v: the read brings %d bytes that were not there", file, renewed, len(data))
			}
		}
	}
}

// readThroughRestore reads from the start of a leader that steps down and is restored before it gets to read that file. It
// returns what was read and what was there.
func readThroughRestore(leader *fixture, file string, renewed bool) (data, before []byte, err error) {
	s, g := leader.snapshot(), newGate(vfs.OpRead, file)
	old := s.Index / 2
	f := leader.follower(vfs.Inject(vfs.NewMem(), g.hook), old)
	f.g.log = f.g.log[:old]
	f.checkpoint()
	f.g.lead(old)
	f.g.commit(f.t, old+1)
	for _, e := range f.g.log {
		if e.Type == 0 && len(e.Data) > 0 && e.Data[0] == 0 {
			before = append(before, e.Data...)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		data, _, err = f.p.Read(nil, 0, 300, false, partition.Leader)
	}()
	<-g.there
	f.g.follow()
	f.g.Lock()
	f.g.log = slices.Clone(leader.g.log)
	f.g.Unlock()
	f.restore(s)
	f.commitAll()
	if renewed {
		f.checkpoint()
	}
	close(g.open)
	<-done
	return data, before, err
}

// TestFlushDuringRestore: the lock's holder waits for no file, and what the flush moves ends nowhere.
func TestFlushDuringRestore(t *testing.T) {
	leader := aged(t, 6)
	s := leader.snapshot()
	for _, c := range []struct {
		kind   vfs.Kind
		suffix string
	}{{vfs.OpWrite, ".seg"}, {vfs.OpWrite, ".idx"}, {vfs.OpSync, ".seg"}, {vfs.OpSyncDir, ""}} {
		g := newGate(c.kind, c.suffix)
		f := leader.follower(vfs.Inject(vfs.NewMem(), g.hook), s.Index/2)
		done := make(chan error)
		go func() {
			i, _, _, err := f.p.Checkpoint()
			if i != 0 {
				err = fmt.Errorf("a checkpoint at %d, of what the snapshot replaced: %w", i, err)
			}
			done <- err
		}()
		<-g.there
		f.restore(s)
		f.g.commit(t, f.last()-2)
		close(g.open)
		if err := <-done; err != nil {
			t.Fatalf("%v of %q: %v", c.kind, c.suffix, err)
		}
		if rows, _ := f.p.Pending(); rows != int(f.last()-2-s.Index) {
			t.Fatalf("%v of %q: %d rows are left, the flush took some", c.kind, c.suffix, rows)
		}
		f.g.lead(f.last())
		f.commitAll()
		f.checkpoint()
		leader.g.log = f.g.log
		leader.commitAll()
		leader.checkpoint()
		same(t, f, leader, fmt.Sprint(c.kind, " of ", c.suffix))
	}
}

// TestFlushWhileASnapshotIsWritten: the WAL has let go of what the snapshot covers before the partition hears of it.
func TestFlushWhileASnapshotIsWritten(t *testing.T) {
	leader := aged(t, 7)
	s := leader.snapshot()
	f := leader.follower(vfs.NewMem(), s.Index/2)
	f.g.Lock()
	f.g.evicted, f.g.compacted = s.Index, s.Index
	f.g.Unlock()
	if err := flushed(f.p); !errors.Is(err, errGone) {
		t.Fatalf("entries are missing, and the flush says %v", err)
	}
	f.g.Lock()
	f.p.Configured(s.Index, s.Conf) // raft has taken the snapshot
	f.g.Unlock()
	must(t, flushed(f.p))
	if f.checkpoint() != nil {
		t.Fatal("a checkpoint of what is not flushed")
	}
	f.restore(s)
	f.commitAll()
	if f.checkpoint() == nil {
		t.Fatal("no checkpoint behind the snapshot")
	}
}

// TestRestoreAgainAndAgain while others flush: the last snapshot counts.
func TestRestoreAgainAndAgain(t *testing.T) {
	leader := aged(t, 8)
	snaps := []partition.Start{leader.snapshot()}
	for _, n := range []int{2, 2} {
		leader.age(leader.p.Segments()[n].Base)
		snaps = append(snaps, leader.snapshot())
	}
	f := leader.follower(vfs.NewMem(), 3)
	stop, done := make(chan struct{}), make(chan error, 2)
	for _, work := range []func() error{
		func() error { return flushed(f.p) },
		func() error { _, _, _, err := f.p.Checkpoint(); return err },
	} {
		go func() {
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				if err := work(); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for i, s := range snaps {
		f.restore(s)
		if i > 0 {
			f.restoreNothing(s)
		}
		f.g.commit(t, s.Index+2)
	}
	f.commitAll()
	close(stop)
	for range 2 {
		must(t, <-done)
	}
	f.g.lead(f.last())
	f.commitAll()
	f.checkpoint()
	leader.g.log = f.g.log
	leader.commitAll()
	leader.checkpoint()
	same(t, f, leader, "after three snapshots")
}

// restoreNothing tries the same snapshot again, which is refused.
func (f *fixture) restoreNothing(s partition.Start) {
	f.t.Helper()
	f.g.Lock()
	defer f.g.Unlock()
	if err := f.p.RestoreLocked(s.Index, s.Term, s.Conf, s.Payload); err == nil {
		f.t.Fatal("a snapshot is restored twice")
	}
}
