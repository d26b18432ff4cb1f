package linerate

import (
	"math"
	"testing"

	"ackline/profiles"
	"ackline/tools/bench/acrosstest"
	"ackline/tools/bench/record"
	"ackline/tools/netlab/lab"
)

func TestMain(m *testing.M) { acrosstest.Main(m) }

// Both sides have a rate, what was acknowledged is there, and the pair says how far the brokers are from one stream.
func TestBesideOneStream(t *testing.T) {
	acrosstest.Modes(t, func(t *testing.T, mode lab.Mode) {
		w := profiles.DefaultWorkload()
		w.Kind, w.InFlight, w.Threads, w.RecordBytes, w.RecordsPerRequest, w.RingBytes, w.TimeoutMs = profiles.LineRate, 16, 1, 100, 8, acrosstest.Ring, 60_000
		l, err := Run(t.Context(), acrosstest.Plan(t, mode, w))
		if err != nil || l.Verdict == record.Failed || l.Check == nil || !l.Check.OK || l.Check.Acknowledged < l.Requests*8 {
			t.Fatalf("%v, %s %q, %d requests, check %+v", err, l.Verdict, l.Reasons, l.Requests, l.Check)
		}
		system, _ := l.Get(record.System, "bytes_per_second")
		stream, _ := l.Get(record.Floor, "bytes_per_second")
		share, _ := l.Get(record.System, "share_of_one_stream")
		// 16 requests of 800 bytes are all that passes in 8 ms: to the leader and back, and from there to the nearest follower. A slice may end with a window more.
		if most := 16 * 800 / 0.007; system > most || l.Verdict == record.OK && (system <= 0 || stream <= 0 || math.Abs(share-system/stream) > 1e-9) {
			t.Errorf("%v B/s beside %v, a share of %v; want at most %v", system, stream, share, most)
		}
		if p, ok := l.Pair("rate"); l.Verdict == record.OK && (!ok || p.Slices != 2 || math.Abs(p.Ratio*share-1) > 1e-9) {
			t.Errorf("pair %+v, %v", p, ok)
		}
	})
}
