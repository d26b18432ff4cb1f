//go:build !race

package node_test

import (
	"net"
	"runtime"
	"strings"
	"testing"

	"ackline/broker/vfs"
)

// allocations counts objects allocated so far, by whether raft is on the stack. It needs MemProfileRate 1.
func allocations(t *testing.T, where map[string]int64) (raft, others int64) {
	t.Helper()
	runtime.GC() // the profile is of the last completed cycle but one
	runtime.GC()
	records := make([]runtime.MemProfileRecord, 20_000)
	n, ok := runtime.MemProfile(records, true)
	if !ok {
		t.Fatalf("%d profile records", n)
	}
	for i := range records[:n] {
		r := &records[i]
		frames := runtime.CallersFrames(r.Stack())
		stack := ""
		inRaft, ours := false, true
		for {
			f, more := frames.Next()
			inRaft = inRaft || strings.HasPrefix(f.Function, "go.etcd.io/raft/")
			// The disk in memory and this test are not the product.
			ours = ours && !strings.HasPrefix(f.Function, "ackline/broker/vfs.") && !strings.Contains(f.Function, "node_test.")
			stack += f.Function + " < "
			if !more {
				break
			}
		}
		switch {
		case inRaft:
			raft += r.AllocObjects
		case ours:
			others += r.AllocObjects
			where[stack] += r.AllocObjects
		}
	}
	return raft, others
}

// TestProduceAllocs holds the produce path to two allocations a request outside of raft: the frame, which the log keeps, is
// one. One request at a time, over a real socket, on a node whose disk is memory.
func TestProduceAllocs(t *testing.T) {
	old := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	defer func() { runtime.MemProfileRate = old }()
	n := open(t, vfs.NewMem())
	defer closeNode(t, n)
	createTopic(t, n, "t", 1)
	conn, err := net.Dial("tcp", n.ListenAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	frame, reply := produceFrame("t", 1024), make([]byte, 256)
	produce := func(count int) {
		for range count {
			roundTrip(t, conn, frame, reply)
		}
	}
	produce(2000)
	before, after := map[string]int64{}, map[string]int64{}
	raft0, others0 := allocations(t, before)
	const requests = 5000
	produce(requests)
	raft1, others1 := allocations(t, after)
	raft, others := float64(raft1-raft0)/requests, float64(others1-others0)/requests
	t.Logf("allocations per request: %.2f in raft, %.2f elsewhere", raft, others)
	if others > 2 {
		for stack, count := range after {
			if d := count - before[stack]; d > requests/50 {
				t.Logf("%.2f %s", float64(d)/requests, stack)
			}
		}
		t.Errorf("%.2f allocations per request outside of raft, at most 2 are allowed", others)
	}
	if raft == 0 {
		t.Error("no allocation was attributed to raft: the test no longer sees what it counts")
	}
}
