package kwire

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// cpuTime is how long f kept a processor busy: what else runs on the machine does not count.
func cpuTime(t *testing.T, f func()) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &before); err != nil {
		t.Fatal(err)
	}
	f()
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &after); err != nil {
		t.Fatal(err)
	}
	return time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
}

// ceiling fails when f takes longer than a second or allocates more than what an input of n bytes may cost.
func ceiling(t *testing.T, n int, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	took := cpuTime(t, f)
	runtime.ReadMemStats(&after)
	// An element with a tag takes at least 4 bytes here and at most about 500 in memory; a map that grows, twice that.
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(256<<10+256*n); got > limit {
		t.Fatalf("%d bytes of input allocated %d; the ceiling is %d", n, got, limit)
	}
	if took > time.Second {
		t.Fatalf("%d bytes of input took %v", n, took)
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(header(0, 9, 0, 2, 'm', 'e', 0, 'B'))
	f.Add(header(18, 99, 0xff, 0xff))
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, err := ParseHeader(frame)
		if err == nil && len(h.Body)+len(h.ClientID)+headerClientAt > len(frame) {
			t.Fatalf("%+v of %d bytes", h, len(frame))
		}
	})
}

func FuzzDecode(f *testing.F) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, a := range APIs() {
		for v := a.Min; v <= a.Max; v++ {
			f.Add(a.Key, v, randomRequest(rng, a.Key, v).AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		ceiling(t, len(body), func() {
			r, err := Decode(Header{Key: key, Version: version, Body: body})
			if err == nil && (r.Key() != key || r.GetVersion() != version) {
				t.Fatalf("decoded key %d version %d", r.Key(), r.GetVersion())
			}
		})
	})
}

func FuzzProduce(f *testing.F) {
	rng := rand.New(rand.NewPCG(13, 14))
	for v := int16(3); v <= 11; v++ {
		f.Add(v, randomRequest(rng, KeyProduce, v).AppendTo(nil))
		f.Add(v, onePartition(v).Body)
		f.Add(v, asking(v, []byte{StagesVersion}).Body)
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		h := Header{Key: KeyProduce, Version: version, Body: body}
		var p ProduceRequest
		var err error
		ceiling(t, len(body), func() { err = p.Parse(h) })
		r, kerr := Decode(h)
		if err != nil {
			return
		}
		if kerr != nil {
			t.Fatalf("Parse accepts what Decode refuses: %v", kerr)
		}
		sameAsKmsg(t, &p, r.(*kmsg.ProduceRequest))
	})
}

func FuzzParseBatch(f *testing.F) {
	f.Add(seal(batchOf("a", "b")), true)
	f.Add(seal(batchOf("")), false)
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		if fix && len(b) >= BatchHeaderBytes {
			b = reseal(append([]byte(nil), b...)) // or no change of a byte gets past the checksum
		}
		i, err := ParseBatch(b)
		if err != nil {
			return
		}
		if i.Length != len(b) || i.Count < 1 || i.LastDelta != i.Count-1 {
			t.Fatalf("%+v of %d bytes", i, len(b))
		}
		var k kmsg.RecordBatch
		if err := k.ReadFrom(b); err != nil || k.NumRecords != i.Count || k.FirstOffset != i.Base {
			t.Fatalf("kmsg reads %+v %v, we %+v", k, err, i)
		}
	})
}
