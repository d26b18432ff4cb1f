package net

import (
	"slices"
	"testing"
)

func arrivals(cfg Config, count int) (got []int, n *Net[int]) {
	n = New[int](cfg)
	for i := range count {
		n.Send(int64(i), 0, 1, i)
	}
	for at := range int64(count + 20*int(cfg.MaxLatency)) {
		for m, ok := n.Next(at); ok; m, ok = n.Next(at) {
			got = append(got, m.Body)
		}
	}
	return got, n
}

func TestFIFOKeepsOrderAndLosesInRuns(t *testing.T) {
	got, n := arrivals(Config{Nodes: 2, FIFO: true, MaxLatency: 9, Loss: 0.02, Seed: 1}, 2000)
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Error("messages of one link overtook one another, or came twice")
	}
	if len(got)+n.Lost != 2000 || n.Lost == 0 || !n.Broken(0, 1) || n.Broken(0, 1) {
		t.Errorf("%d arrived, %d lost", len(got), n.Lost)
	}
}

func TestUnorderedReordersRepeatsAndLoses(t *testing.T) {
	cfg := Config{Nodes: 2, MaxLatency: 9, Loss: 0.02, Repeat: 0.02, Seed: 1}
	got, n := arrivals(cfg, 2000)
	if slices.IsSorted(got) || n.Repeated == 0 || n.Lost == 0 || len(got) != 2000+n.Repeated-n.Lost {
		t.Errorf("%d arrived, %d lost, %d repeated", len(got), n.Lost, n.Repeated)
	}
	if again, _ := arrivals(cfg, 2000); !slices.Equal(got, again) {
		t.Error("the same seed gives two histories")
	}
}

func TestDownIsOneWayAndHeals(t *testing.T) {
	n := New[int](Config{Nodes: 2, FIFO: true, MaxLatency: 3, Seed: 1})
	n.Send(0, 0, 1, 1)
	n.SetDown(0, 1, true)
	n.Send(0, 0, 1, 2)
	n.Send(0, 1, 0, 3)
	if m, ok := n.Next(100); !ok || m.Body != 3 {
		t.Errorf("got %+v, %v", m, ok)
	}
	if _, ok := n.Next(100); ok {
		t.Error("something came over a link that is down")
	}
	n.Heal()
	n.Send(100, 0, 1, 4)
	n.Send(100, 1, 0, 5)
	n.Cut(1)
	if _, ok := n.Next(200); ok {
		t.Error("something came from or to a node whose process has ended")
	}
}
