package probe

import (
	"math"
	"testing"
	"time"
)

// answers are samples due every millisecond from start on, answered after what took says.
func answers(start int64, n int, took func(i int) time.Duration) []Sample {
	var out []Sample
	for i := range n {
		at := start + int64(i)*int64(time.Millisecond)
		out = append(out, Sample{Intended: at, Acked: at + took(i).Nanoseconds()})
	}
	return out
}

func TestRestored(t *testing.T) {
	const us, ms = time.Microsecond, time.Millisecond
	slowUntil := func(n int) func(i int) time.Duration {
		return func(i int) time.Duration {
			if i < n {
				return 900 * us
			}
			return 100 * us
		}
	}
	for name, c := range map[string]struct {
		n    int
		took func(i int) time.Duration
		want time.Duration // after the start; negative: not restored
	}{
		"at once":                    {1001, slowUntil(0), 0},
		"nothing answered":           {0, slowUntil(0), -1},
		"too short to tell":          {1000, slowUntil(0), -1},
		"after 1.5 s":                {4000, slowUntil(1500), 1500 * ms},
		"ten of a thousand are slow": {4000, slowUntil(1510), 1500 * ms}, // p99 passes over the slowest 1%
		"one more":                   {4000, slowUntil(1511), 1600 * ms},
		"never":                      {4000, slowUntil(4000), -1},
		"a stall now and then":       {4000, func(i int) time.Duration { return map[bool]time.Duration{true: ms, false: 100 * us}[i%50 == 0] }, -1},
	} {
		const start = int64(12345)
		samples := answers(start, c.n, c.took)
		at, _, ok := Restored(samples, start, 150*us, 0)
		if ok != (c.want >= 0) || ok && at != start+c.want.Nanoseconds() {
			t.Errorf("%s: restored %v after %v, want %v", name, ok, time.Duration(at-start), c.want)
		}
		// Looking again and again while answers come in finds the same.
		from, found := 0, time.Duration(-1)
		for n := 0; n <= c.n && found < 0; n += 37 {
			var at int64
			if at, from, ok = Restored(samples[:n], start, 150*us, from); ok {
				found = time.Duration(at - start)
			}
		}
		if n := len(samples); found < 0 && n > 0 {
			if at, _, ok := Restored(samples, start, 150*us, from); ok {
				found = time.Duration(at - start)
			}
		}
		if found != c.want && !(found < 0 && c.want < 0) {
			t.Errorf("%s: looking on the way found %v, want %v", name, found, c.want)
		}
	}
}

// What failed is slower than anything, and a window without a record is no proof.
func TestFailuresAreNotRestored(t *testing.T) {
	samples := answers(0, 3000, func(int) time.Duration { return time.Millisecond })
	for i := 500; i < 520; i++ {
		samples[i].Acked = failed
	}
	if at, _, ok := Restored(samples, 0, time.Hour, 0); !ok || at != 600*time.Millisecond.Nanoseconds() {
		t.Errorf("restored %v at %v, want after the failures", ok, time.Duration(at))
	}
	gap := append(answers(0, 1, func(int) time.Duration { return time.Second }), Sample{Intended: 5e9, Acked: 5e9 + 1000})
	if at, next, ok := Restored(gap, 0, time.Millisecond, 0); ok {
		t.Errorf("two records five seconds apart: restored at %v (window %d)", time.Duration(at), next)
	}
}

func TestBefore(t *testing.T) {
	samples := answers(0, 2050, func(i int) time.Duration {
		if i > 1000 && i < 1100 { // a stall that some windows hold
			return time.Millisecond
		}
		return 200 * time.Microsecond
	})
	if got := Before(samples, 0); got != time.Millisecond {
		t.Errorf("%v: most windows hold the stall, want 1 ms", got)
	}
	if got := Before(samples[:1000], 0); got != 0 {
		t.Errorf("%v from less than a window", got)
	}
	if got := Before(answers(0, 1500, func(int) time.Duration { return 5 }), 0); got != 5 {
		t.Errorf("%v, want 5 ns", got)
	}
	if p99, any := p99Of(nil, 0); any || p99 != 0 {
		t.Errorf("nothing has a p99 of %v", p99)
	}
	if p99, _ := p99Of([]Sample{{Acked: failed}}, 0); p99 != math.MaxInt64 {
		t.Errorf("a failure took %v", p99)
	}
}
