package client

import (
	"time"

	"ackline/loadgen/client/ahead"
	"ackline/loadgen/frame"
	"ackline/loadgen/workload"
)

// shapedCodec sends Produce requests whose frames differ in length: records that are not all alike, or that are compressed, or whose
// producer changes. The answers are those of a produceCodec.
type shapedCodec struct {
	produceCodec
	maker *frame.Shaped
	first []int64      // by index into streams: the record that the producer began with; -1: none yet
	batch ahead.Batch  // scratch, unless batches are made ahead
	ahead *ahead.Maker // nil: they are made when they are needed
	aimed bool         // at says where the next record goes, not the streams in turn
	at    int          // index into streams
	draw  uint64       // which one it is, by the run's draws
}

// newShapedCodec returns the codec of one connection whose streams are given. Batches that are compressed are made ahead.
func newShapedCodec(maker *frame.Shaped, from produceCodec, compressed bool) *shapedCodec {
	c := &shapedCodec{produceCodec: from, maker: maker, first: make([]int64, len(from.streams))}
	if c.who != nil {
		c.identify(c.who)
		clear(c.first) // it stays the same one for good
	}
	if compressed {
		ids := make([]uint32, len(from.streams))
		for i := range ids {
			ids[i] = from.firstStream + from.streams[i].id
		}
		c.ahead = ahead.Start(maker, ids)
	}
	return c
}

func (s *shapedCodec) frameLen() int { return s.maker.MaxLen() }
func (s *shapedCodec) init([]byte)   {}
func (s *shapedCodec) varies() bool  { return true }

// aim makes the next record one whose key was drawn, to one of the streams.
func (s *shapedCodec) aim(stream int, draw uint64) { s.aimed, s.at, s.draw = true, stream, draw }

// identify makes who the producer of what is built from now on.
func (s *shapedCodec) identify(who *frame.Producer) {
	s.who = who
	for i := range s.first {
		s.first[i] = -1
	}
}

func (s *shapedCodec) build(f []byte, correlation int32, op *Op) {
	b := s.next()
	st := &s.streams[b.Stream]
	if s.first[b.Stream] < 0 {
		s.first[b.Stream] = int64(b.Seq)
	}
	op.Stream, op.Seq, op.Records, op.Bytes = st.id, b.Seq, int32(s.maker.Records()), b.Values
	op.Wire = int64(s.maker.Frame(f, b.Bytes, correlation, st.partition, s.who, b.Seq-uint64(s.first[b.Stream]), time.Now().UnixMilli()))
	if s.ahead != nil {
		s.ahead.Free(b)
	}
}

// next returns the next batch of a partition that the connection's node leads.
func (s *shapedCodec) next() *ahead.Batch {
	if s.ahead != nil {
		for {
			b := s.ahead.Take()
			if s.streams[b.Stream].led {
				return b
			}
			s.ahead.Free(b) // its partition moved away: its records are never sent
		}
	}
	s.turn++
	i := s.at
	if !s.aimed {
		i = s.active[s.turn%len(s.active)]
	}
	st := &s.streams[i]
	s.batch.Make(s.maker, i, s.firstStream+st.id, st.seq, s.draw)
	st.seq += uint64(s.maker.Records())
	return &s.batch
}

func (s *shapedCodec) close() {
	if s.ahead != nil {
		s.ahead.Close()
		s.ahead = nil
	}
}

// DescribeShape says in an Effective's options what requests are like, where that is not the default.
func DescribeShape(options map[string]string, cfg Config, shape *workload.Shape) {
	if shape != nil {
		options["records"] = shape.String()
	}
	for name, v := range map[string]string{"acks": cfg.Acks, "compression": cfg.Compression, "idempotence": cfg.Idempotence, "partition by": cfg.PartitionBy} {
		if v != "" && v != AcksAll && v != workload.ByRoundRobin {
			options[name] = v
		}
	}
}
