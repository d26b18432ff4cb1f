package failover

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
	"ackline/tools/bench/record"
)

const topic = "probed"

// fake are nodes in memory. away is how long nobody leads after one is gone.
type fake struct {
	*brokertest.Cluster
	away time.Duration
	stay bool // nobody takes over

	mu    sync.Mutex // guards what follows
	lead  int
	calls []string
	moved sync.WaitGroup
}

func (f *fake) note(what string, i int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprint(what, " ", i))
}

// takeOver makes the next node the leader after a time.
func (f *fake) takeOver() {
	if f.stay {
		return
	}
	f.moved.Add(1)
	time.AfterFunc(f.away, func() {
		defer f.moved.Done()
		f.mu.Lock()
		f.lead = (f.lead + 1) % 3
		f.Move(topic, 0, int32(f.lead+1))
		f.mu.Unlock()
		f.Break(brokertest.Faults{})
	})
}

func (f *fake) Leader(context.Context) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lead, nil
}
func (f *fake) Led(context.Context, int) (int, error) { return 7, nil }
func (f *fake) Kill(i int) {
	f.note("kill", i)
	f.Cluster.Kill(int32(i + 1))
	f.takeOver()
}
func (f *fake) Stop(i int) error {
	f.note("stop", i)
	f.Cluster.Kill(int32(i + 1))
	f.takeOver()
	return nil
}
func (f *fake) Harm(s record.IncidentSort, i int) (func() error, error) {
	f.note(string(s), i)
	f.Break(brokertest.Faults{Mute: true})
	f.takeOver()
	return func() error { f.note("resume", i); return nil }, nil
}
func (f *fake) Start(_ context.Context, i int) error {
	f.note("start", i)
	f.Restart(int32(i + 1))
	return nil
}
func (f *fake) Await(context.Context, int) error { return nil }

func setup(t *testing.T, f *fake) Config {
	t.Helper()
	f.Cluster = brokertest.Start(t, 3)
	f.Create(topic, 1)
	p, err := probe.Open(context.Background(), probe.Config{Brokers: f.Addrs(), Topic: topic, RecordBytes: 100, RatePerSecond: 1000,
		Timeout: 20 * time.Second, RunID: 3, Client: probe.Tuned})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.moved.Wait()
		p.Close()
	})
	return Config{Nodes: f, Tuned: p, Limit: 10 * time.Second, Quiet: 50 * time.Millisecond, Rest: 40 * time.Millisecond, PauseFor: 30 * time.Millisecond,
		Seed: 5, Step: func(string, ...any) {}}
}

// Every incident's gap is about as long as nobody led, and nothing that was acknowledged is lost or there twice.
func TestGapsAreAsLongAsNobodyLeads(t *testing.T) {
	f := &fake{away: 120 * time.Millisecond}
	c := setup(t, f)
	c.Counts = map[record.IncidentSort]int{record.Kill: 2, record.Pause: 1, record.Cut: 1, record.Stop: 2}
	c.Apart = 200 * time.Millisecond
	began := time.Now()
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 6*(f.away+c.Apart) {
		t.Errorf("six incidents in %v: not %v apart", took, c.Apart)
	}
	sorts := map[record.IncidentSort]int{}
	for i, x := range r.Incidents {
		sorts[x.Sort]++
		// An acknowledgement that is read late makes its gap shorter, by no more than the longest gap without an incident.
		if x.GapMs < 117-float64(r.Usual)/1e6 || x.Led != 7 || x.Node != 1+i%3 || x.BackMs <= 0 {
			t.Errorf("incident %d: %+v", i, x)
		}
	}
	if len(r.Incidents) != 6 || sorts[record.Kill] != 2 || sorts[record.Pause] != 1 || sorts[record.Cut] != 1 || sorts[record.Stop] != 2 || r.Failed != 0 || r.Usual <= 0 {
		t.Errorf("%+v", r)
	}
	timelineFits(t, r)
	starts := slices.DeleteFunc(slices.Clone(f.calls), func(s string) bool { return !strings.HasPrefix(s, "start") })
	resumed := slices.DeleteFunc(slices.Clone(f.calls), func(s string) bool { return !strings.HasPrefix(s, "resume") })
	if len(starts) != 4 || len(resumed) != 2 {
		t.Errorf("calls %v", f.calls)
	}
	found, err := c.Tuned.Verify(context.Background())
	if err != nil || !found.Passed() || found.Acked < 500 || found.Unacked != 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

// An incident may happen to another node than the one that leads.
func TestWhom(t *testing.T) {
	f := &fake{away: 20 * time.Millisecond}
	c := setup(t, f)
	c.Counts = map[record.IncidentSort]int{record.OtherRegion: 1}
	c.Whom = func(s record.IncidentSort, lead int) int {
		if s != record.OtherRegion {
			t.Errorf("asked about %s", s)
		}
		return lead + 2
	}
	r, err := Run(context.Background(), c)
	if err != nil || len(r.Incidents) != 1 || r.Incidents[0].Node != 3 {
		t.Fatalf("%+v, %v, want an incident of node 3", r, err)
	}
	if want := []string{"other-region 2", "resume 2"}; !slices.Equal(f.calls, want) {
		t.Errorf("calls %v, want %v", f.calls, want)
	}
}

// timelineFits wants each incident as a span, in which somebody waited for about as long as the gap is.
func timelineFits(t *testing.T, r *Result) {
	t.Helper()
	if len(r.Timeline.Spans) != len(r.Incidents) {
		t.Fatalf("%d spans for %d incidents", len(r.Timeline.Spans), len(r.Incidents))
	}
	for i, s := range r.Timeline.Spans {
		x := r.Incidents[i]
		if want := fmt.Sprintf("%s of node %d", x.Sort, x.Node); s.What != want || s.ToMs-s.FromMs < x.BackMs-2 || s.ToMs-s.FromMs > x.BackMs+2 || s.ToMs > r.Timeline.LengthMs() {
			t.Errorf("span %d is %+v of %v ms, want %s for %v ms", i, s, r.Timeline.LengthMs(), want, x.BackMs)
		}
		if us := s.WorstUs; us < 117_000-float64(r.Usual)/1e3 {
			t.Errorf("in span %d the slowest record took %v µs, and nobody led for 120 ms", i, us)
		}
	}
}

// A cluster that does not recover ends the run, and a paused node is resumed all the same.
func TestNobodyTakesOver(t *testing.T) {
	f := &fake{stay: true}
	c := setup(t, f)
	c.Counts, c.Limit = map[record.IncidentSort]int{record.Pause: 1}, 200*time.Millisecond
	if _, err := Run(context.Background(), c); err == nil || strings.Count(err.Error(), "nothing was acknowledged for 200ms") != 1 || !strings.Contains(err.Error(), "incident 1 of 1, pause") {
		t.Errorf("got %v", err)
	}
	if !slices.Contains(f.calls, "resume 0") {
		t.Errorf("calls %v", f.calls)
	}
}

func TestInterrupted(t *testing.T) {
	f := &fake{away: time.Millisecond}
	c := setup(t, f)
	c.Counts = map[record.IncidentSort]int{record.Kill: 50}
	ctx, cancel := context.WithCancelCause(context.Background())
	told := errors.New("^C")
	c.Step = func(string, ...any) { cancel(told) }
	if _, err := Run(ctx, c); !errors.Is(err, told) {
		t.Errorf("got %v, want the cause", err)
	}
}
