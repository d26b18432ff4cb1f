package line

import (
	"math"
	"slices"
	"testing"
)

const ms = int64(1e6)

// drain takes everything out, each item at the time at which it is due.
func drain[T any](t *testing.T, l *Line[T]) (values []T, at []int64) {
	t.Helper()
	for {
		deadline, ok := l.Next()
		if !ok {
			return values, at
		}
		if v, early := l.Out(deadline - 1); early {
			t.Fatalf("%v came out before it was due", v)
		}
		v, ok := l.Out(deadline)
		if !ok {
			t.Fatalf("nothing came out at %d, when something was due", deadline)
		}
		values, at = append(values, v), append(at, deadline)
	}
}

func TestDelayIsCountedFromEachArrival(t *testing.T) {
	l := New[int](Quality{DelayNS: 10 * ms}, 1)
	for i := range 5 {
		if !l.In(int64(i)*ms, 100, i) {
			t.Fatal("lost")
		}
	}
	if l.Len() != 5 || l.Bytes() != 500 {
		t.Errorf("%d items of %d bytes, want 5 of 500", l.Len(), l.Bytes())
	}
	values, at := drain(t, l)
	if !slices.Equal(values, []int{0, 1, 2, 3, 4}) || !slices.Equal(at, []int64{10 * ms, 11 * ms, 12 * ms, 13 * ms, 14 * ms}) {
		t.Errorf("%v came at %v", values, at)
	}
	if l.Len() != 0 || l.Bytes() != 0 {
		t.Errorf("%d items of %d bytes are left", l.Len(), l.Bytes())
	}
}

func TestALateOwnerGetsWhatIsDue(t *testing.T) {
	l := New[int](Quality{DelayNS: ms}, 1)
	l.In(0, 1, 0)
	l.In(ms, 1, 1)
	l.In(9*ms, 1, 2)
	for want := range 2 {
		if got, ok := l.Out(5 * ms); !ok || got != want {
			t.Errorf("got %d, %v, want %d", got, ok, want)
		}
	}
	if _, ok := l.Out(5 * ms); ok {
		t.Error("the third came early")
	}
}

func TestJitterIsEvenAndKeepsOrder(t *testing.T) {
	const n = 20_000
	l := New[int](Quality{DelayNS: 10 * ms, JitterNS: 4 * ms}, 7)
	sum := 0.0
	for i := range n { // apart by more than the jitter, so that order changes nothing
		now := int64(i) * 100 * ms
		l.In(now, 1, i)
		deadline, _ := l.Next()
		late := deadline - now - 10*ms
		if late < 0 || late >= 4*ms {
			t.Fatalf("jitter of %d ns, want 0 to 4 ms", late)
		}
		sum += float64(late)
		l.Out(deadline)
	}
	if mean := sum / n; math.Abs(mean-2e6) > 5e4 {
		t.Errorf("mean jitter %.0f ns, want 2 ms", mean)
	}
	dense := New[int](Quality{DelayNS: 10 * ms, JitterNS: 4 * ms}, 7)
	for i := range 1000 {
		dense.In(int64(i)*1000, 1, i)
	}
	values, at := drain(t, dense)
	if !slices.IsSorted(values) || !slices.IsSorted(at) || len(values) != 1000 {
		t.Error("order was not kept")
	}
}

func TestTheSeedDecides(t *testing.T) {
	run := func(seed uint64) (at []int64, lost uint64) {
		l := New[int](Quality{DelayNS: ms, JitterNS: ms, Loss: 0.2}, seed)
		for i := range 200 {
			l.In(int64(i)*10*ms, 1, i)
		}
		_, at = drain(t, l)
		return at, l.Lost()
	}
	a, lostA := run(1)
	b, lostB := run(1)
	c, _ := run(2)
	if !slices.Equal(a, b) || lostA != lostB || slices.Equal(a, c) {
		t.Error("the same seed must give the same run, another one another")
	}
}

func TestLoss(t *testing.T) {
	const n = 50_000
	gone := New[int](Quality{Loss: 0.1}, 3)
	for i := range n {
		gone.In(0, 1, i)
	}
	if share := float64(gone.Lost()) / n; math.Abs(share-0.1) > 0.01 || gone.Len()+int(gone.Lost()) != n {
		t.Errorf("%d of %d lost, %d under way", gone.Lost(), n, gone.Len())
	}
	again := New[int](Quality{DelayNS: ms, Loss: 0.1, RetransmitNS: 200 * ms}, 3)
	late := 0
	for i := range n {
		now := int64(i) * 1000 * ms
		again.In(now, 1, i)
		deadline, _ := again.Next()
		switch deadline - now {
		case ms:
		case 201 * ms:
			late++
		default:
			t.Fatalf("item %d is due after %d ns", i, deadline-now)
		}
		again.Out(deadline)
	}
	if late != int(gone.Lost()) || again.Lost() != 0 {
		t.Errorf("%d were sent again and %d lost, want %d and none", late, again.Lost(), gone.Lost())
	}
	behind := New[int](Quality{Loss: 1, RetransmitNS: 50 * ms}, 3)
	behind.In(0, 1, 0)
	behind.Set(Quality{})
	behind.In(ms, 1, 1)
	if _, at := drain(t, behind); !slices.Equal(at, []int64{50 * ms, 50 * ms}) {
		t.Errorf("came at %v: what is behind a lost one waits for it", at)
	}
}

func TestBandwidth(t *testing.T) {
	l := New[int](Quality{DelayNS: 10 * ms, BytesPerSecond: 1e6}, 1) // 1000 bytes take 1 ms
	for i := range 3 {
		l.In(0, 1000, i)
	}
	l.In(10*ms, 2000, 3) // the link has been idle since 3 ms
	if _, at := drain(t, l); !slices.Equal(at, []int64{11 * ms, 12 * ms, 13 * ms, 22 * ms}) {
		t.Errorf("came at %v", at)
	}
	short := New[int](Quality{BytesPerSecond: 1e6, QueueBytes: 2500}, 1)
	in := 0
	for i := range 10 {
		if short.In(0, 1000, i) {
			in++
		}
	}
	if in != 3 || short.Lost() != 7 {
		t.Errorf("%d of ten came in and %d were lost; with 2500 bytes of queue want 3 and 7", in, short.Lost())
	}
	if !short.In(ms, 1000, 10) {
		t.Error("lost, although the link has sent one since")
	}
}

func TestSetKeepsWhatIsUnderWayAhead(t *testing.T) {
	l := New[int](Quality{DelayNS: 100 * ms}, 1)
	l.In(0, 1, 0)
	l.Set(Quality{DelayNS: ms})
	l.In(ms, 1, 1)
	l.In(200*ms, 1, 2)
	if _, at := drain(t, l); !slices.Equal(at, []int64{100 * ms, 100 * ms, 201 * ms}) {
		t.Errorf("came at %v", at)
	}
}

func TestHold(t *testing.T) {
	l := New[int](Quality{DelayNS: 10 * ms, BytesPerSecond: 1e6}, 1)
	l.In(0, 1000, 0)
	l.Hold()
	l.In(5*ms, 1000, 1)
	if _, ok := l.Next(); ok {
		t.Error("something is due on a line that is held")
	}
	if _, ok := l.Out(1000 * ms); ok || l.Len() != 2 || !l.Held() {
		t.Error("something left a line that is held")
	}
	l.Release(500 * ms)
	values, at := drain(t, l)
	if !slices.Equal(values, []int{0, 1}) || !slices.Equal(at, []int64{511 * ms, 512 * ms}) {
		t.Errorf("%v came at %v, want both sent anew from 500 ms on", values, at)
	}
	l.In(600*ms, 1000, 2)
	l.Release(900 * ms) // of a line that runs: nothing
	if deadline, _ := l.Next(); deadline != 611*ms {
		t.Errorf("due at %d, want 611 ms", deadline)
	}
	far := New[int](Quality{DelayNS: 1000 * ms}, 1)
	far.In(0, 1, 0)
	far.Hold()
	far.Set(Quality{DelayNS: ms})
	far.Release(2 * ms)
	if deadline, _ := far.Next(); deadline != 3*ms {
		t.Errorf("due at %d, want 3 ms: what is sent anew meets the line as it is now", deadline)
	}
}

// The queue does not grow with what has passed.
func TestMemoryIsWhatIsUnderWay(t *testing.T) {
	l := New[int](Quality{DelayNS: 10}, 1)
	for i := range 100_000 {
		l.In(int64(i), 1, i)
		for {
			if _, ok := l.Out(int64(i)); !ok {
				break
			}
		}
	}
	if l.Len() != 10 || cap(l.items) > 64 {
		t.Errorf("%d under way in room for %d", l.Len(), cap(l.items))
	}
}
