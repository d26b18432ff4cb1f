package consume

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/loadgen/client"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
)

// Tail is a consumer that waits at the end of a topic, one locked thread per partition: its long poll is answered when a
// record is committed, and the record is in hand when its bytes are on this thread.
type Tail struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu  sync.Mutex // guards err
	err error
}

// tailWaitMS is the long poll's limit.
const tailWaitMS = 500

// StartTail consumes every partition of topic from the given offsets. got is called with every record's value and the time
// (CLOCK_MONOTONIC, ns) at which it was in hand: for one partition in order, for several from several goroutines.
func StartTail(ctx context.Context, cl *cluster.Cluster, topic cluster.Topic, from map[int32]int64, got func(value []byte, inHand int64)) *Tail {
	ctx, cancel := context.WithCancel(ctx)
	t := &Tail{cancel: cancel}
	for _, p := range topic.Partitions {
		t.wg.Add(1)
		go func() {
			defer t.wg.Done()
			if err := follow(ctx, cl, topic.Name, p.ID, from[p.ID], got); err != nil && ctx.Err() == nil {
				t.mu.Lock()
				t.err = errors.Join(t.err, fmt.Errorf("consumer of %s: %w", topic.Topics().Name(p.ID), err))
				t.mu.Unlock()
			}
		}()
	}
	return t
}

// Stop ends the consumer and returns what went wrong while it ran.
func (t *Tail) Stop() error {
	t.cancel()
	t.wg.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

func follow(ctx context.Context, cl *cluster.Cluster, topic string, partition int32, next int64, got func([]byte, int64)) error {
	release, err := pace.LockThread()
	if err != nil {
		return err
	}
	defer release()
	r := client.NewWaitingReader(cl, topic, tailWaitMS)
	defer r.Close()
	unpack := kgo.DefaultDecompressor()
	for ctx.Err() == nil {
		batches, _, err := r.Read(ctx, partition, next)
		inHand := pace.Now()
		if err != nil {
			return err
		}
		for len(batches) > 0 {
			b, rest, err := frame.NextBatch(batches)
			if errors.Is(err, frame.ErrTruncated) {
				break
			}
			if err != nil {
				return err
			}
			if b, err = b.Plain(unpack); err != nil {
				return err
			}
			err = b.Each(func(r frame.Record) error {
				if r.Offset >= next {
					got(r.Value, inHand)
				}
				return nil
			})
			if err != nil {
				return err
			}
			next, batches = b.Base+int64(b.LastDelta)+1, rest
		}
	}
	return nil
}
