package readers

import (
	"testing"

	"ackline/profiles"
	"ackline/tools/bench/acrosstest"
	"ackline/tools/bench/record"
	"ackline/tools/netlab/lab"
)

func TestMain(m *testing.M) { acrosstest.Main(m) }

// Every region has a consumer that sees every record, and no sooner than the distances let it.
func TestReadersInEveryRegion(t *testing.T) {
	acrosstest.Modes(t, func(t *testing.T, mode lab.Mode) {
		w := profiles.DefaultWorkload()
		w.Kind, w.RecordBytes, w.RingBytes, w.TimeoutMs = profiles.Readers, 100, acrosstest.Ring, 60_000
		w.ProbeRatePerSecond, w.ProbeLimitMs, w.QuietMs, w.WatchMs = 200, 60_000, 1000, 1000
		l, err := Run(t.Context(), acrosstest.Plan(t, mode, w))
		if err != nil || l.Verdict == record.Failed || l.Check == nil || !l.Check.OK || l.Check.Acknowledged < 390 {
			t.Fatalf("%v, %s %q, check %+v", err, l.Verdict, l.Reasons, l.Check)
		}
		if len(l.Readers) != 3 || l.Network == nil || l.Network.Mode != string(mode) {
			t.Fatalf("%+v on %+v", l.Readers, l.Network)
		}
		for i, r := range l.Readers {
			// The leader is on n2, two milliseconds from a and four from c; a majority takes four.
			if client, served := string(rune('a'+i)), []string{"n1 (a)", "n2 (b)", "n3 (c)"}[i]; r.Client != client || r.Leader != "n2 (b)" || r.Served != served || r.ServedShare < 0.5 {
				t.Errorf("%+v, want the consumer in %s to be served by %s", r, client, served)
			}
			least := []int64{6, 4, 8}[i] * 1e6
			if n := r.EndToEnd.Total(); n < 190 || n != r.Produce.Total() || r.EndToEnd.Percentile(1, 0).NS < least*99/100 || r.Produce.Percentile(1, 0).NS < 4e6*99/100 {
				t.Errorf("in %s: %d records, the fastest %d ns, produced in %d; want %d at least", r.Client, n, r.EndToEnd.Percentile(1, 0).NS, r.Produce.Percentile(1, 0).NS, least)
			}
		}
	})
}
