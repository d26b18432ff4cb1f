package frame

import (
	"bytes"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// decodeProduce reads a frame with another implementation of the protocol than the one that wrote it.
func decodeProduce(t *testing.T, frame []byte) (kmsg.ProduceRequest, kmsg.RecordBatch, []kmsg.Record) {
	t.Helper()
	req := kmsg.NewProduceRequest()
	req.Version = ProduceVersion
	if got := kmsgHeader(t, frame, ProduceKey, ProduceVersion); got != 77 {
		t.Fatalf("correlation id %d, want 77", got)
	}
	body := frame[12+2+len(ClientID)+1:]
	if err := req.ReadFrom(body); err != nil {
		t.Fatalf("kmsg does not read the request: %v", err)
	}
	raw := req.Topics[0].Partitions[0].Records
	batch := kmsg.RecordBatch{}
	if err := batch.ReadFrom(raw); err != nil {
		t.Fatalf("kmsg does not read the batch: %v", err)
	}
	if got := crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)); int32(got) != batch.CRC {
		t.Fatalf("CRC %#x, want %#x", batch.CRC, got)
	}
	var records []kmsg.Record
	rest := batch.Records
	for range batch.NumRecords {
		r := kmsg.NewRecord()
		if err := r.ReadFrom(rest); err != nil {
			t.Fatalf("record: %v", err)
		}
		records = append(records, r)
		length, n := kmsgVarint(rest)
		rest = rest[n+int(length):]
	}
	if len(rest) != 0 {
		t.Fatalf("%d bytes behind the records", len(rest))
	}
	return req, batch, records
}

func kmsgVarint(p []byte) (int64, int) {
	var u uint64
	for i, b := range p {
		u |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return int64(u>>1) ^ -int64(u&1), i + 1
		}
	}
	return 0, 0
}

func kmsgHeader(t *testing.T, frame []byte, key, version int16) int32 {
	t.Helper()
	be := func(p []byte, n int) (v int) {
		for _, b := range p[:n] {
			v = v<<8 | int(b)
		}
		return v
	}
	if got := be(frame, 4); got != len(frame)-4 {
		t.Fatalf("length prefix %d of a frame of %d bytes", got, len(frame))
	}
	if int16(be(frame[4:], 2)) != key || int16(be(frame[6:], 2)) != version {
		t.Fatalf("key and version % x, want %d and %d", frame[4:8], key, version)
	}
	if n := be(frame[12:], 2); string(frame[14:14+n]) != ClientID {
		t.Fatalf("client id %q", frame[14:14+n])
	}
	return int32(be(frame[8:], 4))
}

func TestProduceReadsAsKafka(t *testing.T) {
	for _, c := range []struct{ records, size int }{{1, 24}, {1, 1024}, {3, 100}, {500, 64}} {
		p := NewPayloads(9, c.size)
		pr, err := NewProduce("topic-a", c.records, 1234, p)
		if err != nil {
			t.Fatal(err)
		}
		frame := make([]byte, pr.Len())
		pr.Init(frame)
		pr.Patch(frame, 5, 1, 1, 1, 1) // overwritten by the next patch
		pr.Patch(frame, 77, 6, 42, 1000, 1_700_000_000_123)
		req, batch, records := decodeProduce(t, frame)
		part := req.Topics[0].Partitions[0]
		if req.Acks != -1 || req.TimeoutMillis != 1234 || req.TransactionID != nil || req.Topics[0].Topic != "topic-a" || part.Partition != 6 ||
			len(req.Topics) != 1 || len(req.Topics[0].Partitions) != 1 {
			t.Fatalf("request %+v", req)
		}
		if batch.Magic != 2 || batch.ProducerID != -1 || batch.ProducerEpoch != -1 || batch.FirstSequence != -1 || batch.FirstOffset != 0 ||
			batch.Attributes != 0 || batch.FirstTimestamp != 1_700_000_000_123 || batch.MaxTimestamp != 1_700_000_000_123 ||
			batch.LastOffsetDelta != int32(c.records-1) || batch.NumRecords != int32(c.records) || batch.PartitionLeaderEpoch != -1 {
			t.Fatalf("batch %+v", batch)
		}
		for i, r := range records {
			stream, seq, ours := p.Peek(r.Value)
			if !ours || stream != 42 || seq != 1000+uint64(i) || r.OffsetDelta != int32(i) || r.Key != nil || len(r.Headers) != 0 {
				t.Fatalf("record %d: %+v", i, r)
			}
			if err := p.Verify(r.Value, stream, seq); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestBatchTable(t *testing.T) {
	b := kmsg.NewRecordBatch()
	b.FirstOffset, b.Length, b.PartitionLeaderEpoch, b.Magic, b.CRC, b.Attributes = 1, 2, 3, 4, 5, 6
	b.LastOffsetDelta, b.FirstTimestamp, b.MaxTimestamp, b.ProducerID, b.NumRecords = 7, 8, 9, 10, 11
	raw := b.AppendTo(nil)
	if len(raw) != batchHeader {
		t.Fatalf("header of %d bytes, want %d", len(raw), batchHeader)
	}
	for at, want := range map[int]byte{7: 1, batchLengthAt + 3: 2, batchEpochAt + 3: 3, batchMagicAt: 4, batchCRCAt + 3: 5, batchAttributesAt + 1: 6,
		batchLastDeltaAt + 3: 7, batchBaseTimeAt + 7: 8, batchMaxTimeAt + 7: 9, batchProducerAt + 7: 10, batchCountAt + 3: 11} {
		if raw[at] != want {
			t.Errorf("byte %d is %d, want %d", at, raw[at], want)
		}
	}
}

func TestPayloadTable(t *testing.T) {
	p := NewPayloads(0x0102030405060708, 32)
	v := make([]byte, 32)
	p.Put(v, 0x0a0b0c0d, 0x1112131415161718)
	want := []byte{1, 2, 3, 4, 5, 6, 7, 8, 0xa, 0xb, 0xc, 0xd, 0, 0, 0, 32, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18}
	if !bytes.Equal(v[:payloadHeader], want) {
		t.Errorf("header % x, want % x", v[:payloadHeader], want)
	}
}

func TestVerifyFindsEveryChangedByte(t *testing.T) {
	p := NewPayloads(3, 300)
	v := make([]byte, 300)
	p.Put(v, 7, 8)
	if err := p.Verify(v, 7, 8); err != nil {
		t.Fatal(err)
	}
	for i := range v {
		v[i] ^= 0x10
		stream, seq, ours := p.Peek(v)
		if ours && stream == 7 && seq == 8 && p.Verify(v, 7, 8) == nil {
			t.Errorf("byte %d changed and nothing was noticed", i)
		}
		v[i] ^= 0x10
	}
	if p.Verify(v[:299], 7, 8) == nil || p.Verify(append(v, 0), 7, 8) == nil {
		t.Error("another length passed")
	}
	if _, _, ours := NewPayloads(4, 300).Peek(v); ours {
		t.Error("another run's record taken for ours")
	}
	q := make([]byte, 300)
	p.Put(q, 7, 9)
	if bytes.Equal(q[payloadHeader:], v[payloadHeader:]) {
		t.Error("neighbouring records have the same filler")
	}
}

func response(code int16, base int64) *kmsg.ProduceResponse {
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = ProduceVersion
	resp.ThrottleMillis = 31
	rt := kmsg.NewProduceResponseTopic()
	rt.Topic = "topic-a"
	rp := kmsg.NewProduceResponseTopicPartition()
	rp.Partition, rp.ErrorCode, rp.BaseOffset, rp.LogStartOffset = 6, code, base, 2
	if code != 0 {
		msg := "no"
		rp.ErrorMessage = &msg
		e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		e.ErrorMessage = &msg
		rp.ErrorRecords = append(rp.ErrorRecords, e, kmsg.NewProduceResponseTopicPartitionErrorRecord())
	}
	rt.Partitions = append(rt.Partitions, rp)
	resp.Topics = append(resp.Topics, rt)
	return resp
}

func TestParseProduced(t *testing.T) {
	for _, c := range []struct {
		code int16
		base int64
	}{{0, 1 << 40}, {6, -1}} {
		raw := response(c.code, c.base).AppendTo([]byte{0, 0, 0, 9, 0})
		got, err := ParseProduced(raw)
		want := Produced{Correlation: 9, Partition: 6, Code: c.code, Base: c.base, ThrottleMS: 31}
		if err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
		for i := range raw {
			if _, err := ParseProduced(raw[:i]); err == nil {
				t.Errorf("%d of %d bytes parsed", i, len(raw))
			}
		}
	}
}

func TestFetchReadsAsKafka(t *testing.T) {
	f := NewFetch("topic-a", FetchLimits{MaxWaitMS: 500, MaxBytes: 1 << 20})
	frame := make([]byte, f.Len())
	f.Init(frame)
	f.Patch(frame, 77, 3, 1<<40)
	if got := kmsgHeader(t, frame, FetchKey, FetchVersion); got != 77 {
		t.Fatalf("correlation id %d", got)
	}
	req := kmsg.NewFetchRequest()
	req.Version = FetchVersion
	if err := req.ReadFrom(frame[14+len(ClientID):]); err != nil {
		t.Fatal(err)
	}
	p := req.Topics[0].Partitions[0]
	if req.ReplicaID != -1 || req.MaxWaitMillis != 500 || req.MinBytes != 1 || req.MaxBytes != 1<<20 || req.SessionEpoch != -1 || req.SessionID != 0 ||
		req.Topics[0].Topic != "topic-a" || p.Partition != 3 || p.FetchOffset != 1<<40 || p.PartitionMaxBytes != 1<<20 || p.CurrentLeaderEpoch != -1 {
		t.Errorf("request %+v", req)
	}
	if back := req.AppendTo(frame[: 14+len(ClientID) : 14+len(ClientID)]); !bytes.Equal(back, frame) {
		t.Errorf("kmsg writes the same request as\n% x\nnot\n% x", back, frame)
	}
	f.AtOnce(frame)
	if err := req.ReadFrom(frame[14+len(ClientID):]); err != nil || req.MaxWaitMillis != 0 || req.ReplicaID != -1 || req.MinBytes != 1 || req.MaxBytes != 1<<20 {
		t.Errorf("at once: %v, %+v", err, req)
	}
}

func fetchResponse(records []byte) []byte {
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = FetchVersion
	rt := kmsg.NewFetchResponseTopic()
	rt.Topic = "topic-a"
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.Partition, rp.HighWatermark, rp.LogStartOffset, rp.RecordBatches = 3, 99, 4, records
	rp.AbortedTransactions = append(rp.AbortedTransactions, kmsg.NewFetchResponseTopicPartitionAbortedTransaction())
	rt.Partitions = append(rt.Partitions, rp)
	resp.Topics = append(resp.Topics, rt)
	return resp.AppendTo([]byte{0, 0, 0, 9})
}

func TestParseFetched(t *testing.T) {
	raw := fetchResponse([]byte("batches"))
	got, err := ParseFetched(raw)
	if err != nil || got.Correlation != 9 || got.Partition != 3 || got.HighWatermark != 99 || got.LogStart != 4 || string(got.Batches) != "batches" {
		t.Errorf("got %+v, %v", got, err)
	}
	for i := range raw {
		if _, err := ParseFetched(raw[:i]); err == nil {
			t.Errorf("%d of %d bytes parsed", i, len(raw))
		}
	}
	refused := kmsg.NewPtrFetchResponse()
	refused.Version, refused.ErrorCode = FetchVersion, 70
	if got, err := ParseFetched(refused.AppendTo([]byte{0, 0, 0, 9})); err != nil || got.Code != 70 {
		t.Errorf("got %+v, %v; want error code 70", got, err)
	}
}

func batchOf(t *testing.T, records int, base int64) []byte {
	t.Helper()
	p := NewPayloads(1, 50)
	b, at := appendBatch(nil, records, 50)
	for i, v := range at {
		p.Put(b[v:v+50], 1, uint64(i))
	}
	sealBatch(b, 5)
	b[7] = byte(base)
	return b
}

func TestNextBatchWalks(t *testing.T) {
	raw := append(batchOf(t, 3, 10), batchOf(t, 2, 13)...)
	rest := append(raw, raw[:70]...) // cut short, as the end of a Fetch may be
	var offsets []int64
	for {
		b, r, err := NextBatch(rest)
		if errors.Is(err, ErrTruncated) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Each(func(r Record) error { offsets = append(offsets, r.Offset); return nil }); err != nil {
			t.Fatal(err)
		}
		rest = r
	}
	if len(offsets) != 5 || offsets[0] != 10 || offsets[4] != 14 {
		t.Errorf("offsets %d", offsets)
	}
	for i := batchMagicAt; i < len(raw)/2; i++ {
		raw[i] ^= 1
		if _, _, err := NextBatch(raw); err == nil {
			t.Fatalf("byte %d changed and nothing was noticed", i)
		}
		raw[i] ^= 1
	}
	short := batchOf(t, 1, 0)
	short[batchLengthAt+3] = 3
	if _, _, err := NextBatch(short[:]); err == nil || !strings.Contains(err.Error(), "length") {
		t.Errorf("a length of 3: %v", err)
	}
}

func TestNewProduceRefuses(t *testing.T) {
	p := NewPayloads(1, 1024)
	for _, c := range []struct {
		topic   string
		records int
	}{{"", 1}, {strings.Repeat("x", 250), 1}, {"t", 0}, {"t", 1 << 20}} {
		if _, err := NewProduce(c.topic, c.records, 1, p); err == nil {
			t.Errorf("topic of %d bytes, %d records: accepted", len(c.topic), c.records)
		}
	}
}

func FuzzParseProduced(f *testing.F) {
	f.Add(response(0, 1).AppendTo([]byte{0, 0, 0, 9, 0}))
	f.Add(response(6, 1).AppendTo([]byte{0, 0, 0, 9, 0}))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseProduced(b) })
}

func FuzzParseFetched(f *testing.F) {
	f.Add(fetchResponse([]byte("x")))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseFetched(b) })
}

func FuzzNextBatch(f *testing.F) {
	b, _ := appendBatch(nil, 2, 24)
	sealBatch(b, 1)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		batch, rest, err := NextBatch(b)
		if err != nil {
			// Past the CRC, which a fuzzer cannot guess, records are decoded all the same.
			batch, rest = Batch{Records: b, Count: 5}, nil
		}
		_ = batch.Each(func(Record) error { return nil })
		if len(rest) >= len(b) && len(b) > 0 {
			t.Fatal("no progress")
		}
	})
}

func BenchmarkPatch1KiB(b *testing.B) {
	pr, _ := NewProduce("t", 1, 1000, NewPayloads(1, 1024))
	frame := make([]byte, pr.Len())
	pr.Init(frame)
	b.SetBytes(int64(pr.Len()))
	for i := 0; b.Loop(); i++ {
		pr.Patch(frame, int32(i), 2, 3, uint64(i), 5)
	}
}

func BenchmarkParseProduced(b *testing.B) {
	raw := response(0, 5).AppendTo([]byte{0, 0, 0, 9, 0})
	for b.Loop() {
		_, _ = ParseProduced(raw)
	}
}

// A frame of a producer says who it is and which record comes next, the sequence running through 2³¹; any other says nobody.
func TestIdentify(t *testing.T) {
	p, err := NewProduce("t", 3, 1000, NewPayloads(1, 64))
	if err != nil {
		t.Fatal(err)
	}
	f := make([]byte, p.Len())
	p.Init(f)
	p.Patch(f, 77, 0, 0, 9, 5)
	if _, b, _ := decodeProduce(t, f); b.ProducerID != -1 || b.ProducerEpoch != -1 || b.FirstSequence != -1 {
		t.Errorf("nobody is %d epoch %d sequence %d", b.ProducerID, b.ProducerEpoch, b.FirstSequence)
	}
	p.Identify(f, Producer{ID: 1 << 40, Epoch: 3})
	for seq, want := range map[uint64]int32{0: 0, 9: 9, 1<<31 - 1: 1<<31 - 1, 1 << 31: 0, 1<<31 + 6: 6} {
		p.Patch(f, 77, 0, 0, seq, 5)
		if _, b, _ := decodeProduce(t, f); b.ProducerID != 1<<40 || b.ProducerEpoch != 3 || b.FirstSequence != want {
			t.Errorf("record %d: producer %d epoch %d sequence %d, want %d", seq, b.ProducerID, b.ProducerEpoch, b.FirstSequence, want)
		}
	}
}
