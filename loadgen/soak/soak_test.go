package soak

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/check"
)

// patience is what only a hanging test exceeds, however little of the machine it gets.
const patience = 2 * time.Minute

// fast is a soak that a test can wait for.
func fast(b *brokertest.Cluster, d time.Duration) Config {
	return Config{Brokers: b.Addrs(), Topic: "t", Existing: true, RatePerSecond: 400, ValueBytes: 100, For: d, Timeout: patience, Patience: 200 * time.Millisecond,
		SaveEvery: 20 * time.Millisecond}
}

// heard keeps what a soak says.
type heard struct {
	mu   sync.Mutex // guards text
	text strings.Builder
	more *sync.Cond
}

func listen() *heard {
	h := &heard{}
	h.more = sync.NewCond(&h.mu)
	return h
}

func (h *heard) events() Events {
	return Events{Say: func(text string) {
		h.mu.Lock()
		h.text.WriteString(text + "\n")
		h.mu.Unlock()
		h.more.Broadcast()
	}}
}

func (h *heard) all() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// await waits until something was said.
func (h *heard) await(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for !strings.Contains(h.text.String(), what) {
		h.more.Wait()
	}
}

func soakOf(t *testing.T, cfg Config) (*Outcome, string) {
	t.Helper()
	h := listen()
	out, err := Run(context.Background(), cfg, h.events())
	if err != nil {
		t.Fatalf("%v\n%s", err, h.all())
	}
	return out, h.all()
}

func TestHonestClusterIsValid(t *testing.T) {
	b := brokertest.Start(t, 2)
	cfg := fast(b, 500*time.Millisecond)
	cfg.Existing, cfg.Partitions = false, 3
	var reports int
	cfg.ReportEvery = 50 * time.Millisecond
	out, err := Run(context.Background(), cfg, Events{Report: func(Status) { reports++ }})
	if err != nil {
		t.Fatal(err)
	}
	r := out.Check
	if !out.Valid() || r.Acked < 20 || r.Read != r.Acked || r.Unacked+r.Foreign != 0 || out.Unread != 0 || out.Ended != "" || reports == 0 {
		t.Errorf("%+v, %d reports", out, reports)
	}
	if b.Has("t") || !out.Deleted {
		t.Error("the soak's own topic is still there")
	}
}

// Each way of breaking a promise is found, and under its own name.
func TestBrokenPromisesAreFound(t *testing.T) {
	for _, c := range []struct {
		name string
		f    brokertest.Faults
		want check.Report
		says string
	}{
		{"lost", brokertest.Faults{LoseBatch: 20}, check.Report{Lost: 1}, "not there"},
		{"repeated", brokertest.Faults{RepeatBatch: 20}, check.Report{Duplicated: 1}, "there again"},
		{"swapped", brokertest.Faults{SwapBatch: 20}, check.Report{Reordered: 1}, "after a later one"},
		{"moved", brokertest.Faults{MovedBatch: 20}, check.Report{WrongOffset: 1}, "acknowledged at partition 0 offset 18, found at partition 0 offset 19"},
		{"changed", brokertest.Faults{CorruptBatch: 20}, check.Report{WrongBytes: 1}, "of the value is"},
	} {
		b := brokertest.Start(t, 1)
		b.Create("t", 1)
		b.Break(c.f)
		out, said := soakOf(t, fast(b, 500*time.Millisecond))
		r := out.Check
		got := check.Report{Lost: r.Lost, Duplicated: r.Duplicated, Reordered: r.Reordered, WrongBytes: r.WrongBytes, WrongOffset: r.WrongOffset}
		if r.Acked < 25 {
			t.Fatalf("%s: only %d records", c.name, r.Acked)
		}
		want := c.want
		if out.Valid() || !out.Complete || got.Faults() != want.Faults() || got.Lost != want.Lost || got.Duplicated != want.Duplicated ||
			got.Reordered != want.Reordered || got.WrongBytes != want.WrongBytes || got.WrongOffset != want.WrongOffset {
			t.Errorf("%s: %+v", c.name, r)
		}
		if !strings.Contains(said, "FOUND: ") || !strings.Contains(said, c.says) {
			t.Errorf("%s: it was not told at once: %s", c.name, said)
		}
	}
}

func TestUnreadableBatchEndsIt(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("t", 1)
	b.Break(brokertest.Faults{BadCRCBatch: 20})
	out, _ := soakOf(t, fast(b, time.Hour))
	if out.Complete || !out.Failed() || out.Check.WrongBytes != 1 || !strings.Contains(out.Ended, "CRC-32C") {
		t.Errorf("%+v", out)
	}
}

// Records that were read back already and are taken away again are missed.
func TestTruncatedLogIsFound(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("t", 1)
	cfg := fast(b, time.Hour)
	cfg.State = filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		b.AwaitStored("t", 0, 30)
		cancel()
	}()
	if _, err := Run(ctx, cfg, Events{}); err != nil {
		t.Fatal(err)
	}
	st, err := load(cfg.State)
	if err != nil {
		t.Fatal(err)
	}
	b.Truncate("t", 0, st.Positions[0]-4)
	b.Break(brokertest.Faults{Code: 7}) // nothing new hides it
	out, _ := soakOf(t, cfg)
	if out.Complete || !out.Failed() || out.Check.Lost < 4 || !strings.Contains(out.Ended, "ends at offset") {
		t.Errorf("%+v", out)
	}
}

// A broker that acknowledges and keeps nothing is found out while more is written, and what it owes is counted.
func TestNothingIsKept(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("t", 1)
	b.Break(brokertest.Faults{Blind: true})
	out, _ := soakOf(t, fast(b, time.Hour))
	if r := out.Check; out.Complete || !out.Failed() || r.Lost != r.Acked || r.Lost < 20 || !strings.Contains(out.Ended, "is not there") {
		t.Errorf("%+v", out)
	}
}

// Others may write to the topic, before and meanwhile.
func TestExistingTopic(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("t", 2)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if out, err := Run(context.Background(), fast(b, 300*time.Millisecond), Events{}); err != nil || !out.Valid() || out.Check.Read != out.Check.Acked {
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
	wg.Wait()
	if !b.Has("t") {
		t.Error("a topic that was there before was deleted")
	}
}

// A broker that is gone for longer than a record may stay unanswered costs an outage and a new producer, and no record.
func TestBrokerRestarts(t *testing.T) {
	b := brokertest.Start(t, 2)
	b.Create("t", 2)
	cfg := fast(b, time.Hour)
	cfg.Timeout = 300 * time.Millisecond
	h := listen()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan *Outcome)
	go func() {
		out, err := Run(ctx, cfg, h.events())
		if err != nil {
			t.Error(err)
		}
		done <- out
	}()
	b.AwaitStored("t", 0, 20)
	b.Kill(1)
	b.Kill(2)
	h.await("nothing is acknowledged")
	b.Restart(1)
	b.Restart(2)
	h.await("acknowledged again")
	for p := range 2 {
		b.AwaitStored("t", p, b.Stored("t", p)+10)
	}
	cancel()
	out := <-done
	if out.Failed() || out.Outages.Count < 1 || out.Launches < 2 || out.Outages.LongestMS < 1000 || !out.Interrupted {
		t.Errorf("%+v\n%s", out, h.all())
	}
}

// A partition that moves to another node costs nothing.
func TestFailover(t *testing.T) {
	b := brokertest.Start(t, 2)
	b.Create("t", 1)
	go func() {
		b.AwaitStored("t", 0, 20)
		b.Move("t", 0, 2)
		b.Kill(1)
	}()
	out, said := soakOf(t, fast(b, time.Second))
	if r := out.Check; !out.Valid() || r.Read != r.Acked || r.Acked < 21 || out.Launches != 1 {
		t.Errorf("%+v\n%s", out, said)
	}
}

func TestGivesUp(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("t", 1)
	cfg := fast(b, time.Hour)
	cfg.Timeout, cfg.GiveUp = 200*time.Millisecond, time.Second
	go func() {
		b.AwaitStored("t", 0, 20)
		b.Kill(1)
	}()
	if out, _ := soakOf(t, cfg); out.Complete || out.Failed() || !strings.Contains(out.Ended, "connection refused") {
		t.Errorf("%+v", out)
	}
	b.Restart(1)
	b.Break(brokertest.Faults{Code: 29}) // TOPIC_AUTHORIZATION_FAILED
	cfg.GiveUp = time.Hour
	if out, _ := soakOf(t, cfg); out.Complete || out.Failed() || !strings.Contains(out.Ended, "TOPIC_AUTHORIZATION_FAILED") {
		t.Errorf("%+v", out)
	}
}

// When reading finds nothing writing waits, at exactly the bound of the window, and goes on when reading does.
func TestWindowIsBounded(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("t", 1)
	b.Break(brokertest.Faults{Blind: true})
	cfg := fast(b, time.Hour)
	cfg.MaxUnread, cfg.Patience = 40, patience
	h := listen()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan *Outcome)
	go func() {
		out, err := Run(ctx, cfg, h.events())
		if err != nil {
			t.Error(err)
		}
		done <- out
	}()
	h.await("writing waits")
	b.AwaitStored("t", 0, 40)
	if n := b.Stored("t", 0); n != 40 {
		t.Errorf("%d records were written with a window of 40", n)
	}
	b.Break(brokertest.Faults{})
	h.await("writing goes on")
	b.AwaitStored("t", 0, 80)
	cancel()
	if out := <-done; out.Failed() || out.MostKept > 45 || out.Check.Read < 40 {
		t.Errorf("%+v", out)
	}
}

// interrupted soaks until n records are stored, copying the state file once there are copyAt of them.
func interrupted(t *testing.T, b *brokertest.Cluster, cfg Config, copyAt, n int64) (*Outcome, []byte) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var old []byte
	go func() {
		defer cancel()
		b.AwaitStored("t", 0, copyAt)
		old, _ = os.ReadFile(cfg.State)
		b.AwaitStored("t", 0, n)
	}()
	out, err := Run(ctx, cfg, Events{})
	if err != nil {
		t.Fatal(err)
	}
	if out.Complete || !out.Interrupted || out.Failed() {
		t.Fatalf("%+v", out)
	}
	return out, old
}

func TestResumes(t *testing.T) {
	b := brokertest.Start(t, 1)
	cfg := fast(b, time.Hour)
	cfg.Existing, cfg.State = false, filepath.Join(t.TempDir(), "s")
	first, _ := interrupted(t, b, cfg, 1, 50)
	if !b.Has("t") {
		t.Fatal("a soak that can be resumed deleted its topic")
	}
	cfg.For = first.Soaked + 300*time.Millisecond
	out, _ := soakOf(t, cfg)
	r := out.Check
	if !out.Valid() || out.Starts != 2 || r.Acked+r.Unacked != r.Read || r.Acked <= first.Check.Acked || out.Soaked < first.Soaked+300*time.Millisecond || b.Has("t") {
		t.Errorf("first %+v\nthen %+v", first, out)
	}
	if _, err := Run(context.Background(), cfg, Events{}); !errors.Is(err, ErrComplete) {
		t.Errorf("a soak that is over: %v", err)
	}
}

// After a kill -9 there is a state from a while ago. What was acknowledged since is neither foreign nor there again.
func TestResumesFromAnOlderState(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("t", 1)
	cfg := fast(b, time.Hour)
	cfg.State = filepath.Join(t.TempDir(), "s")
	first, old := interrupted(t, b, cfg, 40, 120)
	if err := os.WriteFile(cfg.State, old, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.For = first.Soaked + 300*time.Millisecond
	out, _ := soakOf(t, cfg)
	r := out.Check
	if !out.Valid() || r.Foreign != 0 || r.Read != b.Stored("t", 0) || r.Acked >= r.Read || r.Unacked != r.Read-r.Acked {
		t.Errorf("%+v of %d stored", out, b.Stored("t", 0))
	}
}

// Even launches that the state knows nothing of are this soak's, and what they lack is missed.
func TestResumesFromAStateBeforeTheLastLaunch(t *testing.T) {
	for _, fault := range []bool{false, true} {
		b := brokertest.Start(t, 1)
		b.Create("t", 1)
		cfg := fast(b, time.Hour)
		cfg.State = filepath.Join(t.TempDir(), "s")
		interrupted(t, b, cfg, 1, 40)
		old, err := load(cfg.State)
		if err != nil {
			t.Fatal(err)
		}
		if fault {
			b.Break(brokertest.Faults{LoseBatch: int(b.Stored("t", 0)) + 20})
		}
		again := cfg
		if fault {
			again.For = time.Duration(old.SoakedMS)*time.Millisecond + 500*time.Millisecond
			_, _ = soakOf(t, again)
		} else {
			interrupted(t, b, again, 1, b.Stored("t", 0)+60)
		}
		old.Started = old.Started.Add(-time.Hour) // as if it were started an hour later
		content, err := old.encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(cfg.State, content, 0o600); err != nil {
			t.Fatal(err)
		}
		b.Break(brokertest.Faults{})
		cfg.For = time.Duration(old.SoakedMS)*time.Millisecond + 300*time.Millisecond
		out, _ := soakOf(t, cfg)
		r := out.Check
		if fault && (!out.Failed() || r.Lost != 1 || r.Faults() != 1) {
			t.Errorf("a record that was passed over: %+v", out)
		}
		if !fault && (!out.Valid() || r.Foreign != 0 || r.Read != b.Stored("t", 0) || r.Unacked < 50) {
			t.Errorf("%+v of %d stored", out, b.Stored("t", 0))
		}
	}
}

// A state that does not fit is refused, and says why.
func TestStateIsRefused(t *testing.T) {
	b, other := brokertest.Start(t, 1), brokertest.Start(t, 1)
	for _, c := range []*brokertest.Cluster{b, other} {
		c.Create("t", 1)
		c.Create("u", 1)
	}
	cfg := fast(b, 100*time.Millisecond)
	cfg.State = filepath.Join(t.TempDir(), "s")
	soakOf(t, cfg)
	good, err := os.ReadFile(cfg.State)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(good)
	damaged[len(damaged)/2] ^= 1
	for _, c := range []struct {
		name    string
		content []byte
		change  func(*Config)
		says    string
	}{
		{"another topic", good, func(c *Config) { c.Topic = "u" }, `it is of topic "t", not of "u"`},
		{"another cluster", good, func(c *Config) { c.Brokers = other.Addrs() }, "it is of the cluster"},
		{"another size", good, func(c *Config) { c.ValueBytes = 200 }, "give --size 100"},
		{"torn", good[:len(good)-10], nil, "it is damaged"},
		{"changed", damaged, nil, "CRC-32C"},
		{"empty", nil, nil, "no state of a soak"},
		{"something else", []byte("hello\n"), nil, "no state of a soak"},
		{"another version", bytes.Replace(good, []byte("state 1 "), []byte("state 9 "), 1), nil, "format 9"},
	} {
		cfg := cfg
		cfg.For = time.Hour
		if c.change != nil {
			c.change(&cfg)
		}
		if err := os.WriteFile(cfg.State, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := Run(context.Background(), cfg, Events{})
		if out != nil || err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), cfg.State) {
			t.Errorf("%s: %v", c.name, err)
		}
		if now, _ := os.ReadFile(cfg.State); !bytes.Equal(now, c.content) {
			t.Errorf("%s: the file was changed", c.name)
		}
	}
}

func TestStateIsHeldByOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	release, err := hold(path)
	if err != nil {
		t.Fatal(err)
	}
	b := brokertest.Start(t, 1)
	cfg := fast(b, time.Hour)
	cfg.State = path
	if _, err := Run(context.Background(), cfg, Events{}); err == nil || !strings.Contains(err.Error(), "another loadgen") {
		t.Errorf("%v", err)
	}
	release()
	if release, err = hold(path); err != nil {
		t.Error(err)
	} else {
		release()
	}
}
