// Package warm runs load until its medians stand still: what comes before is no measurement.
package warm

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ackline/loadgen/result"
)

// Up runs windows of load until their medians, in µs, settle, or the limit is over, in which case the reason is returned.
func Up(ctx context.Context, window, limit time.Duration, p50 func(ctx context.Context, window time.Duration) (float64, error)) (reason string, err error) {
	var p50s []float64
	for spent := time.Duration(0); spent+window <= limit; spent += window {
		v, err := p50(ctx, window)
		if err != nil {
			return "", err
		}
		p50s = append(p50s, v)
		if result.Settled(p50s) {
			return "", nil
		}
	}
	last := p50s[max(0, len(p50s)-5):]
	return fmt.Sprintf("did not settle within %v: the medians of the last windows of %v are %.1f to %.1f µs, want five that agree within 5%%, or two times five whose medians do, without a trend",
		limit, window, slices.Min(last), slices.Max(last)), nil
}
