package partition_test

import (
	"errors"
	"slices"
	"testing"

	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/partition"
)

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("delivered %v, want %v", got, want)
	}
}

func TestAckOnlyAfterCommitAndAtTheRightOffset(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 3)
	f.mustProduce(1, 2)
	want(t, f.acked())
	f.g.commit(t, 2)
	want(t, f.acked(), "0@0")
	if got := f.p.Bounds().High; got != 3 {
		t.Fatalf("high watermark %d with the first batch of 3 committed", got)
	}
	f.g.commit(t, 3)
	want(t, f.acked(), "1@3")
	if b := f.p.Bounds(); b.High != 5 || b.Start != 0 || !b.Ready {
		t.Fatalf("bounds %+v, want high watermark 5", b)
	}
}

func TestHighWatermarkLeavesOutWhatOnlyTheLeaderHas(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 3)
	if b := f.p.Bounds(); b.High != 0 {
		t.Fatalf("high watermark %d with nothing committed", b.High)
	}
	if data, _, err := f.p.Read(nil, 0, 1<<20, false, partition.Leader); err != nil || len(data) != 0 {
		t.Fatalf("read %d bytes, %v of what is not committed", len(data), err)
	}
}

func TestProposalsThatRaftRefusesLeaveNoTrace(t *testing.T) {
	f := newFixture(t, 0)
	f.g.busy = errors.New("busy")
	if err := f.produce(0, 3, producer(7, 0, 0)); !errors.Is(err, f.g.busy) {
		t.Fatalf("error %v, want raft's", err)
	}
	f.g.busy = nil
	f.mustProduce(1, 1, producer(7, 0, 0))
	f.g.commit(t, 2)
	want(t, f.acked(), "1@0")
}

func TestDroppedProposalsRollOffsetsAndProducersBack(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 3, producer(7, 0, 0))
	f.mustProduce(1, 2, producer(7, 0, 3))
	f.g.Lock()
	f.g.log = f.g.log[:2]
	f.p.Dropped(3, errors.New("refused"))
	f.g.Unlock()
	want(t, f.acked(), "1!false")
	f.mustProduce(2, 2, producer(7, 0, 3))
	f.g.commit(t, 3)
	want(t, f.acked(), "0@0", "2@3")
}

func TestLosingTheLeadMakesOutcomesUnknownAndTheNextLeadStartsFromTheLog(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 3, producer(7, 0, 0))
	f.g.commit(t, 2)
	f.mustProduce(1, 2, producer(7, 0, 3))
	f.g.follow()
	want(t, f.acked(), "0@0", "1!true")
	if err := f.produce(2, 1); !errors.Is(err, partition.ErrNotLeader) {
		t.Fatalf("append on a follower: %v", err)
	}
	// The next leader had another second entry, of four records: ours was replaced, and this node applies the other.
	f.g.log = append(f.g.log[:2], partition.Entry{Index: 3, Term: 2, Data: patched(batch(4), 3)})
	f.g.term = 2
	f.g.Lock()
	must(t, f.p.Apply(f.g.log))
	f.g.Unlock()
	f.g.lead(3)
	f.mustProduce(3, 1, producer(7, 0, 3))
	f.g.commit(t, 5)
	want(t, f.acked(), "3@7")
}

func TestANewLeaderThatKeepsTheTailKeepsItsDecisions(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 3, producer(7, 0, 0))
	f.g.follow()
	f.g.lead(1) // entry 2 is in its log, uncommitted
	if b := f.p.Bounds(); b.Ready {
		t.Fatal("a leader that committed nothing of its term says that it knows the high watermark")
	}
	// A retry of the batch is the same batch: it waits for the original.
	f.mustProduce(1, 3, producer(7, 0, 0))
	f.mustProduce(2, 1, producer(7, 0, 3))
	f.g.commit(t, id.Index(len(f.g.log)))
	got := f.acked()
	slices.Sort(got)
	want(t, got, "0!true", "1@0", "2@3")
	if b := f.p.Bounds(); !b.Ready || b.High != 4 {
		t.Fatalf("bounds %+v, want ready and high watermark 4", b)
	}
}

func TestIdempotentProducer(t *testing.T) {
	f := newFixture(t, 0)
	steps := []struct {
		what  string
		pid   int64
		epoch int16
		seq   int32
		n     int
		err   error
		base  id.Offset
		isDup bool
	}{
		{"first", 1, 0, 0, 2, nil, 0, false},
		{"next", 1, 0, 2, 3, nil, 2, false},
		{"repeated", 1, 0, 2, 3, nil, 2, true},
		{"repeated older", 1, 0, 0, 2, nil, 0, true},
		{"gap", 1, 0, 9, 1, partition.ErrOutOfOrder, 0, false},
		{"other producer", 2, 0, 0, 1, nil, 5, false},
		{"unknown producer in mid-sequence", 3, 0, 4, 1, partition.ErrOutOfOrder, 0, false},
		{"new epoch", 1, 1, 0, 1, nil, 6, false},
		{"new epoch must start at 0", 2, 1, 1, 1, partition.ErrOutOfOrder, 0, false},
		{"old epoch", 1, 0, 5, 1, partition.ErrFenced, 0, false},
	}
	for _, s := range steps {
		err := f.produce(0, s.n, producer(s.pid, s.epoch, s.seq))
		if !errors.Is(err, s.err) {
			t.Fatalf("%s: error %v, want %v", s.what, err, s.err)
		}
		before := len(f.g.log)
		f.g.commit(t, id.Index(len(f.g.log)))
		if s.err != nil {
			continue
		}
		if len(f.out) != 1 || f.out[0].Err != nil || f.out[0].Base != s.base {
			t.Fatalf("%s: delivered %v, want offset %d", s.what, f.acked(), s.base)
		}
		_ = before
		f.out = nil
	}
	if got := f.p.Bounds().High; got != 7 {
		t.Fatalf("high watermark %d: a duplicate was stored", got)
	}
}

// A verdict on a batch is final, so it waits until it is sure that this node led when it was reached.
func TestRefusalWaitsForTheQuorum(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 1, producer(1, 0, 0))
	f.g.commit(t, 2)
	f.out = nil
	if err := f.p.Refuse(partition.ErrOutOfOrder, &partition.Ack{Owner: 1}); err != nil {
		t.Fatal(err)
	}
	if len(f.out) != 0 {
		t.Fatal("refused before a quorum had heard of it")
	}
	f.g.commit(t, 3)
	if len(f.out) != 1 || !errors.Is(f.out[0].Err, partition.ErrOutOfOrder) {
		t.Fatalf("delivered %v", f.out)
	}
	f.out = nil
	if err := f.p.Refuse(partition.ErrFenced, &partition.Ack{Owner: 2}); err != nil {
		t.Fatal(err)
	}
	f.g.follow() // it was another's to say
	if len(f.out) != 1 || !errors.Is(f.out[0].Err, partition.ErrUnknown) || errors.Is(f.out[0].Err, partition.ErrFenced) {
		t.Fatalf("delivered %v", f.out)
	}
	if err := f.p.Refuse(partition.ErrFenced, &partition.Ack{}); !errors.Is(err, partition.ErrNotLeader) {
		t.Fatalf("a follower refuses: %v", err)
	}
}

func TestDuplicateOfAnUncommittedBatchWaits(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 2, producer(1, 0, 0))
	f.mustProduce(1, 2, producer(1, 0, 0))
	want(t, f.acked())
	f.g.commit(t, 2)
	want(t, f.acked(), "0@0", "1@0")
}

func TestSequenceWraps(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 1, producer(1, 0, 0))
	// A producer that this log has known for long: jump by recovering it there.
	f.g.log = append(f.g.log, partition.Entry{Index: 3, Term: 1, Data: patched(batch(3, producer(4, 0, 1<<31-2)), 1)})
	f.g.commit(t, 3)
	f.g.follow()
	f.g.lead(3)
	f.mustProduce(1, 1, producer(4, 0, 1))
	f.g.commit(t, id.Index(len(f.g.log)))
	got := f.acked()
	want(t, got, "0@0", "1@4")
}

func patched(b []byte, base int64) []byte {
	kwire.PatchBatch(b, base, 1)
	return b
}

func TestApplyIsIdempotentAndRefusesGaps(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 3)
	f.g.commit(t, 2)
	f.g.commit(t, 2) // the same again
	if got := f.p.Bounds().High; got != 3 {
		t.Fatalf("high watermark %d after applying twice, want 3", got)
	}
	f.g.Lock()
	err := f.p.Apply([]partition.Entry{{Index: 9, Term: 1}})
	f.g.Unlock()
	if err == nil {
		t.Fatal("an entry behind a gap was applied")
	}
}

func TestUnknownCommandStops(t *testing.T) {
	f := newFixture(t, 0)
	f.g.Lock()
	err := f.p.Apply([]partition.Entry{{Index: 2, Term: 1, Data: []byte{0xFF, 99}}})
	f.g.Unlock()
	if err == nil {
		t.Fatal("an unknown command was passed over")
	}
}

func TestLogStartMovesOnlyByCommand(t *testing.T) {
	f := newFixture(t, 0)
	f.mustProduce(0, 5)
	f.g.commit(t, 2)
	if err := f.p.AdvanceLogStart(3); err != nil {
		t.Fatal(err)
	}
	if got := f.p.Bounds().Start; got != 0 {
		t.Fatalf("log start %d before the command is committed", got)
	}
	f.g.commit(t, 3)
	if got := f.p.Bounds().Start; got != 3 {
		t.Fatalf("log start %d, want 3", got)
	}
	if _, _, err := f.p.Read(nil, 2, 1<<20, false, partition.Leader); !errors.Is(err, partition.ErrOffsetOutOfRange) {
		t.Fatalf("a read below the log start: %v", err)
	}
	if err := f.p.AdvanceLogStart(6); !errors.Is(err, partition.ErrOffsetOutOfRange) {
		t.Fatalf("a log start beyond the high watermark: %v", err)
	}
}
