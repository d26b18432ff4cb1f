package consume

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/loadgen/client"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/hist"
	"ackline/loadgen/pace"
	"ackline/loadgen/place"
	"ackline/loadgen/result"
)

// drained is what one consumer had.
type drained struct {
	records, values, wire int64
	slowest               time.Duration
	fetch                 *hist.Hist
	ended                 int64 // CLOCK_MONOTONIC, ns: the last record was in hand
	err                   error
}

// Drain consumes every partition of a topic from the given offsets to where it ends now, with so many consumers, each of which takes its share of the
// partitions, one after the other; 0: one for each. What goes wrong with them stands in the result; the error says that nothing was begun.
func Drain(ctx context.Context, cl *cluster.Cluster, topic cluster.Topic, start map[int32]int64, consumers int) (*result.Drain, error) {
	ends, err := cl.EndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	if consumers == 0 {
		consumers = len(topic.Partitions)
	}
	consumers = min(consumers, len(topic.Partitions))
	d := &result.Drain{Consumers: consumers, Partitions: len(topic.Partitions)}
	for _, p := range topic.Partitions {
		d.Backlog += ends[p.ID] - start[p.ID]
	}
	shares := make([]drained, consumers)
	began := pace.Now()
	var wg sync.WaitGroup
	for i := range shares {
		wg.Go(func() {
			x := &shares[i]
			x.fetch = hist.NewLatency()
			release, err := pace.LockThread()
			if err != nil {
				x.err = err
				return
			}
			defer release()
			for at := i; at < len(topic.Partitions) && x.err == nil; at += consumers {
				id := topic.Partitions[at].ID
				x.err = consume(ctx, cl, topic.Name, id, start[id], ends[id], x)
			}
		})
	}
	wg.Wait()
	all, last := hist.NewLatency(), began
	for i := range shares {
		x := &shares[i]
		d.Records, d.ValueBytes, d.WireBytes = d.Records+x.records, d.ValueBytes+x.values, d.WireBytes+x.wire
		d.Slowest, last = max(d.Slowest, x.slowest.Seconds()), max(last, x.ended)
		all.Merge(x.fetch)
		if x.err != nil && d.Error == "" {
			d.Error = x.err.Error()
		}
	}
	d.Seconds = float64(last-began) / 1e9
	d.Fetch, d.Histogram = result.Summarize(all, cl.Timeout().Nanoseconds()), all
	return d, nil
}

// consume reads a partition from one offset to another and does what any consumer has to: look at the CRCs, decompress, take the records apart.
func consume(ctx context.Context, cl *cluster.Cluster, topic string, partition int32, next, end int64, x *drained) error {
	r, name := client.NewReader(cl, topic), place.Parse(topic).Name(partition)
	defer r.Close()
	unpack, began := kgo.DefaultDecompressor(), pace.Now()
	quiet := began
	for next < end {
		asked := pace.Now()
		batches, _, err := r.Read(ctx, partition, next)
		if err != nil {
			return fmt.Errorf("%s at offset %d: %w", name, next, err)
		}
		if len(batches) > 0 {
			x.fetch.Record(pace.Now() - asked)
		}
		before := next
		for len(batches) > 0 {
			b, rest, err := frame.NextBatch(batches)
			if errors.Is(err, frame.ErrTruncated) {
				break
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			x.wire += int64(len(batches) - len(rest))
			if b, err = b.Plain(unpack); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			err = b.Each(func(rec frame.Record) error {
				if rec.Offset >= next && rec.Offset < end {
					x.records++
					x.values += int64(len(rec.Value))
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			next, batches = max(next, b.Base+int64(b.LastDelta)+1), rest
		}
		if x.ended = pace.Now(); next > before {
			quiet = x.ended
		} else if x.ended-quiet > cl.Timeout().Nanoseconds() {
			return fmt.Errorf("%s: nothing at offset %d of %d for %v", name, next, end, cl.Timeout())
		}
	}
	x.slowest = max(x.slowest, time.Duration(x.ended-began))
	return nil
}
