package clustertest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// watch asks every node again and again for the high watermark and leader epoch of each partition that it leads.
//
// A former leader that does not know it yet may answer with an old epoch; its watermark is old too, and that is no mistake. So
// an answer must not lie below what the same node said before, and if its epoch is as new as the newest that was known when
// the question was sent, its watermark must not lie below the highest known then.
type watch struct {
	c    *cluster
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
	each map[int]context.CancelFunc // ends the questions to one node; used by the test's goroutine

	mu      sync.Mutex // guards what follows
	all     [partitions]sight
	by      map[int]*[partitions]sight
	answers int
	errs    []error
}

// sight is what was seen of a partition.
type sight struct {
	epoch  int32
	high   int64
	leader int // who said it
}

func startWatch(c *cluster) *watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{c: c, ctx: ctx, stop: cancel, each: map[int]context.CancelFunc{}, by: map[int]*[partitions]sight{}}
	for _, n := range c.nodes {
		w.add(n)
	}
	c.t.Cleanup(cancel)
	return w
}

// add asks one more node.
func (w *watch) add(n *node) {
	w.c.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.kafka), kgo.DialTimeout(500*time.Millisecond))
	if err != nil {
		w.c.t.Fatal(err)
	}
	w.mu.Lock()
	w.by[n.id] = new([partitions]sight)
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(w.ctx)
	w.each[n.id] = cancel
	w.wg.Add(1)
	go func() {
		defer w.wg.Done()
		defer cl.Close()
		w.follow(ctx, cl, n.id)
	}()
}

// drop asks a node no more: somebody else may listen at its address one day.
func (w *watch) drop(n *node) { w.each[n.id]() }

func (w *watch) follow(ctx context.Context, cl *kgo.Client, node int) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		w.ask(ctx, cl, node)
	}
}

func (w *watch) ask(ctx context.Context, cl *kgo.Client, node int) {
	req := kmsg.NewPtrListOffsetsRequest()
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for p := range partitions {
		q := kmsg.NewListOffsetsRequestTopicPartition()
		q.Partition, q.Timestamp, q.CurrentLeaderEpoch = int32(p), -1, -1
		t.Partitions = append(t.Partitions, q)
	}
	req.ReplicaID, req.Topics = -1, append(req.Topics, t)
	w.mu.Lock()
	before := w.all
	w.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	resp, err := cl.SeedBrokers()[0].Request(limited, req)
	if err != nil {
		return // it is dead
	}
	for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 {
				w.see(int(p.Partition), before[p.Partition], sight{p.LeaderEpoch, p.Offset, node})
			}
		}
	}
}

func (w *watch) see(p int, before, s sight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers++
	own := &w.by[s.leader][p]
	if s.epoch < own.epoch || s.high < own.high || s.epoch >= before.epoch && s.high < before.high {
		w.errs = append(w.errs, fmt.Errorf("partition %d went back: %+v, after %+v of the same node and %+v of any", p, s, *own, before))
	}
	*own = s
	if s.epoch > w.all[p].epoch || s.epoch == w.all[p].epoch && s.high > w.all[p].high {
		if s.epoch == w.all[p].epoch && w.all[p].leader != s.leader {
			w.errs = append(w.errs, fmt.Errorf("partition %d: nodes %d and %d lead it in epoch %d", p, w.all[p].leader, s.leader, s.epoch))
		}
		w.all[p] = s
	}
}

// leader waits until a partition is led by a node that is running, in an epoch after the given one.
func (w *watch) leader(p int, after int32) (s sight) {
	w.c.t.Helper()
	until(w.c.t, fmt.Sprintf("a leader of partition %d after epoch %d", p, after), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		s = w.all[p]
		return s.epoch > after && w.c.node(s.leader).proc != nil
	})
	return s
}

// led are the partitions that a node led last.
func (w *watch) led(node int) (list []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, s := range w.all {
		if s.leader == node {
			list = append(list, p)
		}
	}
	return list
}

// finish ends the watch and says what it saw.
func (w *watch) finish() {
	w.c.t.Helper()
	w.stop()
	w.wg.Wait()
	if len(w.errs) > 0 {
		w.c.t.Fatalf("%d errors, the first: %v", len(w.errs), w.errs[0])
	}
	if w.answers == 0 {
		w.c.t.Fatal("no node ever said how far it is")
	}
}
