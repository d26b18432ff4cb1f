package transport

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
)

// echoes makes node 2 answer each MsgApp with a MsgAppResp on the goroutine that read it, and node 1 count the answers.
// Heartbeats are rare, so that they are not what is measured.
func echoes(t testing.TB) (a, b *node, answers *atomic.Int64, answered chan struct{}) {
	quiet := func(n id.NodeID) Config {
		c := testConfig(n)
		c.HeartbeatInterval, c.DeadAfter = 10*time.Minute, time.Hour
		return c
	}
	a, b = newNode(t, quiet(1)).start(anywhere), newNode(t, quiet(2)).start(anywhere)
	a.AddPeer(2, b.addr)
	b.AddPeer(1, a.addr)
	answers, answered = new(atomic.Int64), make(chan struct{}, 1)
	resp := []pb.Message{{Type: pb.MsgAppResp, To: 11, From: 12}}
	a.quiet, b.quiet = true, true
	b.onMsgs = func(from id.NodeID, ms []GroupMessage) {
		for i := range ms {
			resp[0].Index = ms[i].Message.Index
			b.Enqueue(from, ms[i].Group, resp)
		}
		b.FlushAll()
	}
	a.onMsgs = func(_ id.NodeID, ms []GroupMessage) {
		answers.Add(int64(len(ms)))
		select {
		case answered <- struct{}{}:
		default:
		}
	}
	for _, n := range []*node{a, b} {
		until(t, "both links", func() bool {
			s := n.Stats()
			return s.Links[0].Connected && s.Links[1].Connected
		})
	}
	return a, b, answers, answered
}

// BenchmarkPingPong is one MsgApp of one entry and its answer, from wire to handler on both sides.
func BenchmarkPingPong(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 16 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			x, _, answers, answered := echoes(b)
			ms := app(1, make([]byte, size))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for n := int64(1); b.Loop(); n++ {
				x.Send(2, 1, ms)
				for answers.Load() < n {
					<-answered
				}
			}
		})
	}
}

// BenchmarkPipelined has many groups' messages on their way at once.
func BenchmarkPipelined(b *testing.B) {
	for _, window := range []int64{16, 256} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			x, _, answers, answered := echoes(b)
			ms := app(1, make([]byte, 1<<10))
			b.SetBytes(1 << 10)
			b.ReportAllocs()
			for n := int64(1); b.Loop(); n++ {
				x.Send(2, id.GroupID(n), ms)
				for answers.Load() < n-window {
					<-answered
				}
			}
		})
	}
}
