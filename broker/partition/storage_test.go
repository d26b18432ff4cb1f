package partition_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/partition"
	"ackline/broker/partition/waiter"
	"ackline/broker/seglog"
)

// readAll reads everything from the log start on, in pieces, and checks that the offsets have no hole.
func readAll(t *testing.T, p *partition.Partition, maxBytes int) (all []byte) {
	t.Helper()
	b := p.Bounds()
	for at := b.Start; at < b.High; {
		data, _, err := p.Read(nil, at, maxBytes, false, partition.Leader)
		if err != nil || len(data) == 0 {
			t.Fatalf("read at %d of [%d, %d): %d bytes, %v", at, b.Start, b.High, len(data), err)
		}
		all = append(all, data...)
		for len(data) > 0 {
			info := kwire.PeekBatch(data)
			if id.Offset(info.Base) != at {
				t.Fatalf("a batch at offset %d where %d is next", info.Base, at)
			}
			at += id.Offset(info.LastDelta) + 1
			data = data[info.Length:]
		}
	}
	return all
}

// logged is the bytes of the data entries of the group's log.
func (f *fixture) logged(upTo id.Index) (all []byte) {
	for _, e := range f.g.log[:upTo] {
		all = append(all, e.Data...)
	}
	return all
}

func TestReadFindsRecordsWhereverTheyAre(t *testing.T) {
	f := newFixture(t, 0)
	for i := range 40 {
		f.mustProduce(i, 1+i%4)
	}
	f.g.commit(t, id.Index(len(f.g.log)))
	whole := f.logged(id.Index(len(f.g.log)))
	for _, stage := range []string{"memory", "WAL", "segments", "segments and memory"} {
		switch stage {
		case "WAL":
			f.g.evicted = id.Index(len(f.g.log))
		case "segments":
			if _, err := f.p.Flush(); err != nil {
				t.Fatal(err)
			}
		case "segments and memory":
			f.mustProduce(0, 2)
			f.g.commit(t, id.Index(len(f.g.log)))
			whole = f.logged(id.Index(len(f.g.log)))
		}
		for _, maxBytes := range []int{1, 200, 1 << 20} {
			if got := readAll(t, f.p, maxBytes); !bytes.Equal(got, whole) {
				t.Fatalf("%s, %d bytes at a time: read %d bytes, want the %d that were stored", stage, maxBytes, len(got), len(whole))
			}
		}
	}
}

func TestReadStrictNeverExceedsTheLimit(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 50)
	f.g.commit(t, 2)
	for _, flush := range []bool{false, true} {
		if flush {
			if _, err := f.p.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if data, _, err := f.p.Read(nil, 0, 10, true, partition.Leader); err != nil || len(data) != 0 {
			t.Fatalf("flushed %v: a strict read of 10 bytes gave %d, %v", flush, len(data), err)
		}
		if data, _, err := f.p.Read(nil, 0, 10, false, partition.Leader); err != nil || len(data) <= 10 {
			t.Fatalf("flushed %v: the first batch does not come whole: %d bytes, %v", flush, len(data), err)
		}
	}
}

func TestReadOutOfRange(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 5)
	f.g.commit(t, 2)
	for _, at := range []id.Offset{-1, 6} {
		if _, _, err := f.p.Read(nil, at, 1<<20, false, partition.Leader); !errors.Is(err, partition.ErrOffsetOutOfRange) {
			t.Fatalf("read at %d: %v, want out of range", at, err)
		}
	}
	if data, _, err := f.p.Read(nil, 5, 1<<20, false, partition.Leader); err != nil || len(data) != 0 {
		t.Fatalf("read at the high watermark: %d bytes, %v; want none", len(data), err)
	}
}

func TestWaiterIsWokenByTheCommitThatSatisfiesIt(t *testing.T) {
	f := newFixture(t, 0)
	w := waiter.New()
	if !f.p.Await(w, 0, partition.Leader) {
		t.Fatal("there is nothing to read, and Await says there is")
	}
	f.mustProduce(0, 1)
	select {
	case <-w.C:
		t.Fatal("woken by a batch that is not committed")
	default:
	}
	f.g.commit(t, 2)
	select {
	case <-w.C: // by commit itself, before it returned
	default:
		t.Fatal("not woken by the commit")
	}
	if f.p.Await(waiter.New(), 0, partition.Leader) {
		t.Fatal("Await waits for what is there")
	}
}

func TestCheckpointAndRestart(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 0))
		f := newFixture(t, 600) // several segments
		seq := int32(0)
		var payload []byte
		flushed := id.Index(0)
		for range 60 {
			n := 1 + r.IntN(4)
			f.mustProduce(0, n, producer(5, 0, seq))
			seq += int32(n)
			if r.IntN(3) == 0 {
				f.g.commit(t, id.Index(len(f.g.log)))
			}
			if r.IntN(8) == 0 {
				i, _, p, err := f.p.Checkpoint()
				if err != nil {
					t.Fatal(err)
				}
				if i != 0 {
					flushed, payload = i, p
				}
			}
		}
		f.g.commit(t, id.Index(len(f.g.log)))
		committed := id.Index(len(f.g.log))
		before := readAll(t, f.p, 1<<20)

		// The crash: of the segments only what the checkpoint covers is sure; the rest comes from the WAL.
		again := &fixture{t: t, segmentBytes: 600, fs: f.fs.CrashClone(seed), g: &fakeGroup{log: f.g.log, term: f.g.term}}
		again.p = partition.New(partition.Config{Deliver: again.deliver, Now: func() int64 { return 1 }})
		from := max(1, flushed-3) // replay may begin before the checkpoint
		if payload == nil {
			from = 1
		}
		must(t, again.p.Recover(f.g.log[from-1:flushed]))
		if payload != nil {
			must(t, again.p.RecoverCheckpoint(payload))
		}
		must(t, again.p.Recover(f.g.log[flushed:]))
		must(t, again.p.RecoverCommit(committed))
		at, _, applied := again.p.Recovered()
		if applied != committed {
			t.Fatalf("seed %d: applied %d after replay, want %d", seed, applied, committed)
		}
		log, err := seglog.Open(seglog.Options{FS: again.fs, Dir: "/g", Group: 5}, at)
		must(t, err)
		must(t, again.p.Open(log))
		again.g.p = again.p
		again.p.Join(again.g)
		again.g.lead(applied)
		again.g.commit(t, id.Index(len(again.g.log)))
		if got := readAll(t, again.p, 1<<20); !bytes.Equal(got, before) {
			t.Fatalf("seed %d: %d bytes after the restart, %d before", seed, len(got), len(before))
		}
		// The producer is remembered: its next batch fits, a gap does not.
		if err := again.produce(0, 1, producer(5, 0, seq+1)); !errors.Is(err, partition.ErrOutOfOrder) {
			t.Fatalf("seed %d: a gap after the restart: %v", seed, err)
		}
		again.mustProduce(0, 1, producer(5, 0, seq))
	}
}

// TestProducersSurviveACheckpoint restarts from a checkpoint alone: nothing of the producer is left in the WAL.
func TestProducersSurviveACheckpoint(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 2, producer(5, 0, 0))
	f.mustProduce(0, 3, producer(5, 0, 2))
	f.g.commit(t, 3)
	_, _, payload, err := f.p.Checkpoint()
	must(t, err)
	again := &fixture{t: t, fs: f.fs, g: &fakeGroup{log: f.g.log, term: f.g.term}}
	again.open(seglog.Checkpoint{}, payload, 0)
	again.g.lead(3)
	again.g.commit(t, 4)
	again.mustProduce(1, 3, producer(5, 0, 2))
	again.mustProduce(2, 1, producer(5, 0, 5))
	again.g.commit(t, id.Index(len(again.g.log)))
	want(t, again.acked(), "1@2", "2@5")
}

func TestExpiredProducersAreAnsweredOnce(t *testing.T) {
	f := newFixture(t, 0)
	b := batch(1)
	info, err := kwire.ParseBatch(b)
	must(t, err)
	must(t, f.p.Append(b, info, 0, &partition.Ack{Part: 1, Deadline: 1000}))
	f.mustProduce(2, 1)
	f.p.Expire(900)
	want(t, f.acked())
	f.p.Expire(2000)
	if len(f.out) != 1 || !errors.Is(f.out[0].Err, partition.ErrTimedOut) {
		t.Fatalf("after the deadline: %+v", f.out)
	}
	f.out = nil
	f.g.commit(t, 3)
	want(t, f.acked(), "2@1")
}

func TestRecoveryReplacesAConflictingSuffix(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 1)
	old := append([]partition.Entry(nil), f.g.log...)
	p := partition.New(partition.Config{Deliver: f.deliver, Now: func() int64 { return 1 }})
	must(t, p.Recover(old))
	won := partition.Entry{Index: 2, Term: 5, Data: patched(batch(4), 0)}
	must(t, p.Recover([]partition.Entry{won}))
	must(t, p.RecoverCommit(2))
	if _, _, applied := p.Recovered(); applied != 2 {
		t.Fatalf("applied %d, want 2", applied)
	}
	rows, bytes := p2pending(p, f)
	if rows != 2 || bytes != int64(len(won.Data)) {
		t.Fatalf("%d rows of %d bytes are to be flushed, want the winner's %d", rows, bytes, len(won.Data))
	}
}

// TestRecoveryForgetsAReplacedSuffix: nothing of it was applied, whatever it was, and what replaced it may be shorter.
func TestRecoveryForgetsAReplacedSuffix(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 2, producer(5, 0, 0))
	committed := id.Index(len(f.g.log))
	f.mustProduce(1, 3, producer(5, 0, 2))
	f.mustProduce(2, 1, producer(6, 0, 0))
	command := append([]byte{0xFF, 1}, 0, 0, 0, 0, 0, 0, 0, 2) // a log start
	n := id.Index(len(f.g.log))
	lost := append(slices.Clone(f.g.log), partition.Entry{Index: n + 1, Term: 1, Data: command},
		partition.Entry{Index: n + 2, Term: 1, Type: 2, Data: []byte("configuration")})
	won := []partition.Entry{{Index: committed + 1, Term: 5}, {Index: committed + 2, Term: 5, Data: patched(batch(1, producer(5, 0, 2)), 2)}}
	again := &fixture{t: t, fs: f.fs, g: &fakeGroup{term: 5, log: append(slices.Clone(lost[:committed]), won...)}}
	again.p = partition.New(partition.Config{Deliver: again.deliver, Now: func() int64 { return 1 }})
	must(t, again.p.Recover(lost))
	must(t, again.p.RecoverCommit(committed))
	must(t, again.p.Recover(won))
	must(t, again.p.RecoverCommit(n+2)) // as far as there is something
	at, _, applied := again.p.Recovered()
	if applied != committed+2 {
		t.Fatalf("applied %d, want %d", applied, committed+2)
	}
	log, err := seglog.Open(seglog.Options{FS: again.fs, Dir: "/again", Group: 5}, at)
	must(t, err)
	must(t, again.p.Open(log))
	again.g.p = again.p
	again.p.Join(again.g)
	again.g.lead(applied)
	again.commitAll()
	if b := again.p.Bounds(); b.Start != 0 || b.High != 3 {
		t.Fatalf("bounds %+v, want 0 to 3", b)
	}
	if got, want := readAll(t, again.p, 1<<20), slices.Concat(lost[committed-1].Data, won[1].Data); !bytes.Equal(got, want) {
		t.Fatalf("%d bytes are read, want %d", len(got), len(want))
	}
	again.mustProduce(3, 1, producer(5, 0, 3)) // goes on behind what won
	again.mustProduce(4, 1, producer(6, 0, 0)) // is new: what it wrote is lost
	again.commitAll()
	want(t, again.acked(), "3@3", "4@4")
}

func p2pending(p *partition.Partition, f *fixture) (int, int64) {
	f.g.p = p
	p.Join(f.g)
	return p.Pending()
}

func TestOffsetForTime(t *testing.T) {
	f := newFixture(t, 0)
	for i, ms := range []int64{100, 200, 150, 300} {
		f.mustProduce(i, 2, stamped(ms))
	}
	f.g.commit(t, id.Index(len(f.g.log)))
	for _, flush := range []bool{false, true} {
		if flush {
			if _, err := f.p.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			ms    int64
			base  id.Offset
			found bool
		}{{0, 0, true}, {100, 0, true}, {101, 2, true}, {200, 2, true}, {201, 6, true}, {301, 0, false}} {
			base, _, found, err := f.p.OffsetForTime(c.ms)
			if err != nil || found != c.found || found && base != c.base {
				t.Fatalf("flushed %v: time %d is at %d, %v, %v; want %d, %v", flush, c.ms, base, found, err, c.base, c.found)
			}
		}
		if base, ms, ok, err := f.p.MaxTimestamp(); base != 6 || ms != 300 || !ok || err != nil {
			t.Fatalf("greatest timestamp %d at %d, %v, %v; want 300 at 6", ms, base, ok, err)
		}
	}
}

func FuzzDecodePayload(f *testing.F) {
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _, _ = partition.DecodePayload(b)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
