package kwire

import (
	"encoding/binary"
	"fmt"

	"ackline/broker/crc"
)

// A record batch, magic 2, as it travels and as it is stored. Big-endian.
//
//	offset  size  field
//	0       8     base offset             patched by the leader; not covered by the CRC
//	8       4     length of what follows this field
//	12      4     partition leader epoch  patched by the leader; not covered by the CRC
//	16      1     magic, 2
//	17      4     CRC-32C of everything from offset 21 on
//	21      2     attributes (bits below)
//	23      4     last offset delta
//	27      8     base timestamp, ms
//	35      8     max timestamp, ms
//	43      8     producer id, -1 for none
//	51      2     producer epoch
//	53      4     base sequence
//	57      4     number of records
//	61      ..    records, compressed as the attributes say
const (
	batchBaseAt          = 0
	batchLengthAt        = 8
	batchEpochAt         = 12
	batchMagicAt         = 16
	batchCRCAt           = 17
	batchAttributesAt    = 21
	batchLastDeltaAt     = 23
	batchBaseTimeAt      = 27
	batchMaxTimeAt       = 35
	batchProducerIDAt    = 43
	batchProducerEpochAt = 51
	batchBaseSequenceAt  = 53
	batchCountAt         = 57

	// BatchHeaderBytes is the size of a batch without its records.
	BatchHeaderBytes = 61
	batchMagic       = 2
	// batchLengthFrom is where the bytes start that the length field counts.
	batchLengthFrom = 12
	// minRecordBytes is the smallest uncompressed record: length, attributes, timestamp delta, offset delta, key
	// length, value length and header count, a byte each.
	minRecordBytes = 7
)

// Bits of a batch's attributes.
const (
	AttrCodec         int16 = 0x07 // 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd
	AttrLogAppendTime int16 = 0x08
	AttrTransactional int16 = 0x10
	AttrControl       int16 = 0x20
	AttrDeleteHorizon int16 = 0x40 // the base timestamp is a compaction's delete horizon
	maxCodec          int16 = 4
)

// Kafka's error codes for batches that are refused.
const (
	CodeCorruptMessage              int16 = 2
	CodeInvalidTimestamp            int16 = 32
	CodeUnsupportedForMessageFormat int16 = 43
	CodeInvalidTxnState             int16 = 48
	CodeUnsupportedCompressionType  int16 = 76
	CodeInvalidRecord               int16 = 87
)

// BatchInfo is what the header of a record batch says.
type BatchInfo struct {
	Base          int64 // base offset
	Length        int   // of the whole batch in bytes, its header included
	Epoch         int32 // partition leader epoch
	Attributes    int16
	LastDelta     int32 // last offset - base offset
	BaseTimestamp int64 // ms
	MaxTimestamp  int64 // ms
	ProducerID    int64 // -1 for none
	ProducerEpoch int16
	BaseSequence  int32
	Count         int32 // of records
}

// BatchError is a batch from a client that must not be stored.
type BatchError struct {
	Code   int16  // Kafka's error code for it, one of the Code constants of this package
	Reason string // what is wrong, and what would be right
}

func (e *BatchError) Error() string {
	return fmt.Sprintf("kwire: record batch refused with error code %d: %s", e.Code, e.Reason)
}

func refuse(code int16, format string, args ...any) (BatchInfo, error) {
	return BatchInfo{}, &BatchError{Code: code, Reason: fmt.Sprintf(format, args...)}
}

// ParseBatch checks that b is exactly one record batch that a client may write, its checksum included, and returns
// its header. The error is an *BatchError. It does not allocate unless it fails.
//
// What compressed records decompress to is not looked at: nothing here ever expands them. Uncompressed records are
// checked to have the lengths and the offsets that the header claims.
func ParseBatch(b []byte) (BatchInfo, error) {
	if len(b) < BatchHeaderBytes {
		// Magic 0 and 1 have smaller headers and the magic at the same place.
		if len(b) > batchMagicAt && b[batchMagicAt] < batchMagic {
			return refuse(CodeUnsupportedForMessageFormat, "magic %d; only 2 is accepted", b[batchMagicAt])
		}
		return refuse(CodeCorruptMessage, "%d bytes; a batch has at least %d", len(b), BatchHeaderBytes)
	}
	if m := b[batchMagicAt]; m != batchMagic {
		if m < batchMagic {
			return refuse(CodeUnsupportedForMessageFormat, "magic %d; only 2 is accepted", m)
		}
		return refuse(CodeCorruptMessage, "magic %d; only 2 is accepted", m)
	}
	length := int64(int32(binary.BigEndian.Uint32(b[batchLengthAt:]))) + batchLengthFrom
	if length < BatchHeaderBytes || length > int64(len(b)) {
		return refuse(CodeCorruptMessage, "a batch of %d bytes in a record set of %d; %d is the least", length, len(b), BatchHeaderBytes)
	}
	if length < int64(len(b)) {
		return refuse(CodeInvalidRecord, "%d bytes after the first batch; exactly one batch per partition is accepted", int64(len(b))-length)
	}
	want := binary.BigEndian.Uint32(b[batchCRCAt:])
	if got := crc.Sum(b[batchAttributesAt:]); got != want {
		return refuse(CodeCorruptMessage, "CRC-32C %08x, the header says %08x", got, want)
	}
	return checkBatch(b, PeekBatch(b))
}

// StoredCRC is the CRC-32C of all of b, a batch whose own checksum was found to be right when it came: what is short of that
// checksum is read, the rest is not. It is 0 for what is no batch or so short that reading it costs less.
func StoredCRC(b []byte) uint32 {
	if len(b) < crc.CombineFrom || b[batchMagicAt] != batchMagic {
		return 0
	}
	return crc.Combine(crc.Sum(b[:batchAttributesAt]), binary.BigEndian.Uint32(b[batchCRCAt:]), len(b)-batchAttributesAt)
}

// checkBatch checks what a well-formed header claims.
func checkBatch(b []byte, i BatchInfo) (BatchInfo, error) {
	switch a := i.Attributes; {
	case a&AttrCodec > maxCodec:
		return refuse(CodeUnsupportedCompressionType, "compression codec %d; 0 to %d exist", a&AttrCodec, maxCodec)
	case a&AttrControl != 0:
		return refuse(CodeInvalidRecord, "a control batch; only brokers write those")
	case a&AttrTransactional != 0:
		return refuse(CodeInvalidTxnState, "a transactional batch; transactions are not served")
	case a&AttrLogAppendTime != 0:
		return refuse(CodeInvalidTimestamp, "timestamp type LogAppendTime; producers write CreateTime")
	case a&AttrDeleteHorizon != 0:
		return refuse(CodeInvalidRecord, "a delete horizon; only compaction sets one")
	}
	switch {
	case i.Count < 1:
		return refuse(CodeInvalidRecord, "%d records; at least one is needed", i.Count)
	case i.LastDelta != i.Count-1:
		return refuse(CodeInvalidRecord, "last offset delta %d with %d records; %d is right", i.LastDelta, i.Count, i.Count-1)
	case i.ProducerID < -1:
		return refuse(CodeInvalidRecord, "producer id %d; -1 means none", i.ProducerID)
	case i.ProducerID >= 0 && (i.ProducerEpoch < 0 || i.BaseSequence < 0):
		return refuse(CodeInvalidRecord, "producer id %d with epoch %d and sequence %d; both start at 0",
			i.ProducerID, i.ProducerEpoch, i.BaseSequence)
	}
	if i.Attributes&AttrCodec == 0 {
		if reason := checkRecords(b[BatchHeaderBytes:], i.Count); reason != "" {
			return refuse(CodeInvalidRecord, "%s", reason)
		}
	}
	return i, nil
}

// checkRecords steps over uncompressed records: each is as long as it says, they fill the batch, and their offset
// deltas count up from 0. A batch that lies here would be acknowledged and then stop every consumer.
func checkRecords(b []byte, count int32) string {
	if int64(count)*minRecordBytes > int64(len(b)) {
		return fmt.Sprintf("%d records, of at least %d bytes each, in %d bytes", count, minRecordBytes, len(b))
	}
	for i := range count {
		n, size := varint(b)
		if size == 0 || n < minRecordBytes-1 || int64(n) > int64(len(b)-size) {
			return fmt.Sprintf("record %d of %d: length %d where %d bytes are left", i, count, n, len(b))
		}
		r := b[size : size+int(n)]
		b = b[size+int(n):]
		_, size = uvarint64(r[1:]) // the timestamp's delta, behind the attributes
		if size == 0 {
			return fmt.Sprintf("record %d of %d: no varint for its timestamp", i, count)
		}
		delta, size := varint(r[1+size:])
		if size == 0 || delta != i {
			return fmt.Sprintf("record %d of %d: offset delta %d; they count up from 0", i, count, delta)
		}
	}
	if len(b) > 0 {
		return fmt.Sprintf("%d bytes after the last of %d records", len(b), count)
	}
	return ""
}

// varint reads a zig-zag number of at most 32 bits; size 0 says that there is none.
func varint(b []byte) (v int32, size int) {
	u, size := uvarint(b)
	return int32(u>>1) ^ -int32(u&1), size
}

// uvarint64 is binary.Uvarint with size 0 for whatever cannot be read.
func uvarint64(b []byte) (v uint64, size int) {
	v, size = binary.Uvarint(b)
	return v, max(size, 0)
}

// PeekBatch reads the header of a batch that was checked before, such as one that we stored. It panics on fewer
// than BatchHeaderBytes bytes and checks nothing else.
func PeekBatch(b []byte) BatchInfo {
	_ = b[BatchHeaderBytes-1]
	return BatchInfo{
		Base:          int64(binary.BigEndian.Uint64(b[batchBaseAt:])),
		Length:        int(int32(binary.BigEndian.Uint32(b[batchLengthAt:]))) + batchLengthFrom,
		Epoch:         int32(binary.BigEndian.Uint32(b[batchEpochAt:])),
		Attributes:    int16(binary.BigEndian.Uint16(b[batchAttributesAt:])),
		LastDelta:     int32(binary.BigEndian.Uint32(b[batchLastDeltaAt:])),
		BaseTimestamp: int64(binary.BigEndian.Uint64(b[batchBaseTimeAt:])),
		MaxTimestamp:  int64(binary.BigEndian.Uint64(b[batchMaxTimeAt:])),
		ProducerID:    int64(binary.BigEndian.Uint64(b[batchProducerIDAt:])),
		ProducerEpoch: int16(binary.BigEndian.Uint16(b[batchProducerEpochAt:])),
		BaseSequence:  int32(binary.BigEndian.Uint32(b[batchBaseSequenceAt:])),
		Count:         int32(binary.BigEndian.Uint32(b[batchCountAt:])),
	}
}

// PatchBatch sets the base offset and the partition leader epoch, in place. Neither is covered by the CRC.
func PatchBatch(b []byte, base int64, epoch int32) {
	binary.BigEndian.PutUint64(b[batchBaseAt:], uint64(base))
	binary.BigEndian.PutUint32(b[batchEpochAt:], uint32(epoch))
}
