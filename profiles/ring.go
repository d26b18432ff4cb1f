package profiles

import "time"

// turnaround is what a request of a single writer takes beside its sync: the round trip over loopback, and what answers it.
const turnaround = 30 * time.Microsecond

// block is what a record of one request, written alone, takes of the ring at least.
const block = 4096

// SizeRings gives the workloads that ask for it (RingLaps) a ring that the slices of one launch wrap so many times on this disk,
// where a sync takes so long. A ring that suits a slow disk makes a fast one take a checkpoint every few milliseconds, which no
// broker in use does, and one that suits a fast disk is never wrapped on a slow one.
func (s *Suite) SizeRings(sync time.Duration) {
	for i := range s.Scenarios {
		sc := &s.Scenarios[i]
		w := &sc.Workload
		if w.RingLaps == 0 || sync <= 0 {
			continue
		}
		slices := time.Duration(2*sc.Cycles) * ms(sc.SliceMs)
		size := (int64(w.RecordBytes)*int64(w.RecordsPerRequest)/block + 1) * block
		request := sync + turnaround
		request *= time.Duration(s.TopologyOf(*sc).Nodes/2 + 1) // a quorum's syncs, on what is mostly one disk, and links between them
		written := int64(slices/request) * size
		w.RingBytes = max(w.RingBytes, written/int64(w.RingLaps)&^(1<<20-1))
	}
}
