//go:build !race

package link

import (
	"io"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
)

// Sending allocates nothing: the batch's memory is used again.
func TestSendAllocations(t *testing.T) {
	near, far := pair(t)
	go io.Copy(io.Discard, far)
	l := New(config())
	l.Attach(near)
	defer l.Detach()
	ms := []pb.Message{app(1, make([]byte, 1000)), app(2, make([]byte, 20_000))}
	send := func() {
		l.Enqueue(1, ms)
		l.Flush()
	}
	for range 50 {
		send()
	}
	if got := testing.AllocsPerRun(500, send); got > 0.1 && l.Counters.WriterStarts.Load() < 10 {
		t.Errorf("%.2f allocations per flush", got)
	}
}
