package profiles

import (
	"testing"
	"time"
)

func TestRingsAreSizedForTheDisk(t *testing.T) {
	s := Suite{Scenarios: []Scenario{
		{Cycles: 2, SliceMs: 1000, Workload: Workload{RecordBytes: 1024, RecordsPerRequest: 1, RingBytes: 8 << 20, RingLaps: 4}},
		{Cycles: 2, SliceMs: 1000, Workload: Workload{RecordBytes: 1024, RecordsPerRequest: 1, RingBytes: 64 << 20}},
	}}
	for _, c := range []struct {
		sync time.Duration
		want int64
	}{
		{0, 8 << 20},                     // not known
		{10 * time.Millisecond, 8 << 20}, // a disk that turns: the least
		{70 * time.Microsecond, 39 << 20},
		{34 * time.Microsecond, 61 << 20}, // 62,500 requests of a block each, four laps
	} {
		at := s
		at.Scenarios = append([]Scenario(nil), s.Scenarios...)
		at.SizeRings(c.sync)
		if got := at.Scenarios[0].Workload.RingBytes; got != c.want {
			t.Errorf("sync of %v: a ring of %d, want %d", c.sync, got, c.want)
		}
		if got := at.Scenarios[1].Workload.RingBytes; got != 64<<20 {
			t.Errorf("sync of %v: a ring that is not to be sized has %d", c.sync, got)
		}
	}
}

// Several nodes answer a single writer later, so their rings are smaller: by as much as a quorum is larger than one node.
func TestRingsOfSeveralNodes(t *testing.T) {
	s, err := LoadSuite("full")
	if err != nil {
		t.Fatal(err)
	}
	s.SizeRings(10 * time.Microsecond)
	perMs := map[string]float64{} // of slices
	for _, sc := range s.Scenarios {
		perMs[sc.Name] = float64(sc.Workload.RingBytes) / float64(sc.Cycles*sc.SliceMs)
	}
	one := perMs["latency-1"]
	for name, smaller := range map[string]float64{"dc3-latency-1": 2, "dc5-latency-1": 3} {
		if got := one / perMs[name]; got < 0.9*smaller || got > 1.1*smaller {
			t.Errorf("%s: the ring is %.2f times smaller than that of one node, want %v", name, got, smaller)
		}
	}
}
