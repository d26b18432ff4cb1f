package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A record batch, magic 2, big-endian:
//
//	offset  size  field
//	     0     8  base offset: 0 from a client, set by the broker
//	     8     4  length of what follows
//	    12     4  partition leader epoch: -1 from a client, set by the broker
//	    16     1  magic: 2
//	    17     4  CRC-32C of everything from the attributes on
//	    21     2  attributes: 0 (no compression, create time, no transaction)
//	    23     4  last offset delta
//	    27     8  base timestamp, ms
//	    35     8  max timestamp, ms
//	    43     8  producer id: -1 for none
//	    51     2  producer epoch: -1 for none
//	    53     4  base sequence: -1 for none
//	    57     4  record count
//	    61     –  records
//
// A record: length (varint), attributes (1 byte), timestamp delta (varint), offset delta (varint), key length (varint,
// -1 for none), value length (varint), value, number of headers (varint).
const (
	batchLengthAt     = 8
	batchEpochAt      = 12
	batchMagicAt      = 16
	batchCRCAt        = 17
	batchAttributesAt = 21
	batchLastDeltaAt  = 23
	batchBaseTimeAt   = 27
	batchMaxTimeAt    = 35
	batchProducerAt   = 43
	batchProdEpochAt  = 51
	batchSequenceAt   = 53
	batchCountAt      = 57
	batchHeader       = 61

	batchMagic      = 2
	compressionMask = 7
	controlBit      = 1 << 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendBatch appends a batch of records with zeroed values of size bytes each and returns where the values lie.
func appendBatch(dst []byte, records, size int) (out []byte, valueAt []int) {
	start := len(dst)
	dst = append(dst, make([]byte, batchHeader)...)
	for i := range records {
		var head []byte
		head = append(head, 0) // attributes
		head = binary.AppendVarint(head, 0)
		head = binary.AppendVarint(head, int64(i))
		head = binary.AppendVarint(head, -1)
		head = binary.AppendVarint(head, int64(size))
		dst = binary.AppendVarint(dst, int64(len(head)+size+1))
		dst = append(dst, head...)
		valueAt = append(valueAt, len(dst))
		dst = append(dst, make([]byte, size)...)
		dst = append(dst, 0) // no headers
	}
	headBatch(dst[start:], records)
	return dst, valueAt
}

// headBatch fills in the head of a batch, which is zeroed, for records without a producer.
func headBatch(b []byte, records int) {
	binary.BigEndian.PutUint32(b[batchLengthAt:], uint32(len(b)-batchEpochAt))
	binary.BigEndian.PutUint32(b[batchEpochAt:], ^uint32(0))
	b[batchMagicAt] = batchMagic
	binary.BigEndian.PutUint32(b[batchLastDeltaAt:], uint32(records-1))
	for i := batchProducerAt; i < batchCountAt; i++ {
		b[i] = 0xff // producer id, epoch and base sequence: -1
	}
	binary.BigEndian.PutUint32(b[batchCountAt:], uint32(records))
}

// identify makes a batch one of a producer's.
func identify(b []byte, who Producer, first uint64) {
	binary.BigEndian.PutUint64(b[batchProducerAt:], uint64(who.ID))
	binary.BigEndian.PutUint16(b[batchProdEpochAt:], uint16(who.Epoch))
	binary.BigEndian.PutUint32(b[batchSequenceAt:], uint32(first&math.MaxInt32)) // behind the highest one comes 0 again
}

// sealBatch sets the times of a batch and its CRC.
func sealBatch(b []byte, timestampMS int64) {
	binary.BigEndian.PutUint64(b[batchBaseTimeAt:], uint64(timestampMS))
	binary.BigEndian.PutUint64(b[batchMaxTimeAt:], uint64(timestampMS))
	binary.BigEndian.PutUint32(b[batchCRCAt:], crc32.Checksum(b[batchAttributesAt:], castagnoli))
}

// Batch is one stored record batch.
type Batch struct {
	Base      int64 // offset of the first record
	LastDelta int32
	Count     int32
	Control   bool // written by the broker (a transaction's marker), not by a client
	Codec     int8 // 0: none
	Records   []byte
}

// ErrTruncated says that the bytes end within a batch, as the last batch of a Fetch may.
var ErrTruncated = errors.New("record batch is cut short")

// NextBatch checks the first batch of b, its CRC included, and returns it and what follows it.
func NextBatch(b []byte) (Batch, []byte, error) {
	if len(b) < batchHeader {
		return Batch{}, nil, ErrTruncated
	}
	base := int64(binary.BigEndian.Uint64(b))
	length := int64(int32(binary.BigEndian.Uint32(b[batchLengthAt:])))
	if length < batchHeader-batchEpochAt {
		return Batch{}, nil, fmt.Errorf("batch at offset %d: length %d, want at least %d", base, length, batchHeader-batchEpochAt)
	}
	if length > int64(len(b)-batchEpochAt) {
		return Batch{}, nil, ErrTruncated
	}
	b, rest := b[:batchEpochAt+length], b[batchEpochAt+length:]
	if b[batchMagicAt] != batchMagic {
		return Batch{}, nil, fmt.Errorf("batch at offset %d: magic %d, want %d", base, b[batchMagicAt], batchMagic)
	}
	crc := binary.BigEndian.Uint32(b[batchCRCAt:])
	if got := crc32.Checksum(b[batchAttributesAt:], castagnoli); got != crc {
		return Batch{}, nil, fmt.Errorf("batch at offset %d: CRC-32C of its bytes is %#08x, it says %#08x", base, got, crc)
	}
	attributes := binary.BigEndian.Uint16(b[batchAttributesAt:])
	return Batch{
		Base:      base,
		LastDelta: int32(binary.BigEndian.Uint32(b[batchLastDeltaAt:])),
		Count:     int32(binary.BigEndian.Uint32(b[batchCountAt:])),
		Control:   attributes&controlBit != 0,
		Codec:     int8(attributes & compressionMask),
		Records:   b[batchHeader:],
	}, rest, nil
}

// Walk checks the batches of an answer to a request for offset from: the first holds from, each follows the one before.
func Walk(batches []byte, from int64) (next int64, records int32, err error) {
	next = from
	for len(batches) > 0 {
		b, rest, err := NextBatch(batches)
		if errors.Is(err, ErrTruncated) {
			break
		}
		if err != nil {
			return next, records, err
		}
		last := b.Base + int64(b.LastDelta)
		if (records == 0 && last < from) || (records > 0 && b.Base < next) {
			return next, records, fmt.Errorf("a batch of offsets %d–%d where %d should follow", b.Base, last, next)
		}
		next, records, batches = last+1, records+b.Count, rest
	}
	return next, records, nil
}

// Plain returns the batch without compression.
func (b Batch) Plain(unpack kgo.Decompressor) (Batch, error) {
	if b.Codec == 0 {
		return b, nil
	}
	plain, err := unpack.Decompress(b.Records, kgo.CompressionCodecType(b.Codec))
	if err != nil {
		return b, fmt.Errorf("batch at offset %d: %w", b.Base, err)
	}
	b.Records, b.Codec = plain, 0
	return b, nil
}

// Record is one record of a batch, of whose bytes it is made.
type Record struct {
	Offset  int64
	Key     []byte // nil: none
	Value   []byte
	Headers []byte // encoded, with their number
}

// Each calls f with every record of an uncompressed batch, in order.
func (b Batch) Each(f func(r Record) error) error {
	if b.Codec != 0 {
		return fmt.Errorf("batch at offset %d is compressed (codec %d): decompress it first", b.Base, b.Codec)
	}
	p := b.Records
	for i := range b.Count {
		length, n := binary.Varint(p)
		if n <= 0 || length < 0 || length > int64(len(p)-n) {
			return fmt.Errorf("batch at offset %d: record %d of %d has length %d, %d bytes are left", b.Base, i, b.Count, length, len(p)-max(n, 0))
		}
		r, err := record(p[n : n+int(length)])
		if err != nil {
			return fmt.Errorf("batch at offset %d: record %d of %d: %w", b.Base, i, b.Count, err)
		}
		r.Offset += b.Base
		if err := f(r); err != nil {
			return err
		}
		p = p[n+int(length):]
	}
	if len(p) != 0 {
		return fmt.Errorf("batch at offset %d: %d bytes behind its %d records", b.Base, len(p), b.Count)
	}
	return nil
}

// record takes a record apart. Its offset is relative to the batch.
func record(p []byte) (r Record, err error) {
	if len(p) < 1 {
		return r, errors.New("it is empty")
	}
	p = p[1:]
	next := func(what string) int64 {
		v, n := binary.Varint(p)
		if n <= 0 && err == nil {
			err = fmt.Errorf("%s is not a varint", what)
		}
		p = p[max(n, 0):]
		return v
	}
	bytes := func(what string) []byte {
		n := next(what)
		if err == nil && n > int64(len(p)) {
			err = fmt.Errorf("%s is %d, %d bytes are left", what, n, len(p))
		}
		if err != nil || n < 0 {
			return nil
		}
		v := p[:n]
		p = p[n:]
		return v
	}
	next("the timestamp delta")
	r.Offset = next("the offset delta")
	r.Key = bytes("the key's length")
	r.Value = bytes("the value's length")
	r.Headers = p
	return r, err
}
