package calibrate

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ackline/profiles/region"
	"ackline/tools/netlab/lab"
	"ackline/tools/netlab/netns"
)

const text = `between = [
  { regions = ["east", "west"], delay_ms = 10, bandwidth_mbit = 80 },
]
[[regions]]
name = "east"
same_zone_delay_ms = 5
[[regions]]
name = "west"
[[hosts]]
name = "n1"
region = "east"
[[hosts]]
name = "n2"
region = "east"
[[hosts]]
name = "n3"
region = "west"
`

func newLab(t *testing.T, mode lab.Mode) *lab.Lab {
	t.Helper()
	if mode == lab.Netns {
		if err := netns.Permitted(region.DefaultCongestionControl); err != nil {
			t.Skip("needs CAP_NET_ADMIN: hosts are network namespaces (" + err.Error() + ")")
		}
	}
	top, err := region.Parse("small.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.New(top, mode, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Bounds are wide where a busy machine may be late, and exact where it may not be early.
func TestRun(t *testing.T) {
	for _, mode := range []lab.Mode{lab.Relay, lab.Netns} {
		t.Run(string(mode), func(t *testing.T) {
			l := newLab(t, mode)
			told := 0
			r, err := Run(t.Context(), l, Config{PairTime: 200 * time.Millisecond, ThroughputTime: 300 * time.Millisecond,
				Progress: func(pair, of int, _, _ string) {
					if told++; pair != told || of != 3 {
						t.Errorf("progress %d of %d, want %d of 3", pair, of, told)
					}
				}})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Pairs) != 3 || told != 3 || r.EchoUs <= 0 || r.EchoUs > 5000 || r.Mode != string(mode) || r.Topology != "small" {
				t.Errorf("measured %+v", r)
			}
			for i, want := range []float64{10_000, 20_000, 20_000} {
				p := r.Pairs[i]
				if p.WantUs != want || p.GotUs < want || p.GotUs > want+10_000 || p.ErrorUs != p.GotUs-p.WantUs || p.Rounds < leastRounds {
					t.Errorf("want a round trip of %v µs, got %+v", want, p)
				}
				for _, rate := range []Rate{p.There, p.Back} {
					if limited := want > 15_000; limited && (rate.LimitBytesPerSecond != 1e7 || rate.BytesPerSecond > 1.05e7) ||
						!limited && rate.LimitBytesPerSecond != 0 || rate.BytesPerSecond < 1e5 || rate.Off {
						t.Errorf("%s: throughput %+v", p.name(), rate)
					}
				}
			}
		})
	}
}

// All pairs at once, one of which was made worse meanwhile: that one is off.
func TestTogether(t *testing.T) {
	l := newLab(t, lab.Relay)
	if err := l.Worsen("n1", "n2", lab.Worse{Delay: 20 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	r, err := Run(t.Context(), l, Config{PairTime: 300 * time.Millisecond, ThroughputTime: time.Hour, Together: true})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); len(r.Pairs) != 3 || took > time.Minute {
		t.Errorf("%d pairs in %v", len(r.Pairs), took)
	}
	if p := r.Pairs[0]; p.WantUs != 10_000 || p.GotUs < 30_000 || !p.Off {
		t.Errorf("20 ms more than the topology has: %+v", p)
	}
	if p := r.Pairs[2]; p.From != "n2" || p.To != "n3" || p.GotUs < 20_000 || p.There.BytesPerSecond != 0 {
		t.Errorf("another pair: %+v", p)
	}
}

// A network that is worse than its topology says is found out: the lab's faults are not part of what is wanted.
func TestWhatIsOffIsFlagged(t *testing.T) {
	for _, c := range []struct {
		want, got, jitter float64
		rounds            int
		off               bool
	}{
		{1000, 1199, 0, 9, false}, {1000, 1201, 0, 9, true}, {1000, 799, 0, 9, true}, {100_000, 100_990, 0, 9, false}, {100_000, 101_010, 0, 9, true},
		{100_000, 98_990, 0, 9, true},
		// with 10 ms of jitter each way, the median of 9 is uncertain by 5.1 ms, that of 900 by 0.51 ms; half of both is wanted
		{100_000, 116_000, 10_000, 9, false}, {100_000, 116_000, 10_000, 900, true}, {100_000, 100_000, 10_000, 900, true},
	} {
		p := Pair{GotUs: c.got, Rounds: c.rounds}
		p.judge(c.want, c.jitter, c.jitter)
		if p.Off != c.off {
			t.Errorf("%+v: off is %v", c, p.Off)
		}
	}
	for _, c := range []struct {
		limit, got float64
		off        bool
	}{{0, 1e9, false}, {1e6, 1.009e6, false}, {1e6, 1.02e6, true}, {1e6, 1, false}} {
		r := Rate{LimitBytesPerSecond: c.limit, BytesPerSecond: c.got}
		if r.judge(); r.Off != c.off {
			t.Errorf("%+v: off is %v", c, r.Off)
		}
	}
}

func TestPrint(t *testing.T) {
	r := &Result{Topology: "small", Mode: "relay", EchoUs: 50, Pairs: []Pair{
		{From: "n1", To: "n2", WantUs: 20_000, GotUs: 20_100, ErrorUs: 100, JitterUs: 30},
		{From: "n1", To: "n10", WantUs: 20_000, GotUs: 25_000, ErrorUs: 5000, JitterUs: 30, Off: true},
	}}
	for _, rated := range []bool{false, true} {
		if rated {
			r.Pairs[0].There = Rate{LimitBytesPerSecond: 1e6, BytesPerSecond: 2e6, Off: true}
		}
		var b strings.Builder
		if err := r.Print(&b); err != nil {
			t.Fatal(err)
		}
		want := []string{"topology small, mode relay; an echo without a distance takes 0.050 ms", "n1 - n2       20.000      20.100    +0.100     0.030",
			"+5.000     0.030", "  OFF\n", "1 of 2 pairs are OFF"}
		if rated {
			want = append(want[:2], "1.0, none", "2.0", "ABOVE ITS LIMIT", "2 of 2 pairs are OFF")
		}
		for _, w := range want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("no %q in\n%s", w, b.String())
			}
		}
	}
	r.Pairs = r.Pairs[:0]
	if r.Off() != 0 {
		t.Error("nothing is off")
	}
}

// What is cut off never answers: who asked can stop waiting.
func TestCancel(t *testing.T) {
	l := newLab(t, lab.Relay)
	if err := l.Part("n1", "n2"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := Run(ctx, l, Config{PairTime: time.Millisecond, Progress: func(_, _ int, _, _ string) {
		time.AfterFunc(50*time.Millisecond, func() { cancel(errors.New("enough")) })
	}})
	if err == nil {
		t.Error("measured a pair that is cut")
	}
}

// One stream takes what the line has, and no more.
func TestStream(t *testing.T) {
	l := newLab(t, lab.Relay)
	rate, err := Stream(t.Context(), l, "n1", "n3", 500*time.Millisecond, 100*time.Millisecond)
	if err != nil || rate < 1e6 || rate > 1.05*10e6 {
		t.Errorf("%v B/s over a line of 10 MB/s, %v", rate, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := Stream(ctx, l, "n1", "n3", time.Minute, 0); err == nil {
		t.Error("it ran although it had been cancelled")
	}
}

// What came before the window was open is not in the rate, and a stream that ends before that has none.
func TestCountFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		go func() {
			for i, n := range []int{100_000, 70_000, 5, 2000, 3000} { // the third opens the window
				if i > 0 {
					time.Sleep(time.Second)
				}
				_, _ = w.Write(make([]byte, n))
			}
			_ = w.Close()
		}()
		if rate, err := countFrom(r, 1500*time.Millisecond); err != nil || rate != 2500 {
			t.Errorf("%v B/s, %v; want 5000 bytes in 2 s", rate, err)
		}
	})
	if _, err := countFrom(strings.NewReader("abc"), time.Second); err == nil || !strings.Contains(err.Error(), "nothing came later than 1s") {
		t.Errorf("a stream that was short: %v", err)
	}
}
