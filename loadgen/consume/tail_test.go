package consume

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/client"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
)

// patience is what only a hanging test exceeds.
const patience = 2 * time.Minute

// fill writes n records of 100 bytes.
func fill(t *testing.T, cl *cluster.Cluster, top cluster.Topic, n int) {
	t.Helper()
	d, err := client.OpenProduce(context.Background(), client.Config{Timeout: patience}, cl, top, frame.NewPayloads(1, 100))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w := d.Workers()[0]
	for range n {
		w.Submit(pace.Now(), pace.Now())
		w.Flush()
		for w.InFlight() > 0 {
			if err := w.Wait(pace.Now()+1e8, func(op *client.Op) {
				if op.Err != nil {
					t.Error(op.Err)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTailHasEveryRecordOnce(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("t", 1)
	cl, err := cluster.New([]string{b.Addr()}, patience)
	if err != nil {
		t.Fatal(err)
	}
	top, err := cl.Topic(context.Background(), "t")
	if err != nil {
		t.Fatal(err)
	}
	fill(t, cl, top, 10)
	p := frame.NewPayloads(1, 100)
	var n atomic.Int64
	var bad atomic.Bool
	all := make(chan struct{})
	tail := StartTail(context.Background(), cl, top, map[int32]int64{0: 10}, func(v []byte, inHand int64) {
		_, seq, ours := p.Peek(v)
		if want := uint64(n.Add(1) - 1); !ours || seq != want || inHand > pace.Now() {
			bad.Store(true)
		}
		if n.Load() == 200 {
			close(all)
		}
	})
	fill(t, cl, top, 200)
	select {
	case <-all:
	case <-time.After(patience):
	}
	if err := tail.Stop(); err != nil || n.Load() != 200 || bad.Load() {
		t.Errorf("%d records in hand, want 200; out of order: %v; %v", n.Load(), bad.Load(), err)
	}
}
