package clustertest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestRollingRestart stops and starts every node in turn, gracefully. No producer sees an error, and the partitions stand still
// only for as long as handing a lead over takes.
func TestRollingRestart(t *testing.T) {
	c := newCluster(t, 3, "")
	l, w := startLoad(c), startWatch(c)
	var gaps []time.Duration
	for range rounds(1) {
		for _, n := range c.nodes {
			l.goesOn(20)
			l.resetGaps()
			n.stop()
			n.start()
			c.ready()
			l.goesOn(10)
			gaps = append(gaps, l.gaps(0, 1, 2, 3)...)
		}
		l.check()
	}
	w.finish()
	l.finish()
	report(t, "gap in a rolling restart", gaps)
	if worst := gaps[len(gaps)-1]; worst > 5*time.Second {
		t.Errorf("a partition stood still for %v", worst)
	}
}

// TestEmptiedDiskIsNotBelieved takes nodes' disks away. A node with the same id and an empty disk has forgotten what it voted
// for and acknowledged; it is refused, one as well as a majority of them, until its disk is back.
func TestEmptiedDiskIsNotBelieved(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, impatient)
	l, w := startLoad(c), startWatch(c)
	l.goesOn(20)
	empty := func(n *node) { // and what it held is put aside
		n.kill()
		if err := os.Rename(n.dir, n.dir+".old"); err != nil {
			t.Fatal(err)
		}
		n.start()
	}
	refused := func(n *node) {
		t.Helper()
		if code := n.proc.ended(t); code != 1 || !n.said("another data directory") {
			t.Fatalf("node %d with an emptied disk ended with %d: %s", n.id, code, n.proc.log)
		}
		n.proc = nil
	}
	back := func(n *node) {
		if err := os.RemoveAll(n.dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(n.dir+".old", n.dir); err != nil {
			t.Fatal(err)
		}
		n.start()
	}
	one := c.node(w.leader(0, 0).leader)
	empty(one)
	refused(one)
	l.goesOn(20)
	back(one)
	c.ready()
	l.check()
	// Two of three: if they were believed, they would be a majority that knows of nothing.
	one, two, third := c.nodes[0], c.nodes[1], c.nodes[2]
	one.kill()
	empty(two)
	one.proc = nil
	if err := os.Rename(one.dir, one.dir+".old"); err != nil {
		t.Fatal(err)
	}
	one.start()
	refused(one)
	refused(two)
	if ok, _ := third.ready(); ok {
		t.Error("the only node that is left says it is ready")
	}
	back(one)
	back(two)
	c.ready()
	l.goesOn(10)
	w.finish()
	l.finish()
}

// TestUnreachableMajority leaves one of three nodes. It answers what it knows, says that it is not ready, and why, and refuses to
// write in a way that clients try again.
func TestUnreachableMajority(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, impatient)
	l := startLoad(c)
	l.goesOn(10)
	l.stop()
	l.wg.Wait()
	last := c.nodes[2]
	c.nodes[0].kill()
	c.nodes[1].kill()
	for _, life := range []string{"which was there before", "which is started without them"} {
		reason := ""
		until(t, "node 3, "+life+", to say that it is not ready", func() (ok bool) {
			ok, reason = last.ready()
			return !ok && strings.Contains(reason, "majority")
		})
		t.Logf("node 3, %s: %s", life, reason)
		s := last.sendStray(0, time.Second)
		if err := s.settle(l); err == nil || !kerr.IsRetriable(err) {
			t.Errorf("node 3, %s: a produce is answered with %v", life, err)
		}
		meta := last.metadata(topic)
		if len(meta.Topics) != 1 || meta.Topics[0].ErrorCode != 0 && meta.Topics[0].ErrorCode != kerr.LeaderNotAvailable.Code {
			t.Errorf("node 3, %s: the topic is %+v", life, meta.Topics)
		}
		last.kill()
		last.start()
	}
	c.nodes[0].start()
	c.ready() // two of three are one cluster again
	l.check()
}

// createOn makes a topic on a node, and on no other: a client would choose one, perhaps one that is cut off.
func (n *node) createOn(name string) {
	n.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, 1, 3
	req.Topics, req.TimeoutMillis = append(req.Topics, t), int32(patience.Milliseconds())
	if code := n.ask(req).(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != 0 {
		n.t.Fatalf("node %d: make topic %s: %v", n.id, name, kerr.ErrorForCode(code))
	}
}

// deleteOn deletes a topic.
func (n *node) deleteOn(name string) {
	n.t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = &name
	req.Topics, req.TopicNames, req.TimeoutMillis = append(req.Topics, t), []string{name}, int32(patience.Milliseconds())
	if code := n.ask(req).(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode; code != 0 {
		n.t.Fatalf("node %d: delete topic %s: %v", n.id, name, kerr.ErrorForCode(code))
	}
}

// ask sends this node a request, and no other.
func (n *node) ask(req kmsg.Request) kmsg.Response {
	n.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.kafka))
	if err != nil {
		n.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := cl.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		n.t.Fatalf("node %d: %s: %v", n.id, kmsg.NameForKey(req.Key()), err)
	}
	return resp
}

// agree waits until all nodes tell clients the same, with a topic in it.
func (c *cluster) agree(topic string) {
	c.t.Helper()
	until(c.t, "all nodes to know "+topic+" and the same of everything", func() bool {
		first := c.nodes[0].catalog()
		for _, n := range c.nodes[1:] {
			if n.catalog() != first {
				return false
			}
		}
		return strings.Contains(first, topic)
	})
}

// catalog is what a node tells of topics: names, ids, and where each partition is.
func (n *node) catalog() string {
	var list []string
	for _, t := range n.metadata().Topics {
		line := fmt.Sprintf("%s %x", *t.Topic, t.TopicID)
		slices.SortFunc(t.Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return int(a.Partition - b.Partition) })
		for _, p := range t.Partitions {
			line += fmt.Sprint(" ", p.Partition, p.Replicas)
		}
		list = append(list, line)
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// metadata asks a node for topics, all if none is named.
func (n *node) metadata(topics ...string) *kmsg.MetadataResponse {
	n.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	return n.ask(req).(*kmsg.MetadataResponse)
}
