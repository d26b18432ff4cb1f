package soak

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/place"
)

// Several topics are soaked, interrupted, gone on with by their state, and deleted at the end.
func TestSeveralTopicsAreResumed(t *testing.T) {
	b := brokertest.Start(t, 2)
	cfg := fast(b, time.Hour)
	cfg.Topic, cfg.Topics, cfg.Existing, cfg.Partitions, cfg.State = "x", 2, false, 2, filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		b.AwaitStored("x-1", 1, 20)
		cancel()
	}()
	out, err := Run(ctx, cfg, Events{})
	if err != nil || out.Failed() || !out.Interrupted || !b.Has("x-0") || !b.Has("x-1") {
		t.Fatalf("%+v, %v", out, err)
	}
	st, err := load(cfg.State)
	if err != nil || st.Topic != "x-0,x-1" || len(st.Positions) != 4 || st.Positions[place.Of(1, 1)] == 0 {
		t.Fatalf("%+v, %v", st, err)
	}
	cfg.Topics = 3
	if _, err := Run(context.Background(), cfg, Events{}); err == nil || !strings.Contains(err.Error(), `is of topic "x-0,x-1"`) {
		t.Errorf("%v", err)
	}
	cfg.Topic = ""
	if _, err := Run(context.Background(), cfg, Events{}); err == nil || !strings.Contains(err.Error(), "give --topics 2") {
		t.Errorf("%v", err)
	}
	before := out.Check.Acked
	cfg.Topics, cfg.For = 2, out.Soaked+2*time.Second // a busy machine takes a second to connect
	out, said := soakOf(t, cfg)
	if r := out.Check; !out.Valid() || r.Acked <= before || r.Foreign != 0 || out.Starts != 2 || !out.Deleted || b.Has("x-0") || b.Has("x-1") {
		t.Errorf("%+v\n%s", out, said)
	}
}

// A loss in one of the topics is found while more is written, under that topic's name.
func TestLossInOneOfSeveralTopics(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("a", 1)
	b.Create("b", 1)
	b.Break(brokertest.Faults{Topic: "b", LoseBatch: 20})
	cfg := fast(b, 500*time.Millisecond)
	cfg.Topic = "a,b"
	out, said := soakOf(t, cfg)
	if r := out.Check; !out.Failed() || r.Lost != 1 || !strings.Contains(said, "FOUND: ") || !strings.Contains(said, "topic b partition 0") {
		t.Errorf("%+v\n%s", r, said)
	}
	if !b.Has("a") || !b.Has("b") {
		t.Error("topics that were there before were deleted")
	}
}
