package node_test

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/node/config"
	"ackline/broker/vfs"
)

// produceFrame is a Produce request of one record of size bytes, acks=all.
func produceFrame(topic string, size int) []byte { return valueFrame(9, topic, make([]byte, size)) }

// valueFrame is a Produce request of a version, with one record, for partition 0.
func valueFrame(version int16, topic string, value []byte) []byte {
	size := len(value)
	record := binary.AppendVarint([]byte{0}, 0)
	record = binary.AppendVarint(record, 0)
	record = binary.AppendVarint(record, -1)
	record = append(binary.AppendVarint(record, int64(size)), value...)
	record = binary.AppendVarint(record, 0)
	batch := kmsg.RecordBatch{Length: int32(49 + len(binary.AppendVarint(nil, int64(len(record)))) + len(record)),
		PartitionLeaderEpoch: -1, Magic: 2, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1,
		Records: append(binary.AppendVarint(nil, int64(len(record))), record...)}
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, -1, 10_000
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = raw
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.Partitions = topic, []kmsg.ProduceRequestTopicPartition{part}
	req.Topics = append(req.Topics, t)
	return kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
}

// roundTrip sends a request and reads its reply.
func roundTrip(t *testing.T, conn net.Conn, frame, reply []byte) {
	t.Helper()
	if _, err := conn.Write(frame); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, reply[:4]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, reply[4:4+binary.BigEndian.Uint32(reply)]); err != nil {
		t.Fatal(err)
	}
}

// TestProduceWakesNobody counts what one request at a time wakes beside its own goroutine: neither the WAL's syncer nor a
// connection's writer.
func TestProduceWakesNobody(t *testing.T) {
	n := open(t, vfs.NewMem(), func(c *config.Config) { c.WAL.RingBytes = 64 << 20 }) // no checkpoint within the test
	defer closeNode(t, n)
	createTopic(t, n, "t", 1)
	conn, err := net.Dial("tcp", n.ListenAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	frame, reply := produceFrame("t", 1024), make([]byte, 256)
	roundTrip(t, conn, frame, reply)
	handOvers, batches := n.WALStats().HandOvers.Load(), n.WALStats().Batches.Load()
	writers := n.ServerCounters().WriterStarts.Load()
	const requests = 1000
	for range requests {
		roundTrip(t, conn, frame, reply)
	}
	if got := n.WALStats().HandOvers.Load() - handOvers; got != 0 {
		t.Errorf("the syncer was woken %d times by %d requests that came one at a time", got, requests)
	}
	if got := n.WALStats().Batches.Load() - batches; got != requests {
		t.Errorf("%d batches for %d requests, one at a time", got, requests)
	}
	if got := n.ServerCounters().WriterStarts.Load() - writers; got != 0 {
		t.Errorf("%d writer goroutines were started", got)
	}
}
