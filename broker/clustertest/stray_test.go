package clustertest

import (
	"context"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// stray is a produce that a node is sent whether it leads or not, once: a client would ask who leads, and try again.
type stray struct {
	record  record
	part    int
	answer  kmsg.ProduceResponseTopicPartition
	err     error // the connection's
	decided chan struct{}
}

// strays counts them: each is the only record of a producer of its own.
var strays = producers

// sendStray sends a record with acks=all and returns once it is on its way. timeout is the request's own.
func (n *node) sendStray(part int, timeout time.Duration) *stray {
	n.t.Helper()
	strays++
	s := &stray{record: record{strays, 0}, part: part, decided: make(chan struct{})}
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.kafka), kgo.RequestTimeoutOverhead(patience))
	if err != nil {
		n.t.Fatal(err)
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, int32(timeout.Milliseconds())
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = int32(part), batchOf(s.record.text())
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	go func() {
		defer close(s.decided)
		defer cancel()
		defer cl.Close()
		resp, err := cl.SeedBrokers()[0].Request(ctx, req)
		if s.err = err; err == nil {
			s.answer = resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		}
	}()
	return s
}

// settle waits for the answer. If it is an acknowledgement, the record is looked for like every other. It returns the answer's
// error.
func (s *stray) settle(l *load) error {
	<-s.decided
	if s.err != nil {
		return s.err
	}
	if s.answer.ErrorCode == 0 {
		l.ack(s.part, s.answer.BaseOffset, s.record)
	}
	return kerr.ErrorForCode(s.answer.ErrorCode)
}

// batchOf encodes a batch of one record, outside any producer's sequence.
func batchOf(value string) []byte {
	r := kmsg.Record{Key: nil, Value: []byte(value)}
	body := r.AppendTo(nil)
	r.Length = int32(len(body) - 1) // the length itself was 0, in one byte
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{Magic: 2, PartitionLeaderEpoch: -1, FirstTimestamp: now, MaxTimestamp: now, ProducerID: -1, ProducerEpoch: -1,
		FirstSequence: -1, NumRecords: 1, Records: r.AppendTo(nil)}
	const (
		afterLength = 12 // base offset and length
		afterCRC    = 21
	)
	b.Length = int32(len(b.AppendTo(nil)) - afterLength)
	b.CRC = int32(crc32.Checksum(b.AppendTo(nil)[afterCRC:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}
