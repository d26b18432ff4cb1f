package probe

import (
	"context"
	"time"

	"ackline/loadgen/cluster"
)

// Ends waits until the topic's partitions end at or behind so many records, and returns when. timeout is that of a question.
func Ends(ctx context.Context, addr, topic string, records int64, timeout time.Duration) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, FirstAckLimit)
	defer cancel()
	c, err := cluster.New([]string{addr}, timeout)
	if err != nil {
		return time.Time{}, err
	}
	for {
		t, err := c.Led(ctx, topic)
		if err != nil {
			return time.Time{}, err
		}
		ends, err := c.EndOffsets(ctx, t)
		if err != nil {
			return time.Time{}, err
		}
		var sum int64
		for _, e := range ends {
			sum += e
		}
		if sum >= records {
			return time.Now(), nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		case <-time.After(FirstAckPoll):
		}
	}
}
