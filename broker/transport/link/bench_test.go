package link

import (
	"fmt"
	"io"
	"runtime"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
)

// BenchmarkSend compares data that is copied into the batch with data that is referred to (writev), by the data's size:
// where refer begins to win is Config.MinRef. The peer reads and discards.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 4 << 10, 8 << 10, 16 << 10, 64 << 10, 1 << 20} {
		for _, entries := range []int{1, 8} {
			for name, minRef := range map[string]int{"copy": 1 << 30, "refer": 1} {
				b.Run(fmt.Sprintf("size=%d/entries=%d/%s", size, entries, name), func(b *testing.B) {
					near, far := pair(b)
					go io.Copy(io.Discard, far)
					cfg := config()
					cfg.MinRef, cfg.QueueBytes, cfg.MaxBody = minRef, 1<<30, 1<<29
					l := New(cfg)
					l.Attach(near)
					defer l.Detach()
					m := pb.Message{Type: pb.MsgApp}
					for range entries {
						m.Entries = append(m.Entries, pb.Entry{Data: make([]byte, size)})
					}
					ms := []pb.Message{m}
					b.SetBytes(int64(size * entries))
					b.ReportAllocs()
					for b.Loop() {
						l.Enqueue(1, ms)
						l.Flush()
						for l.Counters.QueueBytes.Load() > 0 { // the socket was full: let the writer goroutine finish
							runtime.Gosched()
						}
					}
				})
			}
		}
	}
}
