package frame

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/loadgen/place"
	"ackline/loadgen/workload"
)

// shape reads a shape's parts.
func shape(t *testing.T, size, key, headers string, ratio float64) workload.Shape {
	t.Helper()
	var s workload.Shape
	for _, err := range []error{s.Size.UnmarshalText([]byte(size)), s.Key.UnmarshalText([]byte(key)), s.Headers.UnmarshalText([]byte(headers))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.Ratio = ratio
	return s
}

// asPlain makes a frame one whose batch is not compressed, so that kmsg reads it.
func asPlain(t *testing.T, s *Shaped, f []byte) []byte {
	t.Helper()
	req := kmsg.NewProduceRequest()
	req.Version = ProduceVersion
	if err := req.ReadFrom(f[12+2+len(ClientID)+1:]); err != nil {
		t.Fatal(err)
	}
	raw := req.Topics[0].Partitions[0].Records
	if got := crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)); binary.BigEndian.Uint32(raw[17:]) != got {
		t.Fatalf("CRC %#x, want %#x", binary.BigEndian.Uint32(raw[17:]), got)
	}
	b, rest, err := NextBatch(raw)
	if err != nil || len(rest) != 0 || b.Codec != int8(s.codec) {
		t.Fatalf("%v, %d bytes left, codec %d, want %d", err, len(rest), b.Codec, s.codec)
	}
	plain, err := b.Plain(kgo.DefaultDecompressor())
	if err != nil {
		t.Fatal(err)
	}
	batch := append(bytes.Clone(raw[:batchHeader]), plain.Records...)
	binary.BigEndian.PutUint16(batch[batchAttributesAt:], 0)
	binary.BigEndian.PutUint32(batch[batchLengthAt:], uint32(len(batch)-batchEpochAt))
	out := make([]byte, len(batch)+1000)
	return out[:s.Frame(out, batch, 77, 6, nil, 0, 1_700_000_000_123)]
}

func TestShapedReadsAsKafka(t *testing.T) {
	for _, c := range []struct {
		shape   workload.Shape
		records int
		codec   Codec
	}{
		{shape(t, "24..3000", "none", "none", 0), 10, None},
		{shape(t, "1024", "uniform:50", "2x30", 0), 3, None},
		{shape(t, "24", "sequential", "100x0", 1), 500, None},
		{shape(t, "200:1,5000:1", "zipf:10,1.1", "1x1", 3), 100, Gzip},
		{shape(t, "1024", "none", "none", 0), 1, Snappy},
		{shape(t, "1024", "none", "none", 1), 40, LZ4},
		{shape(t, "p50=300,p99=4000", "none", "3x9", 4), 200, Zstd},
	} {
		c.shape.Size = c.shape.Size.AtLeast(MinPayload)
		p := NewShapedPayloads(9, c.shape)
		s, err := NewShaped("topic-a", Asked{Records: c.records, TimeoutMS: 1234, Acks: 1, Codec: c.codec}, p)
		if err != nil {
			t.Fatal(err)
		}
		batch, values := s.Batch(nil, 42, 1000)
		frame := make([]byte, s.MaxLen())
		frame = frame[:s.Frame(frame, batch, 77, 6, &Producer{ID: 5, Epoch: 2}, 1000, 1_700_000_000_123)]
		req, parsed, records := decodeProduce(t, asPlain(t, s, frame))
		if req.Acks != 1 || req.TimeoutMillis != 1234 || req.Topics[0].Topic != "topic-a" || req.Topics[0].Partitions[0].Partition != 6 {
			t.Fatalf("request %+v", req)
		}
		if parsed.FirstTimestamp != 1_700_000_000_123 || parsed.ProducerID != 5 || parsed.ProducerEpoch != 2 || parsed.FirstSequence != 1000 ||
			int(parsed.NumRecords) != c.records || int(parsed.LastOffsetDelta) != c.records-1 {
			t.Fatalf("batch %+v", parsed)
		}
		for i, r := range records {
			seq := 1000 + uint64(i)
			values -= int64(len(r.Value))
			if stream, got, ours := p.Peek(r.Value); !ours || stream != 42 || got != seq || r.OffsetDelta != int32(i) {
				t.Fatalf("record %d: %+v", i, r)
			}
			if len(r.Value) != c.shape.Bytes(9, 42, seq) || string(r.Key) != string(c.shape.AppendKey(nil, 9, 42, seq)) ||
				(r.Key == nil) != c.shape.Key.IsZero() || len(r.Headers) != c.shape.Headers.Count {
				t.Fatalf("record %d has a value of %d bytes, the key %q and %d headers", i, len(r.Value), r.Key, len(r.Headers))
			}
			for j, h := range r.Headers {
				if h.Key != fmt.Sprintf("h%d", j) || len(h.Value) != c.shape.Headers.Bytes {
					t.Fatalf("header %+v", h)
				}
			}
		}
		if values != 0 {
			t.Errorf("the batch has %d bytes of values more than it says", -values)
		}
	}
}

// Each request goes to its own topic, and holds the key of its draw; a byte of it that changes is noticed, the draw's too.
func TestDrawnToSeveralTopics(t *testing.T) {
	p := NewDrawnPayloads(3, shape(t, "32..64", "zipf:50,1.1", "none", 0))
	s, err := NewShaped("a,longer,b", Asked{Records: 1, TimeoutMS: 5, Acks: -1}, p)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"a", "longer", "b"} {
		batch, _ := s.Drawn(nil, 7, 8, 1000+uint64(i))
		f := make([]byte, s.MaxLen())
		f = f[:s.Frame(f, batch, 77, place.Of(i, 5), nil, 0, 1)]
		req, _, records := decodeProduce(t, f)
		if got := req.Topics[0]; got.Topic != name || got.Partitions[0].Partition != 5 {
			t.Errorf("to %q partition %d, want %q", got.Topic, got.Partitions[0].Partition, name)
		}
		r := Record{Key: records[0].Key, Value: records[0].Value, Headers: []byte{0}}
		if want := p.DrawnKey(nil, 1000+uint64(i)); string(r.Key) != string(want) {
			t.Errorf("key %q, want %q", r.Key, want)
		}
		if err := p.VerifyRecord(r, 7, 8); err != nil {
			t.Error(err)
		}
		for _, part := range [][]byte{r.Key, r.Value} {
			for j := range part {
				part[j] ^= 0x10
				if stream, seq, ours := p.Peek(r.Value); ours && stream == 7 && seq == 8 && p.VerifyRecord(r, 7, 8) == nil {
					t.Errorf("byte %d of %d changed and nothing was noticed", j, len(part))
				}
				part[j] ^= 0x10
			}
		}
	}
}

// A batch of a ratio is made so much smaller with everything that it holds beside the values.
func TestRatioOfBatches(t *testing.T) {
	for codec := Gzip; codec <= Zstd; codec++ {
		s, err := NewShaped("t", Asked{Records: 100, Codec: codec}, NewShapedPayloads(1, shape(t, "1024", "uniform:1000000", "none", 3)))
		if err != nil {
			t.Fatal(err)
		}
		batch, values := s.Batch(nil, 1, 0)
		if got := float64(values) / float64(len(batch)); got < 3*0.85 || got > 3*1.15 {
			t.Errorf("%s: %d bytes of values become %d, a ratio of %.2f, want 3", Codecs[codec], values, len(batch), got)
		}
	}
}

func TestVerifyRecordFindsEveryChangedByte(t *testing.T) {
	p := NewShapedPayloads(3, shape(t, "100..200", "uniform:1000", "2x9", 2))
	raw, _ := p.appendRecord(nil, 0, 7, 8, 0)
	_, n := binary.Varint(raw)
	read := func() (Record, error) { return record(raw[n:]) }
	r, err := read()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.VerifyRecord(r, 7, 8); err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{r.Key, r.Value, r.Headers} {
		for i := range part {
			part[i] ^= 0x10
			if stream, seq, ours := p.Peek(r.Value); ours && stream == 7 && seq == 8 && p.VerifyRecord(r, 7, 8) == nil {
				t.Errorf("byte %d of %d changed and nothing was noticed", i, len(part))
			}
			part[i] ^= 0x10
		}
	}
	for i, bad := range []Record{{Value: r.Value, Headers: r.Headers}, {Key: r.Key[1:], Value: r.Value, Headers: r.Headers}, {Key: r.Key, Value: r.Value[:99], Headers: r.Headers},
		{Key: r.Key, Value: r.Value, Headers: r.Headers[:3]}, {Key: r.Key, Value: r.Value}} {
		if p.VerifyRecord(bad, 7, 8) == nil {
			t.Errorf("record %d lacks something and passes", i)
		}
	}
	plain := NewPayloads(3, 100)
	v := make([]byte, 100)
	plain.Put(v, 7, 8)
	if err := plain.VerifyRecord(Record{Value: v, Headers: []byte{0}}, 7, 8); err != nil {
		t.Error(err)
	}
	if plain.VerifyRecord(Record{Key: []byte("k"), Value: v, Headers: []byte{0}}, 7, 8) == nil || plain.VerifyRecord(Record{Value: v, Headers: []byte{2, 0, 0}}, 7, 8) == nil {
		t.Error("a key or headers that were not sent pass")
	}
}

func TestAcks(t *testing.T) {
	pr, err := NewProduce("t", 1, 1, NewPayloads(1, 24))
	if err != nil {
		t.Fatal(err)
	}
	for _, acks := range []int16{0, 1, -1} {
		pr.SetAcks(acks)
		frame := make([]byte, pr.Len())
		pr.Init(frame)
		pr.Patch(frame, 77, 1, 1, 1, 1)
		if req, _, _ := decodeProduce(t, frame); req.Acks != acks {
			t.Errorf("acks %d, want %d", req.Acks, acks)
		}
	}
}
