package run

import (
	"cmp"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"ackline/loadgen/client"
	"ackline/loadgen/hist"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
)

// A system that stands still for one second of ten is seen by every arrival that was due in that second: of a thousand a second, 5% waited for
// half a second and more, 1% for nine tenths. A closed loop sends one operation in that second, and shows nothing but its maximum.
func TestStallOfASecond(t *testing.T) {
	for name, c := range map[string]struct {
		arrivals pace.Spec
		room     int
		seen     bool
	}{
		"open":   {pace.Spec{Kind: pace.Poisson, RatePerSecond: 1000, Seed: 4}, 2000, true},
		"closed": {closed, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			delay := new(atomic.Int64)
			// Room for all that gathers, so that what is left when it goes on is answered at once, and 5% and 1% are as the arithmetic says.
			s := open(t, Config{Floor: floorServer(t, delay), Client: client.Config{InFlight: c.room}})
			time.AfterFunc(4*time.Second, func() {
				delay.Store(int64(time.Second))
				time.Sleep(500 * time.Millisecond)
				delay.Store(0)
			})
			out := slice(t, s, Spec{Arrivals: c.arrivals, For: 10 * time.Second, Percentile: 99})
			v := out.Verdict()
			// A busy machine keeps the generator from its CPU for a tenth of a second; the stall, put down to it, would be nine tenths.
			late := time.Duration(out.Set.Lag.Percentile(99, 0).NS)
			for _, r := range v.Reasons {
				switch {
				case r.Code == result.Starved, r.Code == result.CPULimit, r.Code == result.Garbage: // which may be the machine's doing
				case r.Code == result.Lag && late < 300*time.Millisecond:
				case r.Code == result.Samples && !c.seen: // a closed loop makes as many as the machine lets it
				default:
					t.Errorf("%+v", r)
				}
			}
			p := func(p float64) time.Duration { return time.Duration(out.Set.Response.Percentile(p, 0).NS) }
			if !c.seen {
				if most := time.Duration(out.Set.Response.Max()); p(99) > 100*time.Millisecond || most < 900*time.Millisecond {
					t.Errorf("p99 %v, max %v: a closed loop hides a stall", p(99), most)
				}
				return
			}
			// On a busy machine the stall takes longer than it should, what has gathered takes a while to be answered, and there are shorter
			// stalls beside it, which p95 does not see. One that is not has no other.
			longest, early, late95, beside := 1.4, 0.1, 0.05, 0.4
			if len(v.Reasons) > 0 || len(out.Outages) > 1 {
				longest, early, late95, beside = 1.6, 0.6, 0.5, 0.7
			}
			o := slices.MaxFunc(append(out.Outages, result.Outage{}), func(a, b result.Outage) int { return cmp.Compare(a.Seconds, b.Seconds) })
			if o.Seconds < 0.9 || o.Seconds > longest || o.StartSeconds < 4-early || o.StartSeconds > 4.2+early || o.Open {
				t.Fatalf("outages %+v, want one of a second at 4 s", out.Outages)
			}
			for want, got := range map[float64]time.Duration{o.Seconds - 0.5: p(95), o.Seconds - 0.1: p(99)} {
				if off := got.Seconds() - want; off < -0.05 || off > late95 {
					t.Errorf("p95 %v, p99 %v; of a stall of %.3f s in ten, 5%% wait for all but half a second of it, and 1%% for all but a tenth", p(95), p(99), o.Seconds)
				}
			}
			for _, other := range out.Outages {
				if other.Seconds > beside && other.StartSeconds != o.StartSeconds {
					t.Errorf("another outage: %+v", other)
				}
			}
		})
	}
}

// What fails is counted by its kind, and a partition from which nothing comes any more has an outage up to the end.
func TestFailuresAreCountedByCode(t *testing.T) {
	r := newRecorder(2, int64(100*time.Millisecond))
	ms := int64(time.Millisecond)
	op := func(stream uint32, intended, acked int64, err error) {
		r.op(&client.Op{Stream: stream, Intended: intended * ms, Ready: intended * ms, Sent: intended * ms, Acked: acked * ms, Err: err, Records: 1}, true, true)
	}
	op(0, 1000, 1001, nil)
	op(1, 1000, 1001, nil)
	op(0, 1002, 0, client.ErrTimeout)
	op(0, 1003, 0, kerr.NotLeaderForPartition)
	op(0, 1100, 1300, nil)              // the first that was due then is the one of 1002
	op(1, 1250, 1251, nil)              // nothing was due before
	op(0, 1310, 0, errors.New("reset")) // and nothing comes after
	op(0, 1400, 0, client.ErrAbandoned)
	s := sessionOf(&idle{room: 1, streams: []client.Stream{{Partition: 7}, {Partition: 9}}})
	out := &Slice{Set: hist.NewSet()}
	s.sum(out, []*recorder{r}, 1)
	s.partitions(out, []*recorder{r}, result.Span{From: 1000 * ms, To: 2000 * ms}, 100*time.Millisecond)
	if want := map[string]int64{"timeout": 1, "NOT_LEADER_FOR_PARTITION": 1, "connection": 1, "abandoned": 1}; !maps.Equal(out.Counts.ByCode, want) {
		t.Errorf("%v, want %v", out.Counts.ByCode, want)
	}
	want := []result.Outage{{StartSeconds: 0.002, Seconds: 0.298, Partitions: []int32{7}}, {StartSeconds: 0.31, Seconds: 0.69, Partitions: []int32{7}, Open: true}}
	if !reflect.DeepEqual(out.Outages, want) {
		t.Errorf("outages %+v, want %+v", out.Outages, want)
	}
	if c := out.ByPartition; !slices.Equal(c, []result.PartitionCount{{Partition: 7, Acked: 2}, {Partition: 9, Acked: 2}}) {
		t.Errorf("%+v", c)
	}
}
