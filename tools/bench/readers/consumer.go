package readers

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/loadgen/client/sock"
	"ackline/loadgen/pace"
)

// consumer waits at the end of the partition, in a rack.
type consumer struct {
	region string
	client *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex      // guards what follows
	at    map[int64]int64 // when each offset was in hand (CLOCK_MONOTONIC, ns)
	bytes map[int32]int   // of answers to Fetch, by the node that gave them
	err   error
}

// fetchWait is how long a node may wait for a record.
const fetchWait = 500 * time.Millisecond

// consume begins to read from the partition's beginning: nothing is in it yet.
func consume(brokers []string, region string, way sock.Way) (*consumer, error) {
	c := &consumer{region: region, done: make(chan struct{}), at: map[int64]int64{}, bytes: map[int32]int{}}
	var err error
	c.client, err = kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.Rack(region), kgo.WithHooks(c), kgo.FetchMaxWait(fetchWait),
		kgo.Dialer(func(ctx context.Context, _, addr string) (net.Conn, error) { return way.Conn(ctx, addr) }),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go c.read(ctx)
	return c, nil
}

func (c *consumer) read(ctx context.Context) {
	defer close(c.done)
	for ctx.Err() == nil {
		f := c.client.PollFetches(ctx)
		now := pace.Now()
		c.mu.Lock()
		f.EachRecord(func(r *kgo.Record) { c.at[r.Offset] = now })
		if err := f.Err(); err != nil && ctx.Err() == nil {
			c.err = errors.Join(c.err, err)
		}
		c.mu.Unlock()
	}
}

// OnBrokerRead counts what each node answers.
func (c *consumer) OnBrokerRead(meta kgo.BrokerMetadata, key int16, bytes int, _, _ time.Duration, _ error) {
	if key == int16(kmsg.Fetch) {
		c.mu.Lock()
		c.bytes[meta.NodeID] += bytes
		c.mu.Unlock()
	}
}

// served is the node that gave the most bytes, and its share of them; 0 is none.
func (c *consumer) served() (node int, share float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := 0
	for n, b := range c.bytes {
		if all += b; node == 0 || b > c.bytes[int32(node)] {
			node = int(n)
		}
	}
	return node, float64(c.bytes[int32(node)]) / float64(max(all, 1))
}

// inHand is when an offset was in hand, 0 = not yet.
func (c *consumer) inHand(offset int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at[offset]
}

// problem is what went wrong while it read.
func (c *consumer) problem() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *consumer) close() {
	c.cancel()
	<-c.done
	c.client.Close()
}
