package run

import (
	"context"
	"strings"
	"testing"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/client"
	"ackline/loadgen/result"
	"ackline/loadgen/workload"
)

func drainOf(t *testing.T, b *brokertest.Cluster, backlog Backlog, change func(*Config)) *result.Result {
	t.Helper()
	c := Config{Brokers: []string{b.Addr()}, Topic: "t", Partitions: 3, Shape: varied(t),
		Client: client.Config{Connections: 3, InFlight: 4, RecordsPerRequest: 10, Compression: "lz4", Timeout: patience}}
	change(&c)
	r, err := Drain(context.Background(), c, backlog, Events{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What was written is consumed once, by as many consumers as asked, and counted as it is.
func TestDrain(t *testing.T) {
	for _, consumers := range []int{0, 2, 50} {
		b := brokertest.Start(t, 1)
		plain := consumers == 0
		r := drainOf(t, b, Backlog{Records: 995, Consumers: consumers}, func(c *Config) {
			if plain {
				c.Shape, c.Client.Compression = workload.Shape{}, ""
			}
		})
		d := r.Drain
		want := map[int]int{0: 3, 2: 2, 50: 3}[consumers]
		if r.Verdict.Status != result.Valid || d.Records < 1000 || d.Backlog != d.Records || d.Consumers != want || d.Partitions != 3 || !d.Complete() || r.Check.Read != d.Records {
			t.Errorf("%d consumers: %+v, %+v, %+v", consumers, r.Verdict, d, r.Check)
		}
		if plain != (d.ValueBytes == d.Records*1024) || plain != (d.WireBytes > d.ValueBytes) || d.ValueBytes >= r.Check.Bytes || d.Seconds <= 0 || d.Slowest > d.Seconds || d.Fetch.Count == 0 {
			t.Errorf("%d consumers: %+v, %d bytes of records checked", consumers, d, r.Check.Bytes)
		}
		var text strings.Builder
		if err := r.Print(&text); err != nil || !strings.Contains(text.String(), " records drained by ") || !strings.Contains(text.String(), "MB/s") {
			t.Errorf("%v: %s", err, text.String())
		}
		if b.Has("t") {
			t.Error("the topic is still there")
		}
	}
}

// What was there before is not part of the backlog.
func TestDrainOfATopicThatIsNotEmpty(t *testing.T) {
	b := brokertest.Start(t, 1)
	for range 2 {
		r := drainOf(t, b, Backlog{Records: 100}, func(c *Config) { c.Keep, c.Existing = true, b.Has("t") })
		if r.Drain.Records < 100 || r.Drain.Records != r.Check.Read || r.Check.Foreign != 0 || r.Verdict.Status != result.Valid {
			t.Errorf("%+v, %+v", r.Drain, r.Check)
		}
	}
}

// A drain of data that is not what was written has no rate, and one that did not come to its end says so.
func TestDrainThatFails(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Break(brokertest.Faults{RepeatBatch: 5})
	if r := drainOf(t, b, Backlog{Records: 300}, func(*Config) {}); r.Verdict.Status != result.Failed || r.Drain != nil {
		t.Errorf("%+v, %+v", r.Verdict, r.Drain)
	}
	b = brokertest.Start(t, 1)
	b.Break(brokertest.Faults{BadCRCBatch: 5})
	r := drainOf(t, b, Backlog{Records: 300}, func(*Config) {})
	if r.Verdict.Status != result.Failed {
		t.Errorf("%+v, %+v", r.Verdict, r.Check)
	}
	for _, c := range []struct {
		backlog Backlog
		change  func(*Config)
		says    string
	}{
		{Backlog{}, func(*Config) {}, "want 1 or more"}, {Backlog{Records: 1, Consumers: -1}, func(*Config) {}, "consumers -1"},
		{Backlog{Records: 1}, func(c *Config) { c.Client.Acks = client.AcksNone }, "acks 1 or all"},
		{Backlog{Records: 1}, func(c *Config) { c.EndToEnd = true }, "end to end"},
	} {
		cfg := Config{Brokers: []string{"127.0.0.1:1"}, Topic: "t"}
		c.change(&cfg)
		if _, err := Drain(context.Background(), cfg, c.backlog, Events{}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
	}
}
