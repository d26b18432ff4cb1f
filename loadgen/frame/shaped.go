package frame

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/loadgen/place"
	"ackline/loadgen/workload"
)

// Codec is how the records of a batch are compressed, by its number in a batch's attributes.
type Codec int8

// The codecs.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// Codecs are the names of the codecs, in order of their numbers.
var Codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// Kgo is the codec at its default level, in the library's terms.
func (c Codec) Kgo() kgo.CompressionCodec {
	return []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}[c]
}

// Shaped makes Produce requests of records that are not all alike or that are compressed. What takes long, the batch, is made by itself, so
// that it can be made ahead; a batch is put into a request by a copy and its CRC. Used by one goroutine at a time, except that Batch may
// run beside Frame.
type Shaped struct {
	payloads   *Payloads
	heads      [][]byte // of a frame, up to the partition; by topic
	tail       []byte   // behind the batch: the tags of partition, topic and body
	records    int
	codec      Codec
	compressor kgo.Compressor // nil without compression
	maxLen     int

	plain []byte // scratch of Batch
	small bytes.Buffer
}

// Asked is what requests ask for beside storing their records.
type Asked struct {
	Records   int   // of each request
	TimeoutMS int32 // how long the broker may wait for its replicas
	Acks      int16 // -1: of all replicas in sync; 1: of the leader; 0: none, and no answer
	Codec     Codec
	Stages    bool   // see Stages
	Place     string // see ClientOf
}

// NewShaped returns a maker of requests to one topic, or to several (see place.Parse): each request is to one of them.
func NewShaped(topics string, a Asked, p *Payloads) (s *Shaped, err error) {
	s = &Shaped{payloads: p, tail: []byte{0, 0, 0}, records: a.Records, codec: a.Codec}
	longest := 0
	for _, name := range place.Parse(topics) {
		pr, err := NewProduce(name, 1, a.TimeoutMS, NewPayloads(p.run, MinPayload))
		if err != nil {
			return nil, err
		}
		pr.From(a.Place)
		pr.SetAcks(a.Acks)
		s.heads = append(s.heads, pr.template[:pr.partitionAt])
		longest = max(longest, pr.partitionAt)
	}
	if a.Stages {
		s.tail = appendStagesQuestion(s.tail[:2])
	}
	if a.Codec != None {
		if s.compressor, err = kgo.DefaultCompressor(a.Codec.Kgo()); err != nil {
			return nil, fmt.Errorf("produce: %w", err)
		}
	}
	raw := int64(a.Records) * int64(p.maxRecord())
	// A codec that finds nothing makes it longer: snappy, the worst of them, by a sixth.
	most := int64(longest) + 4 + binary.MaxVarintLen32 + batchHeader + raw + raw/6 + 128 + int64(len(s.tail))
	if a.Records < 1 || most > math.MaxInt32/4 {
		return nil, fmt.Errorf("produce: %d records of up to %d bytes make a request of up to %d bytes, want 1 record or more and at most %d bytes", a.Records, p.maxRecord(), most, math.MaxInt32/4)
	}
	s.maxLen = int(most)
	return s, nil
}

// MaxLen is the length that no frame exceeds, its prefix included.
func (s *Shaped) MaxLen() int { return s.maxLen }

// Records is the number of records of each request.
func (s *Shaped) Records() int { return s.records }

// Batch appends the batch of records seq, seq+1, … of a stream, without times and CRC, and says how many bytes its values have.
func (s *Shaped) Batch(dst []byte, stream uint32, seq uint64) (out []byte, values int64) {
	return s.Drawn(dst, stream, seq, 0)
}

// Drawn is Batch for a record whose key is that of a draw (see NewDrawnPayloads).
func (s *Shaped) Drawn(dst []byte, stream uint32, seq, draw uint64) (out []byte, values int64) {
	start := len(dst)
	dst = append(dst, make([]byte, batchHeader)...)
	into := &dst
	if s.codec != None {
		s.plain = s.plain[:0]
		into = &s.plain
	}
	for i := range s.records {
		var n int
		*into, n = s.payloads.appendRecord(*into, i, stream, seq+uint64(i), draw)
		values += int64(n)
	}
	codec := None
	if s.codec != None {
		s.small.Reset()
		small, used := s.compressor.Compress(&s.small, s.plain)
		if used < 0 {
			panic(fmt.Sprintf("frame: %s did not compress %d bytes", Codecs[s.codec], len(s.plain)))
		}
		codec = Codec(used)
		dst = append(dst, small...)
	}
	headBatch(dst[start:], s.records)
	binary.BigEndian.PutUint16(dst[start+batchAttributesAt:], uint16(codec))
	return dst, values
}

// Frame writes the request that holds a batch and returns its length, at most MaxLen. at is the place that it goes to (see package place), first the batch's
// sequence number if there is a producer.
func (s *Shaped) Frame(frame, batch []byte, correlation, at int32, who *Producer, first uint64, timestampMS int64) int {
	head, partition := s.heads[0], at
	if len(s.heads) > 1 {
		topic, number := place.Split(at)
		head, partition = s.heads[topic], number
	}
	b := append(frame[:0], head...)
	binary.BigEndian.PutUint32(b[CorrelationAt:], uint32(correlation))
	b = binary.BigEndian.AppendUint32(b, uint32(partition))
	b = binary.AppendUvarint(b, uint64(len(batch)+1))
	start := len(b)
	b = append(b, batch...)
	if in := b[start:]; who != nil {
		identify(in, *who, first)
	}
	sealBatch(b[start:], timestampMS)
	b = append(b, s.tail...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if len(b) > len(frame) {
		panic(fmt.Sprintf("frame: a request of %d bytes, no more than %d were expected", len(b), len(frame)))
	}
	return len(b)
}

// maxRecord bounds the length of a record within a batch.
func (p *Payloads) maxRecord() int {
	return p.size + 4*binary.MaxVarintLen64 + workload.KeyBytes + len(p.appendHeaders(nil, 0, 0))
}

// appendRecord appends a record as it stands in a batch, and says how many bytes its value has.
func (p *Payloads) appendRecord(dst []byte, delta int, stream uint32, seq, draw uint64) ([]byte, int) {
	var keyBytes [workload.KeyBytes]byte
	key := keyBytes[:0]
	keyLen := int64(-1)
	if p.drawn {
		key = p.DrawnKey(key, draw)
		keyLen = int64(len(key))
	} else if p.shape != nil {
		if key = p.shape.AppendKey(key, p.run, stream, seq); !p.shape.Key.IsZero() {
			keyLen = int64(len(key))
		}
	}
	n := p.Bytes(stream, seq)
	length := 2 + varintLen(int64(delta)) + varintLen(keyLen) + len(key) + varintLen(int64(n)) + n + p.headersLen
	dst = binary.AppendVarint(dst, int64(length))
	dst = append(dst, 0, 0) // attributes, timestamp delta
	dst = binary.AppendVarint(dst, int64(delta))
	dst = binary.AppendVarint(dst, keyLen)
	dst = append(dst, key...)
	dst = binary.AppendVarint(dst, int64(n))
	dst = append(dst, make([]byte, n)...)
	p.PutDrawn(dst[len(dst)-n:], stream, seq, draw)
	return p.appendHeaders(dst, stream, seq), n
}

// appendHeaders appends a record's headers: their number, and for each the lengths and bytes of its name and its value.
func (p *Payloads) appendHeaders(dst []byte, stream uint32, seq uint64) []byte {
	if p.shape == nil {
		return append(dst, 0)
	}
	h := p.shape.Headers
	dst = binary.AppendVarint(dst, int64(h.Count))
	for i := range h.Count {
		name := workload.HeaderName(i)
		dst = binary.AppendVarint(dst, int64(len(name)))
		dst = append(dst, name...)
		dst = binary.AppendVarint(dst, int64(h.Bytes))
		dst = append(dst, make([]byte, h.Bytes)...)
		p.shape.HeaderValue(dst[len(dst)-h.Bytes:], p.run, stream, seq, i)
	}
	return dst
}

// varintLen is the length of a zigzag varint.
func varintLen(v int64) int {
	n := 1
	for u := uint64(v<<1) ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
