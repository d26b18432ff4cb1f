//go:build !race

package client

import (
	"context"
	"testing"

	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
	"ackline/loadgen/workload"
)

// With the window of one and with several in flight, an operation costs no garbage: a collection would stop the generator.
func TestAllocationsPerOperation(t *testing.T) {
	addr := floorServer(t, 60, func([]byte) {})
	for _, inFlight := range []int{1, 8} {
		fl, err := OpenFloor(context.Background(), Config{InFlight: inFlight}, addr, topic, frame.NewPayloads(1, 1024))
		if err != nil {
			t.Fatal(err)
		}
		w := fl.Workers()[0]
		n := 0
		done := func(*Op) { n++ }
		per := testing.AllocsPerRun(300, func() {
			for range inFlight {
				w.Submit(1, 1)
			}
			w.Flush()
			for w.InFlight() > 0 {
				if err := w.Wait(pace.Now()+1e8, done); err != nil {
					t.Fatal(err)
				}
			}
		})
		if per != 0 {
			t.Errorf("%d in flight: %g allocations per round", inFlight, per)
		}
		fl.Close()
	}
}

// Neither does one whose key chooses its partition among those of several topics. The answers are prepared: nothing here is the network's.
func TestAllocationsPerKeyedChoice(t *testing.T) {
	_, cl, top := severalTopics(t, 1, map[string]int{"a": 3, "b": 2}, "a,b")
	d, err := OpenProduce(context.Background(), Config{Timeout: patience, PartitionBy: workload.ByKey, InFlight: 64}, cl, top, drawn(t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w := d.Workers()[0]
	done := func(*Op) {}
	drive(t, w, 64) // what grows has grown
	n := testing.AllocsPerRun(40, func() {
		if w.Room() > 0 {
			w.Submit(1, 1)
		}
	})
	if n != 0 {
		t.Errorf("%g allocations per submission", n)
	}
	w.Abandon(done)
}
