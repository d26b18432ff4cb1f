package frame

import (
	"fmt"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
)

func benchMessage(entries, size int) pb.Message {
	m := pb.Message{Type: pb.MsgApp, To: 2, From: 1, Term: 3, LogTerm: 3, Index: 100, Commit: 99}
	for i := range entries {
		m.Entries = append(m.Entries, pb.Entry{Term: 3, Index: 101 + uint64(i), Data: make([]byte, size)})
	}
	return m
}

// BenchmarkEncode is what Enqueue and the checksum cost, next to protobuf without any checksum.
func BenchmarkEncode(b *testing.B) {
	for _, c := range []struct{ entries, size int }{{0, 0}, {1, 100}, {1, 1 << 10}, {32, 1 << 10}} {
		m := benchMessage(c.entries, c.size)
		b.Run(fmt.Sprintf("entries=%d/size=%d", c.entries, c.size), func(b *testing.B) {
			batch := NewBatch(4<<20, 16<<10)
			b.ReportAllocs()
			for b.Loop() {
				batch.Reset(1 << 20)
				batch.Message(1, &m)
				batch.Seal()
			}
		})
		b.Run(fmt.Sprintf("entries=%d/size=%d/protobuf", c.entries, c.size), func(b *testing.B) {
			buf := make([]byte, m.Size())
			b.ReportAllocs()
			for b.Loop() {
				m.MarshalTo(buf)
			}
		})
	}
}

// BenchmarkDecode is from the read buffer to messages, with the check of the checksum.
func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct{ entries, size int }{{0, 0}, {1, 100}, {1, 1 << 10}, {32, 1 << 10}} {
		m := benchMessage(c.entries, c.size)
		b.Run(fmt.Sprintf("entries=%d/size=%d", c.entries, c.size), func(b *testing.B) {
			wire := sealed(b, 1<<20, m)
			s := NewStream(64<<10, 4<<20)
			var ms []GroupMessage
			take := func(h Header, body []byte) (err error) {
				ms, err = DecodeMessages(ms[:0], h, body)
				return err
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Take(copy(s.Room(), wire), take); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("entries=%d/size=%d/protobuf", c.entries, c.size), func(b *testing.B) {
			wire, err := m.Marshal()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				var m pb.Message
				if err := m.Unmarshal(wire); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
