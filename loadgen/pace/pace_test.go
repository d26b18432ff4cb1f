package pace

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/quick"

	"golang.org/x/sys/unix"
)

func take(s Spec, workers, n int) []int64 {
	var all []int64
	for w := range workers {
		st := s.Stream(w, workers)
		for range n / workers {
			all = append(all, st.Next())
		}
	}
	slices.Sort(all)
	return all
}

func TestConstantIsEvenlySpaced(t *testing.T) {
	for _, workers := range []int{1, 4} {
		got := take(Spec{Kind: Constant, RatePerSecond: 1000}, workers, 40)
		for i, v := range got {
			if v != int64(i)*1_000_000 {
				t.Fatalf("%d workers: arrival %d at %d ns, want %d", workers, i, v, int64(i)*1_000_000)
			}
		}
	}
}

func TestBurstsShareAnInstant(t *testing.T) {
	got := take(Spec{Kind: Bursts, RatePerSecond: 1000, Burst: 8}, 2, 32)
	for i, v := range got {
		if want := int64(i/8*8) * 1_000_000; v != want {
			t.Fatalf("arrival %d at %d ns, want %d", i, v, want)
		}
	}
}

// The golden values pin what a seed means: a change would silently alter the schedule of recorded runs.
func TestPoissonIsPinnedBySeed(t *testing.T) {
	st := Spec{Kind: Poisson, RatePerSecond: 1000, Seed: 1}.Stream(0, 1)
	got := []int64{st.Next(), st.Next(), st.Next(), st.Next()}
	want := []int64{166994, 169224, 2843231, 3744104} // computed independently, in Python
	if !slices.Equal(got, want) {
		t.Fatalf("seed 1: got %d, want %d", got, want)
	}
	other := Spec{Kind: Poisson, RatePerSecond: 1000, Seed: 2}.Stream(0, 1)
	if other.Next() == want[0] {
		t.Fatal("seed 2 gives the arrivals of seed 1")
	}
}

// Gaps of a Poisson process are exponential: mean = standard deviation = 1/rate, and P(gap > mean) = 1/e. Checked
// for one worker and for the union of several.
func TestPoissonGapsAreExponential(t *testing.T) {
	for _, workers := range []int{1, 5} {
		all := take(Spec{Kind: Poisson, RatePerSecond: 2000, Seed: 7}, workers, 100_000)
		all = all[:90_000] // the workers' last arrivals do not end together
		var sum, sq float64
		above := 0
		for i := 1; i < len(all); i++ {
			g := float64(all[i] - all[i-1])
			sum += g
			sq += g * g
			if g > 500_000 {
				above++
			}
		}
		n := float64(len(all) - 1)
		mean := sum / n
		sd := math.Sqrt(sq/n - mean*mean)
		if math.Abs(mean-500_000) > 10_000 || math.Abs(sd-500_000) > 15_000 {
			t.Errorf("%d workers: gap mean %.0f sd %.0f ns, want 500000 for both", workers, mean, sd)
		}
		if got := float64(above) / n; math.Abs(got-1/math.E) > 0.01 {
			t.Errorf("%d workers: P(gap > mean) = %.3f, want %.3f", workers, got, 1/math.E)
		}
	}
}

func TestStreamsNeverGoBack(t *testing.T) {
	f := func(seed uint64, rate uint16, workers uint8) bool {
		for _, k := range []Kind{Constant, Poisson, Bursts} {
			n := int(workers%8) + 1
			st := Spec{Kind: k, RatePerSecond: float64(rate) + 0.5, Seed: seed}.Stream(int(seed%uint64(n)), n)
			last := int64(-1)
			for range 200 {
				v := st.Next()
				if v < last {
					return false
				}
				last = v
			}
		}
		return true
	}
	if err := quick.Check(f, nil); err != nil {
		t.Fatal(err)
	}
}

func TestValidate(t *testing.T) {
	for _, bad := range []Spec{
		{Kind: "uniform", RatePerSecond: 1}, {Kind: Poisson}, {Kind: Constant, RatePerSecond: -1},
		{Kind: Constant, RatePerSecond: math.NaN()}, {Kind: Constant, RatePerSecond: 2e9}, {Kind: Bursts, RatePerSecond: 1, Burst: -1},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v passed", bad)
		}
	}
	for _, good := range []Spec{{Kind: Closed}, {Kind: Poisson, RatePerSecond: 0.1}, {Kind: Bursts, RatePerSecond: 5}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}

func TestNowIsTheKernelsClock(t *testing.T) {
	for range 100 {
		a := Raw()
		n := Now()
		b := Raw()
		if n < a-20_000 || n > b+20_000 {
			t.Fatalf("Now %d lies outside of [%d, %d] by more than 20 µs", n, a, b)
		}
	}
}

func TestSleepNeverReturnsEarly(t *testing.T) {
	release, err := LockThread()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || slack != 1 {
		t.Fatalf("timer slack %d ns (%v), want 1", slack, err)
	}
	p := &Pacer{MaxSpinNS: 250_000}
	next := Now()
	for range 50 {
		next += 300_000
		if now := p.SleepUntil(next); now < next {
			t.Fatalf("woke %d ns early", next-now)
		}
	}
}

// Wake-ups that are 60 µs late, 1% of them 100 µs, must end with a margin that covers nearly all, and a host that wakes promptly
// must be believed after a while.
func TestMarginFollowsLateness(t *testing.T) {
	p := &Pacer{MaxSpinNS: 250_000}
	for i := range 5000 {
		late := int64(60_000)
		if i%100 == 0 {
			late = 100_000
		}
		p.Woke(0, late)
	}
	if m := p.MarginNS(); m < 60_000 || m > 130_000 {
		t.Errorf("margin %d ns after lateness of 60 to 100 µs", m)
	}
	for range 5000 {
		p.Woke(0, 2_000)
	}
	if m := p.MarginNS(); m > 12_000 {
		t.Errorf("margin %d ns after lateness of 2 µs", m)
	}
	for range 5000 {
		p.Woke(0, 9_000_000)
	}
	if m := p.MarginNS(); m != 250_000 {
		t.Errorf("margin %d ns, want the bound of 250000", m)
	}
	// Lateness from 0 to 100 µs, evenly drawn: half of the waits may end late.
	random, half := rand.New(rand.NewPCG(1, 2)), &Pacer{MaxSpinNS: 250_000, Quantile: 0.5}
	sum := int64(0)
	for i := range 20_000 {
		half.Woke(0, random.Int64N(100_000))
		if i >= 10_000 {
			sum += half.MarginNS()
		}
	}
	if mean := sum / 10_000; mean < 40_000 || mean > 60_000 {
		t.Errorf("a mean margin of %d ns, want the median's 50000", mean)
	}
	off := &Pacer{}
	off.Woke(0, 1_000_000)
	if off.WakeAt(5) != 5 {
		t.Error("a pacer without a spin budget asks to be woken early")
	}
}

func TestProbesSeeThroughTheMargin(t *testing.T) {
	p := &Pacer{MaxSpinNS: 250_000, marginNS: 100_000}
	probes := 0
	for range 2 * probeEvery {
		if p.WakeAt(1_000_000) == 1_000_000 {
			probes++
		}
	}
	if probes != 2 {
		t.Errorf("%d probes in %d waits, want 2", probes, 2*probeEvery)
	}
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		Now()
	}
}

func BenchmarkPoissonNext(b *testing.B) {
	st := Spec{Kind: Poisson, RatePerSecond: 1e5, Seed: 1}.Stream(0, 1)
	for b.Loop() {
		st.Next()
	}
}
