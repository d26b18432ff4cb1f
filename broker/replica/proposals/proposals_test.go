package proposals_test

import (
	"math/rand/v2"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica/proposals"
)

// TestRandom compares a queue with the dumbest one, over random proposals, batches, commits and drops.
func TestRandom(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		var q proposals.Queue
		var sizes []int // of all entries of the log and the queue, by index-1
		logged, committed := 0, 0
		for range 300 {
			switch r.IntN(6) {
			case 0, 1, 2:
				index := q.Next(id.Index(logged))
				if int(index) != len(sizes)+1 {
					t.Fatalf("seed %d: promised %d, want %d", seed, index, len(sizes)+1)
				}
				n := r.IntN(100)
				q.Add(index, pb.Entry{Data: make([]byte, n)})
				sizes = append(sizes, n)
			case 3:
				room := r.IntN(300)
				es := q.Peek(room)
				size := 0
				for i, e := range es {
					if len(e.Data) != sizes[logged+i] {
						t.Fatalf("seed %d: proposal %d has %d bytes, want %d", seed, logged+i+1, len(e.Data), sizes[logged+i])
					}
					size += len(e.Data)
				}
				if waiting := len(sizes) - logged; waiting > 0 && len(es) == 0 || len(es) > 1 && size > room ||
					len(es) < waiting && size+sizes[logged+len(es)] <= room {
					t.Fatalf("seed %d: %d proposals of %d bytes of %d fill a room of %d", seed, len(es), size, waiting, room)
				}
				if len(es) > 0 && int(q.First()) != logged+1 {
					t.Fatalf("seed %d: the first that waits was promised %d, want %d", seed, q.First(), logged+1)
				}
				q.Taken(len(es))
				logged += len(es)
			case 4:
				committed += r.IntN(logged - committed + 1)
				q.Committed(id.Index(committed))
			case 5:
				if r.IntN(5) == 0 {
					q.Drop()
					sizes = sizes[:logged]
				}
			}
			open := 0
			for _, n := range sizes[committed:] {
				open += n
			}
			if q.Len() != len(sizes)-logged {
				t.Fatalf("seed %d: %d wait, want %d", seed, q.Len(), len(sizes)-logged)
			}
			if !q.Fits(10, open+10) || open > 0 && q.Fits(10, open+9) {
				t.Fatalf("seed %d: with %d bytes open, 10 more fit %d: %v, %d: %v", seed, open, open+10, q.Fits(10, open+10),
					open+9, q.Fits(10, open+9))
			}
		}
		q.Close()
		if q.Len() != 0 || !q.Fits(1000, 1) {
			t.Fatalf("seed %d: a closed queue has %d proposals", seed, q.Len())
		}
	}
}
