package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
)

// submitAll hands over n operations without waiting for their answers.
func submitAll(t *testing.T, w Worker, n int) {
	t.Helper()
	for range n {
		if w.Room() == 0 {
			t.Fatal("no room")
		}
		w.Submit(pace.Now(), pace.Now())
	}
	w.Flush()
}

// await waits until nothing is in flight and returns the offsets of what was answered, in order.
func await(t *testing.T, w Worker) (bases []int64) {
	t.Helper()
	for deadline := time.Now().Add(patience); w.InFlight() > 0; {
		err := w.Wait(pace.Now()+10_000_000, func(op *Op) {
			if op.Err != nil || op.Acked < op.Sent {
				t.Errorf("%+v", op)
			}
			bases = append(bases, op.Base)
		})
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%d in flight, %v", w.InFlight(), err)
		}
	}
	return bases
}

func checkBases(t *testing.T, got []int64, from int64, n int) {
	t.Helper()
	if len(got) != n {
		t.Errorf("%d answers, want %d", len(got), n)
	}
	for i, b := range got {
		if b != from+int64(i) {
			t.Errorf("offsets %v, want them from %d on", got, from)
			return
		}
	}
}

// What was stored and not answered when the leader died is answered by its successor, with the offsets that it has, and is
// there once.
func TestResendAfterTheLeadersDeath(t *testing.T) {
	b, cl, top := setup(t, 3, 1)
	w := openProduce(t, Config{Resend: true, InFlight: 4}, cl, top, 100).Workers()[0]
	submitAll(t, w, 4)
	checkBases(t, await(t, w), 0, 4)
	b.Break(brokertest.Faults{Mute: true})
	submitAll(t, w, 4)
	b.AwaitStored(topic, 0, 8)
	b.Kill(1)
	b.Move(topic, 0, 2)
	b.Break(brokertest.Faults{})
	checkBases(t, await(t, w), 4, 4)
	submitAll(t, w, 1)
	checkBases(t, await(t, w), 8, 1)
	if n := b.Stored(topic, 0); n != 9 {
		t.Errorf("%d records are stored, want 9", n)
	}
}

// A leader that says nothing is left for another one long before the time-out.
func TestSilentLeaderIsLeft(t *testing.T) {
	b, cl, top := setup(t, 2, 1)
	w := openProduce(t, Config{Resend: true, InFlight: 3, Timeout: patience}, cl, top, 100).Workers()[0]
	b.Break(brokertest.Faults{Mute: true})
	submitAll(t, w, 3)
	b.AwaitStored(topic, 0, 3)
	b.Break(brokertest.Faults{})
	b.Move(topic, 0, 2)
	checkBases(t, await(t, w), 0, 3)
	if n := b.Stored(topic, 0); n != 3 {
		t.Errorf("%d records are stored, want 3", n)
	}
}

// Nobody connects to a silent leader once more: beyond a cut that would take as long as connecting may take. Another one is connected to.
func TestSilentLeaderIsNotDialled(t *testing.T) {
	b, cl, top := setup(t, 2, 1)
	d := openProduce(t, Config{Resend: true}, cl, top, 100)
	if got := d.dial(t.Context(), []int32{0}, 1); got.fd >= 0 || !errors.Is(got.err, errStillLeads) {
		t.Errorf("the leader was connected to again: %+v", got)
	}
	b.Move(topic, 0, 2)
	got := d.dial(t.Context(), []int32{0}, 1)
	if got.fd < 0 || got.err != nil || got.node != 2 {
		t.Fatalf("its successor: %+v", got)
	}
	closeFD(got.fd)
}

// A leader that gave its partition up costs no operation.
func TestResendToTheNewLeader(t *testing.T) {
	b, cl, top := setup(t, 2, 1)
	w := openProduce(t, Config{Resend: true, InFlight: 5}, cl, top, 100).Workers()[0]
	for round := range 6 {
		b.Move(topic, 0, int32(1+round%2))
		submitAll(t, w, 5)
		checkBases(t, await(t, w), int64(5*round), 5)
		waitRoom(t, w)
	}
}

// Nothing is waited for longer than the time-out, and what cannot be sent again is refused.
func TestResendHasLimits(t *testing.T) {
	b, cl, top := setup(t, 1, 2)
	if _, err := OpenProduce(context.Background(), Config{Resend: true}, cl, top, frame.NewPayloads(1, 100)); err == nil || !strings.Contains(err.Error(), "one for each") {
		t.Errorf("one connection for two partitions: %v", err)
	}
	if err := (Config{Resend: true, InFlight: 6}).Validate(); err == nil || !strings.Contains(err.Error(), "at most 5") {
		t.Errorf("six in flight: %v", err)
	}
	d := openProduce(t, Config{Resend: true, Connections: 2, Threads: 1, InFlight: 2, Timeout: 150 * time.Millisecond}, cl, top, 100)
	w := d.Workers()[0]
	b.Break(brokertest.Faults{Mute: true})
	submitAll(t, w, 2)
	failed := 0
	for deadline := time.Now().Add(patience); w.InFlight() > 0 && time.Now().Before(deadline); {
		if err := w.Wait(pace.Now()+10_000_000, func(op *Op) { failed++ }); err != nil {
			t.Fatal(err)
		}
	}
	if failed != 2 {
		t.Errorf("%d of 2 operations timed out", failed)
	}
	b.Kill(1)
	if err := waitForError(w); err == nil || !strings.Contains(err.Error(), "no connection for 150ms") {
		t.Errorf("a broker that stays away: %v", err)
	}
	if _, err := mustCluster(t, b.Addr()).ProducerID(context.Background()); err == nil {
		t.Error("a producer id from a broker that is not there")
	}
}

func mustCluster(t *testing.T, addr string) *cluster.Cluster {
	t.Helper()
	c, err := cluster.New([]string{addr}, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
