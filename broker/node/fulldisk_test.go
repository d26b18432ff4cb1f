package node_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/broker/vfs"
)

// A follower whose disk is full holds up nobody: its WAL fills with what cannot go to segments, it says so, the others go on, and
// once there is space again it has what it missed: with it, and without another, there is a majority.
func TestFollowersFullDisk(t *testing.T) {
	c, log := loggedCluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, acked := c.client(), newLedger()
	produce := func(what string) {
		t.Helper()
		r := &kgo.Record{Topic: "events", Value: append([]byte(what), make([]byte, 10<<10)...)}
		if err := p.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		acked.ack(r)
	}
	produce("first")
	found, err := kadm.NewClient(c.client()).ListTopics(ctx, "events")
	if err != nil {
		t.Fatal(err)
	}
	leader := int(found["events"].Partitions[0].Leader) - 1
	full := (leader + 1) % 3
	disk := c.fs[full].(*vfs.Mem)
	disk.SetCapacity(1)
	for i := range 1000 { // two and a half times the ring
		produce(fmt.Sprintf("record %d ", i))
	}
	until(t, "the node to say that its disk is full", func() bool {
		return len(log.lines(fmt.Sprintf(`level=ERROR msg="the disk is full: .*free some space" node=%d `, full+1))) == 1
	})
	disk.SetCapacity(0)
	until(t, "the node to say that it has space again", func() bool {
		return len(log.lines(fmt.Sprintf(`msg="the disk has space again" node=%d`, full+1))) == 1
	})
	c.ready()
	c.stop((leader + 2) % 3)
	for i := range 20 {
		produce(fmt.Sprintf("later %d ", i))
	}
	acked.check(t, c.nodes[full], "events", 1)
	for i, n := range c.nodes {
		if n != nil && n.Err() != nil {
			t.Errorf("node %d ended: %v", i+1, n.Err())
		}
	}
}

// A leader whose disk is full takes records until its WAL is nearly full too, then refuses them in words that a client knows, and
// is not ready; what it had acknowledged stays, and with space it takes records again.
func TestLeadersFullDisk(t *testing.T) {
	c, log := loggedCluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	found, err := kadm.NewClient(c.client()).ListTopics(ctx, "events")
	if err != nil {
		t.Fatal(err)
	}
	leader := int(found["events"].Partitions[0].Leader) - 1
	disk := c.fs[leader].(*vfs.Mem)
	disk.SetCapacity(1)
	w, acked := dial(t, c.nodes[leader]), 0
	produce := func() int16 {
		w.send(produceFrame("events", 32<<10))
		code, _ := w.produced()
		if code == 0 {
			acked++
		}
		return code
	}
	// What is taken before the node knows that its disk is full may have to wait in a full ring, and its outcome is unknown then. So
	// the node is to know it while there is room: checkpoints begin at half of the ring.
	for range 40 {
		if code := produce(); code != 0 {
			t.Fatalf("refused with %d after %d, and there is room", code, acked)
		}
	}
	until(t, "the node to say that its disk is full", func() bool { return len(log.lines(fmt.Sprintf(`msg="the disk is full: .* node=%d `, leader+1))) > 0 })
	code := int16(0)
	for code == 0 {
		code = produce()
	}
	if code != 56 { // KAFKA_STORAGE_ERROR, which clients try again
		t.Fatalf("refused with %d after %d", code, acked)
	}
	if ok, why := c.nodes[leader].Ready(); ok || why != "the broker's disk is full" {
		t.Errorf("ready %v, %q", ok, why)
	}
	if got := log.lines(fmt.Sprintf(`level=ERROR msg="the disk is full: .*free some space" node=%d `, leader+1)); len(got) != 1 {
		t.Errorf("said %q", got)
	}
	if got := log.lines("checkpoint failed"); len(got) > 0 {
		t.Errorf("the same is said again, %d times, for each checkpoint that is tried", len(got))
	}
	disk.SetCapacity(0)
	until(t, "records to be taken again", func() bool { return produce() == 0 })
	c.ready()
	ends, err := kadm.NewClient(c.client()).ListEndOffsets(ctx, "events")
	if err != nil {
		t.Fatal(err)
	}
	if end, _ := ends.Lookup("events", 0); end.Err != nil || end.Offset != int64(acked) {
		t.Errorf("%+v, %d records were acknowledged", end, acked)
	}
}
