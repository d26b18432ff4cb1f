package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/client"
	"ackline/loadgen/pace"
	"ackline/loadgen/place"
	"ackline/loadgen/result"
	"ackline/loadgen/workload"
)

func mustKeys(t *testing.T, text string) workload.Keys {
	t.Helper()
	k, err := workload.ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// byTopic sums what came to each topic.
func byTopic(counts []result.PartitionCount) map[string]int64 {
	out := map[string]int64{}
	for _, c := range counts {
		out[c.Topic] += c.Acked
	}
	return out
}

// A run makes so many topics under its own name, loads all their partitions, reads everything back and takes the topics away, with each driver and
// whatever chooses the partition; a consumer at the end has every record.
func TestRunsOwnTopics(t *testing.T) {
	for _, driver := range []string{DriverWire, DriverKgo} {
		for _, by := range []string{workload.ByRoundRobin, workload.ByKey} {
			b := brokertest.Start(t, 2)
			cfg := cfgFor(b)
			cfg.Topic, cfg.Topics, cfg.Partitions, cfg.Driver, cfg.EndToEnd = "", 3, 2, driver, true
			cfg.Client.Connections, cfg.Client.InFlight, cfg.Client.PartitionBy = 6, 4, by
			cfg.Shape.Key = mustKeys(t, "zipf:500,1.1")
			var made place.Topics
			r, err := Run(context.Background(), cfg, Spec{Arrivals: constant(600), For: 600 * time.Millisecond}, Events{Opened: func(s *Session) {
				made = place.Parse(s.Made())
				for i, name := range made {
					if !ownName.MatchString(strings.TrimSuffix(name, fmt.Sprintf("-%d", i))) || !b.Has(name) {
						t.Errorf("made %q, there: %v", name, b.Has(name))
					}
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if c := r.Check; len(made) != 3 || !c.Passed() || c.Read != r.Counts.AllRecords || r.Counts.Acked == 0 || c.Partitions != 6 || r.Latency.Unread != 0 {
				t.Errorf("%s by %s: made %v, %+v, %+v", driver, by, made, r.Counts, c)
			}
			if r.Target.Topics != 3 || r.Target.Partitions != 6 || r.Target.Topic != made.String() {
				t.Errorf("target %+v", r.Target)
			}
			counts := byTopic(r.ByPartition)
			for _, name := range made {
				if b.Has(name) || counts[name] < r.Counts.Acked/6 {
					t.Errorf("%s by %s: %q is there: %v, and had %d of %d", driver, by, name, b.Has(name), counts[name], r.Counts.Acked)
				}
			}
			var text strings.Builder
			if err := r.Print(&text); err != nil || !strings.Contains(text.String(), "produce + consume to 3 topics "+made.Listed()+" (6 partitions") ||
				!strings.Contains(text.String(), "    topic "+made[1]+" partition 1 ") || strings.Contains(text.String(), "partition by: key") != (by == workload.ByKey) {
				t.Errorf("%v\n%s", err, text.String())
			}
		}
	}
}

// What is lost of one of the topics fails the run, which says where.
func TestLostOfTheSecondTopic(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("a", 2)
	b.Create("b", 2)
	cfg := cfgFor(b)
	cfg.Topic, cfg.Existing = "a,b", true
	r, err := Run(context.Background(), cfg, Spec{Arrivals: constant(500), For: 400 * time.Millisecond}, Events{Opened: func(*Session) {
		b.Break(brokertest.Faults{Topic: "b", LoseBatch: 7})
	}})
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Check; r.Verdict.Status != result.Failed || c.Lost != 2 || !strings.Contains(strings.Join(c.Examples, "\n"), "acknowledged at topic b partition 1 offset 6, not there") {
		t.Errorf("%+v, %+v", r.Verdict, c)
	}
	if !b.Has("a") || !b.Has("b") {
		t.Error("topics that were there before were deleted")
	}
}

// An outage is of the topic that had it.
func TestOutageNamesItsTopic(t *testing.T) {
	b := brokertest.Start(t, 1)
	cfg := cfgFor(b)
	cfg.Topic, cfg.Topics, cfg.Client.Connections = "x", 2, 2
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b.Break(brokertest.Faults{Topic: "x-1", Code: 19})
	out := slice(t, s, Spec{Arrivals: constant(300), For: 500 * time.Millisecond, Gap: 200 * time.Millisecond})
	if len(out.Outages) != 1 || !slices.Equal(out.Outages[0].Places, []result.Place{{Topic: "x-1"}}) || out.Outages[0].Partitions != nil {
		t.Errorf("outages %+v", out.Outages)
	}
	if e := out.Counts.Errors; len(e) == 0 || !strings.Contains(e[0], "topic x-1 partition 0") {
		t.Errorf("errors %q", e)
	}
	if c := byTopic(out.ByPartition); c["x-0"] == 0 || c["x-1"] != 0 || len(out.ByPartition) != 2 {
		t.Errorf("%+v", out.ByPartition)
	}
}

// If one of the topics cannot be made, none stays.
func TestTopicsAreMadeOrNone(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("x-1", 1)
	cfg := cfgFor(b)
	cfg.Topic, cfg.Topics = "x", 3
	if _, err := Open(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), `"x-1" is there already`) || b.Has("x-0") || b.Has("x-2") || !b.Has("x-1") {
		t.Errorf("%v; there: %v %v %v", err, b.Has("x-0"), b.Has("x-1"), b.Has("x-2"))
	}
	cfg.Topic = "y"
	cfg.Client = client.Config{Resend: true, Connections: 2, Timeout: patience} // wants one for each partition
	if _, err := Open(context.Background(), cfg); err == nil || b.Has("y-0") || b.Has("y-1") || b.Has("y-2") {
		t.Errorf("%v; there: %v %v %v", err, b.Has("y-0"), b.Has("y-1"), b.Has("y-2"))
	}
}

// A backlog over several topics is drained to its end.
func TestDrainOfSeveralTopics(t *testing.T) {
	b := brokertest.Start(t, 1)
	cfg := cfgFor(b)
	cfg.Topic, cfg.Topics, cfg.Partitions, cfg.Client.InFlight, cfg.Client.PartitionBy = "", 2, 3, 8, workload.ByKey
	cfg.Shape.Key = mustKeys(t, "uniform:1000")
	r, err := Drain(context.Background(), cfg, Backlog{Records: 600, Consumers: 4}, Events{})
	if err != nil {
		t.Fatal(err)
	}
	if d := r.Drain; d == nil || d.Partitions != 6 || d.Records < 600 || d.Records != d.Backlog || !r.Check.Passed() || r.Check.Partitions != 6 {
		t.Errorf("%+v, %+v", d, r.Check)
	}
}

// What does not go together is said with what would.
func TestTopicsThatDoNotGo(t *testing.T) {
	key := workload.Shape{Key: mustKeys(t, "uniform:9")}
	for says, change := range map[string]func(*Config){
		"name those that are there, as --topic a,b,c": func(c *Config) { c.Topics, c.Existing = 2, true },
		"give the one or the others":                  func(c *Config) { c.Topics, c.Topic = 2, "a,b" },
		`"a" is there twice`:                          func(c *Config) { c.Topic = "a,b,a" },
		"topics -1: want 1 to":                        func(c *Config) { c.Topics = -1 },
		"partition-by key without keys":               func(c *Config) { c.Client.PartitionBy = workload.ByKey },
		"take --driver kgo":                           func(c *Config) { c.Client.PartitionBy, c.Client.RecordsPerRequest, c.Shape = workload.ByKey, 9, key },
		"keys choose where records are written": func(c *Config) {
			c.Client.PartitionBy, c.Workload, c.Existing, c.Shape = workload.ByKey, Fetch, true, key
		},
		"it has no partitions to choose from":        func(c *Config) { c.Client.PartitionBy, c.Floor, c.Brokers, c.Shape = workload.ByKey, "f:1", nil, key },
		"a floor has no topics: leave --topics away": func(c *Config) { c.Topics, c.Floor, c.Brokers = 3, "f:1", nil },
		"the smallest is 31, want 32": func(c *Config) {
			c.Client.PartitionBy, c.Shape = workload.ByKey, workload.Shape{Key: key.Key, Size: workload.Fixed(31)}
		},
	} {
		c := Config{Brokers: []string{"b:1"}, Topic: "t"}
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
}

// shy is a driver that says of one operation at a time whether there is room for it, as one does that does not know where the next but one goes.
type shy struct {
	*idle
	most int
}

func (d *shy) Workers() []client.Worker { return []client.Worker{d} }
func (d *shy) Room() int                { return min(d.idle.Room(), 1) }

func (d *shy) Wait(until int64, done func(*client.Op)) error {
	d.most = max(d.most, d.InFlight())
	return d.idle.Wait(until, done)
}

// What arrives together goes out together, also where room is told for one at a time only.
func TestRoomIsAskedForAgain(t *testing.T) {
	d := &shy{idle: &idle{room: 64, work: func(int) {}}}
	out := slice(t, sessionOf(d), Spec{Arrivals: pace.Spec{Kind: pace.Bursts, Burst: 16, RatePerSecond: 1600}, For: 200 * time.Millisecond})
	if d.most < 16 || out.Counts.Acked != 320 {
		t.Errorf("at most %d in flight, %d acknowledged", d.most, out.Counts.Acked)
	}
}

// A floor beside several topics gets frames of the same length, to none of them in particular.
func TestFloorBesideSeveralTopics(t *testing.T) {
	b := brokertest.Start(t, 1)
	cfg := cfgFor(b)
	cfg.Topic, cfg.Topics, cfg.Partitions, cfg.Client.PartitionBy, cfg.Client.InFlight = "", 2, 2, workload.ByKey, 4
	cfg.Shape.Key = mustKeys(t, "zipf:99,1.1")
	r, err := Beside(context.Background(), cfg, floorServer(t, new(atomic.Int64)), Spec{Arrivals: constant(400), For: 600 * time.Millisecond}, Events{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Check.Passed() || len(r.ByPartition) != 4 || r.Beside == nil || r.Target.Topics != 2 || r.Counts.Acked == 0 {
		t.Errorf("%+v, %+v, %+v", r.Target, r.ByPartition, r.Check)
	}
}
