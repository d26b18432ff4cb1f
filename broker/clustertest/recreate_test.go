package clustertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestRecreatedTopicHasNoOldBytes deletes and recreates a topic twice while a node is down that holds the first, and looks at the
// last one through every majority, so that every node leads it or is caught up by who does.
func TestRecreatedTopicHasNoOldBytes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, impatient)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	write := func(what string, count int) {
		t.Helper()
		w := c.client(c.listen(what), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()),
			kgo.UnknownTopicRetries(-1)) // a node that lags behind knows of the deletion and not yet of what came after
		defer w.Close()
		for i := range count {
			if err := w.ProduceSync(ctx, &kgo.Record{Topic: "again", Value: fmt.Appendf(nil, "%s %d", what, i)}).FirstErr(); err != nil {
				t.Fatalf("%s %d: %v", what, i, err)
			}
		}
	}
	one := c.nodes[0]
	one.createOn("again")
	write("first", 30)
	c.nodes[2].kill()
	one.deleteOn("again")
	one.createOn("again")
	write("second", 20)
	one.deleteOn("again")
	one.createOn("again")
	write("third", 10)
	c.nodes[2].start()
	c.ready()
	for _, n := range c.nodes {
		n.stop()
		c.ready()
		r := c.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"again": {0: kgo.NewOffset().AtStart()}}), kgo.FetchMaxWait(50*time.Millisecond))
		var got []string
		for len(got) < 10 {
			fetches := r.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatalf("without node %d, behind %d records: %v", n.id, len(got), err)
			}
			fetches.EachRecord(func(kr *kgo.Record) { got = append(got, fmt.Sprintf("%d: %s", kr.Offset, kr.Value)) })
		}
		r.Close()
		for i, v := range got {
			if want := fmt.Sprintf("%d: third %d", i, i); v != want {
				t.Fatalf("without node %d: record %q where %q is right", n.id, v, want)
			}
		}
		n.start()
		c.ready()
	}
}
