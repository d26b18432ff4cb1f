package run

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/client"
	"ackline/loadgen/result"
)

// field is what a broker tells: nanoseconds since it read the request.
func field(decode, propose, queue, sync, quorum, encode int64) []byte {
	b := []byte{1}
	for _, ns := range []int64{decode, propose, queue, sync, quorum, encode} {
		b = binary.BigEndian.AppendUint64(b, uint64(ns))
	}
	return b
}

func asked(t *testing.T, cfg Config) *result.Result {
	t.Helper()
	cfg.Topic, cfg.Partitions, cfg.Client = "t", 2, client.Config{Connections: 2, Timeout: patience, Stages: true}
	r, err := Run(context.Background(), cfg, Spec{Arrivals: constant(500), For: time.Second, Discard: 200 * time.Millisecond}, Events{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Counts.Acked != 500 || r.Check == nil || !r.Check.Passed() || r.Stages == nil {
		t.Fatalf("%+v, check %+v, stages %v", r.Counts, r.Check, r.Stages)
	}
	return r
}

func printed(t *testing.T, r *result.Result) string {
	t.Helper()
	var b strings.Builder
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What the brokers tell is joined with the very request, and with the client's own times it makes up the response time.
func TestStages(t *testing.T) {
	b := brokertest.Start(t, 2)
	b.Break(brokertest.Faults{Tell: func() []byte { return field(100, 300, 600, 1600, -1, 3000) }})
	r := asked(t, Config{Brokers: []string{b.Addr()}})
	s := r.Stages
	if s.Joined != 500 || s.JoinedShare != 1 || s.NotAddingUp != 0 || !s.Usable || s.Acked != 500 {
		t.Fatalf("%+v", s)
	}
	resp := r.Latency.Response.MeanUS
	for name, m := range map[string]*result.StageMeans{"median": s.Median, "slowest": s.Slowest, "all": s.All} {
		if math.Abs(m.SumUS-m.ResponseUS) > 0.001*m.ResponseUS || m.ResponseUS <= 0 {
			t.Errorf("%s: the stages add up to %g µs, the response time is %g", name, m.SumUS, m.ResponseUS)
		}
		for i, want := range map[int]float64{2: 0.1, 3: 0.2, 4: 0.3, 5: 1, 6: 0, 7: 1.4} {
			if got := m.Stages[i].US; math.Abs(got-want) > 1e-6 {
				t.Errorf("%s: %s took %g µs, want %g", name, m.Stages[i].Stage, got, want)
			}
		}
	}
	if m, w := s.Slowest, s.Worst[4]; math.Abs(m.Requests-5) > 1e-6 || m.ResponseUS < 0.95*w.ResponseUS || m.ToUS < s.Worst[0].ResponseUS || s.Median.ResponseUS > m.ResponseUS ||
		math.Abs(s.Median.Requests-100) > 1e-6 {
		t.Errorf("the slowest %g of 500 took %g µs, the fifth %g; the median of %g %g", m.Requests, m.ResponseUS, w.ResponseUS, s.Median.Requests, s.Median.ResponseUS)
	}
	if math.Abs(s.All.ResponseUS-resp) > 0.01*resp {
		t.Errorf("a response takes %g µs by the stages and %g by the histogram", s.All.ResponseUS, resp)
	}
	if queue, sent := s.All.Stages[0].US, r.Latency.Lag.MeanUS+r.Latency.Backlog.MeanUS; math.Abs(queue-sent) > 1+0.02*sent {
		t.Errorf("the client's queue takes %g µs, lag and backlog %g", queue, sent)
	}
	if len(s.Worst) != 10 || s.Worst[0].ResponseUS < s.Worst[9].ResponseUS || math.Abs(s.Worst[0].ResponseUS-r.Latency.Response.MaxUS) > 0.01*r.Latency.Response.MaxUS {
		t.Errorf("the worst of all took %g µs, then %+v", r.Latency.Response.MaxUS, s.Worst)
	}
	for _, x := range s.Worst {
		// Arrivals are a constant 2 ms apart, every other one to partition 1.
		if n := x.AtSeconds * 500; math.Abs(n-math.Round(n)) > 1e-3 || n < 0 || n >= 500 || x.Partition < 0 || x.Partition > 1 || x.Offset < 50 || x.Offset >= 300 {
			t.Errorf("%+v", x)
		}
	}
	raw, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"joined": 500`, `"p40_to_p60": {`, `"slowest_1_percent": {`, `"stage": "client queue"`, `"response_us": `, `"offset": `} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("no %s in the JSON", want)
		}
	}
	text := printed(t, r)
	for _, want := range []string{"500 of 500 acknowledged requests joined (100.0%); 0 of them do not add up", "slowest 1%", "batch wait", "the 10 slowest requests:"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// Stages of too few requests, or of more time than there was, are not shown.
func TestStagesThatAreOfNoUse(t *testing.T) {
	var n atomic.Int64
	for want, tell := range map[string]func() []byte{
		"the system does not tell":                  func() []byte { return []byte("another format") },
		"of the acknowledged requests were told":    func() []byte { return field(1, 2, 3, 4, 5, 6+1e18*(n.Add(1)%2)) },
		"the system tells of time that there was n": func() []byte { return field(1, 2, 3, 4, 5, 5e9) },
	} {
		b := brokertest.Start(t, 1)
		b.Break(brokertest.Faults{Tell: tell})
		r := asked(t, Config{Brokers: []string{b.Addr()}})
		text := printed(t, r)
		if r.Stages.Usable || !strings.Contains(text, want) || strings.Contains(text, "slowest requests") {
			t.Errorf("%+v and not %q:\n%s", r.Stages, want, text)
		}
	}
}

// Requests that failed have no stages, which is said.
func TestStagesWithoutThoseThatFailed(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("t", 1)
	cfg := cfgFor(b)
	cfg.Existing = true
	cfg.Client.Stages = true
	tell := func() []byte { return field(1, 2, 3, 4, 5, 6) }
	b.Break(brokertest.Faults{Tell: tell})
	go func() {
		b.AwaitStored("t", 0, 10)
		b.Break(brokertest.Faults{Tell: tell, Code: 7})
		for b.Requests(0) < 60 {
			<-time.After(time.Millisecond)
		}
		b.Break(brokertest.Faults{Tell: tell})
	}()
	r, err := Run(context.Background(), cfg, Spec{Arrivals: constant(100), For: time.Second}, Events{})
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%d of %d acknowledged requests joined (100.0%%), without the %d that failed", r.Counts.Acked, r.Counts.Acked, r.Counts.Failed)
	if text := printed(t, r); r.Counts.Failed == 0 || r.Stages.Joined+r.Counts.Failed != 100 || !strings.Contains(text, want) {
		t.Errorf("%+v, %d joined, and not %q:\n%s", r.Counts, r.Stages.Joined, want, text)
	}
}

// A run that lost data has no stages either.
func TestStagesOfLostData(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Break(brokertest.Faults{LoseBatch: 3, Tell: func() []byte { return field(1, 2, 3, 4, 5, 6) }})
	cfg := cfgFor(b)
	cfg.Client.Stages = true
	r, err := Run(context.Background(), cfg, Spec{Arrivals: constant(200), For: 100 * time.Millisecond}, Events{})
	if err != nil {
		t.Fatal(err)
	}
	if text := printed(t, r); !r.Verdict.Has(result.BadData) || r.Stages != nil || strings.Contains(text, "stages") {
		t.Errorf("%+v, stages %+v:\n%s", r.Verdict, r.Stages, text)
	}
}

// A broker of another make takes the question for what it does not know: the run is as good, and says that nothing was told.
func TestStagesAreAskedOfAnotherMake(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := asked(t, Config{Brokers: c.ListenAddrs()})
	if s := r.Stages; s.Joined != 0 || s.Usable || s.Acked != 500 {
		t.Errorf("%+v", s)
	}
	if text, want := printed(t, r), "stages: 0 of 500 acknowledged requests joined (0.0%): the system does not tell\n"; !strings.Contains(text, want) {
		t.Errorf("no %q in\n%s", want, text)
	}
}

// A floor gets the frames that a broker gets, and has no stages; nor has a run that does not ask, of frames without the question.
func TestStagesAreNotAlwaysThere(t *testing.T) {
	addr := floorServer(t, new(atomic.Int64))
	var bytes [2]int
	for i, asks := range []bool{false, true} {
		s := open(t, Config{Floor: addr, Client: client.Config{Stages: asks}})
		if out := slice(t, s, Spec{Arrivals: closed, For: time.Hour, Count: 10}); out.Stages != nil || out.Counts.Acked != 10 {
			t.Errorf("%+v, %+v", out.Stages, out.Counts)
		}
		bytes[i] = s.Effective().RequestBytes
	}
	b := brokertest.Start(t, 1)
	b.Create("t", 1)
	b.Break(brokertest.Faults{Tell: func() []byte { t.Error("the broker was asked"); return nil }})
	s := open(t, Config{Brokers: []string{b.Addr()}, Existing: true})
	if out := slice(t, s, Spec{Arrivals: closed, For: time.Hour, Count: 10}); out.Stages != nil || s.Effective().RequestBytes != bytes[0] {
		t.Errorf("%+v, requests of %d bytes, want %d", out.Stages, s.Effective().RequestBytes, bytes[0])
	}
	b.Break(brokertest.Faults{})
	s = open(t, Config{Brokers: []string{b.Addr()}, Existing: true, Client: client.Config{Stages: true}})
	if got := s.Effective().RequestBytes; got != bytes[1] || bytes[1] <= bytes[0] {
		t.Errorf("requests that ask have %d bytes, those to a floor %d, others %d", got, bytes[1], bytes[0])
	}
	for _, cfg := range []Config{{Driver: DriverKgo}, {Workload: Fetch, Existing: true}} {
		cfg.Brokers, cfg.Topic, cfg.Client.Stages = []string{"localhost:1"}, "t", true
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "stages") {
			t.Errorf("%s %s: %v", cfg.Driver, cfg.Workload, err)
		}
	}
}

// What was sent before its connection was lost is answered on another one. Its stages there are not where its time went.
func TestStagesOfWhatWasSentAgainAreNotJoined(t *testing.T) {
	b := brokertest.Start(t, 2)
	b.Create("t", 1)
	cfg := cfgFor(b)
	cfg.Existing = true
	cfg.Client.Resend, cfg.Client.Stages = true, true
	tell := func() []byte { return field(1, 2, 3, 4, 5, 6) }
	b.Break(brokertest.Faults{Tell: tell, MuteFrom: 5})
	go func() {
		b.AwaitStored("t", 0, 5)
		b.Move("t", 0, 2)
		b.Break(brokertest.Faults{Tell: tell})
	}()
	out := slice(t, open(t, cfg), Spec{Arrivals: constant(200), For: 100 * time.Millisecond})
	if out.Counts.Acked != 20 || out.Stages.Joined != 19 {
		t.Errorf("%d of %d joined, all but one want to be", out.Stages.Joined, out.Counts.Acked)
	}
}
