package catchup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
	"ackline/tools/bench/probe"
)

const topic = "probed"

// fake are nodes in memory, of which one leads and another lacks entries that come a few with each question.
type fake struct {
	*brokertest.Cluster
	perLook int64

	mu     sync.Mutex // guards what follows
	lead   int
	behind int64
	calls  []string
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *fake) Leader(context.Context) (int, error) { return f.lead, nil }
func (f *fake) Kill(i int) {
	f.note("kill %d", i)
	f.Cluster.Kill(int32(i + 1))
}

func (f *fake) Start(_ context.Context, i int) error {
	f.note("start %d", i)
	f.Restart(int32(i + 1))
	return nil
}

func (f *fake) Settle(_ context.Context, but int) error {
	f.note("settle but %d", but)
	return nil
}

func (f *fake) Behind(_ context.Context, i int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i != f.lead {
		return 0, fmt.Errorf("node %d was asked, %d leads", i, f.lead)
	}
	f.behind = max(0, f.behind-f.perLook)
	return f.behind, nil
}

func setup(t *testing.T, f *fake) Config {
	t.Helper()
	f.Cluster = brokertest.Start(t, 3)
	f.Create(topic, 1)
	p, err := probe.Open(context.Background(), probe.Config{Brokers: f.Addrs(), Topic: topic, RecordBytes: 100, RatePerSecond: 1000,
		Timeout: 20 * time.Second, RunID: 3, Client: probe.Plain})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return Config{Nodes: f, Count: 3, Probe: p, Quiet: 100 * time.Millisecond, Limit: 10 * time.Second, Near: 5, Step: func(string, ...any) {},
		Write: func(context.Context) (int64, error) {
			f.note("write")
			f.behind = 100
			return 1 << 20, nil
		}}
}

// A node that follows goes, lacks what is then written, and has caught up when hardly anything is missing, not sooner; the probe goes on.
func TestCatchesUp(t *testing.T) {
	f := &fake{perLook: 10}
	c := setup(t, f)
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"kill 1", "write", "settle but 1", "start 1"}; !slices.Equal(f.calls, want) {
		t.Errorf("calls %q, want %q", f.calls, want)
	}
	if r.Bytes != 1<<20 || r.Behind != 90 || f.behind != 0 || r.Took < 9*poll || r.Listen > r.Took || r.Moved || r.Failed != 0 {
		t.Errorf("%+v with %d entries missing in the end", r, f.behind)
	}
	if r.Before <= 0 || r.During <= 0 || r.During > time.Minute {
		t.Errorf("p99 before and during: %v and %v", r.Before, r.During)
	}
	if s := r.Timeline.Spans; len(s) != 2 || s[0].What != "node 2 is away" || s[1].What != "node 2 catches up" || s[0].ToMs != s[1].FromMs || s[0].FromMs < 95 ||
		s[1].ToMs-s[1].FromMs < float64(r.Took.Milliseconds())-2 || s[1].WorstUs <= 0 || r.Timeline.P50Us[0] <= 0 {
		t.Errorf("timeline %+v, want the node away, then coming back for %v, with samples before and after", r.Timeline, r.Took)
	}
	found, err := c.Probe.Verify(context.Background())
	if err != nil || !found.Passed() || found.Acked < 500 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestNeverCatchesUp(t *testing.T) {
	f := &fake{perLook: 0}
	c := setup(t, f)
	c.Limit = 100 * time.Millisecond
	if _, err := Run(context.Background(), c); err == nil || !strings.Contains(err.Error(), "after 100ms node 2 still lacks 100 entries of 100") {
		t.Errorf("got %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	f := &fake{perLook: 0}
	c := setup(t, f)
	ctx, cancel := context.WithCancelCause(context.Background())
	told := errors.New("^C")
	c.Step = func(s string, _ ...any) {
		if strings.Contains(s, "returns") {
			cancel(told)
		}
	}
	if _, err := Run(ctx, c); !errors.Is(err, told) || strings.Count(err.Error(), "^C") != 1 {
		t.Errorf("got %v, want the cause, once", err)
	}
}
