package warm

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestUp(t *testing.T) {
	feed := func(v ...float64) func(context.Context, time.Duration) (float64, error) {
		return func(context.Context, time.Duration) (float64, error) {
			x := v[0]
			if len(v) > 1 {
				v = v[1:]
			}
			return x, nil
		}
	}
	if reason, err := Up(context.Background(), time.Second, 30*time.Second, feed(500, 300, 200, 101, 100, 101)); reason != "" || err != nil {
		t.Errorf("windows that settle: %q, %v", reason, err)
	}
	n := 0
	rising := func(context.Context, time.Duration) (float64, error) { n++; return 100 * (1 + float64(n)/10), nil }
	reason, err := Up(context.Background(), time.Second, 30*time.Second, rising)
	if err != nil || !strings.Contains(reason, "did not settle within 30s") || !strings.Contains(reason, "360.0 to 400.0 µs") || n != 30 {
		t.Errorf("windows that keep rising, %d of them: %q, %v", n, reason, err)
	}
	broken := errors.New("refused")
	if _, err := Up(context.Background(), 1, 10, func(context.Context, time.Duration) (float64, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("a window that fails: %v", err)
	}
}
