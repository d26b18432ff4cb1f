package kwire

import (
	"encoding/binary"
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/crc"
)

// batchOf encodes records with kmsg into an uncompressed batch.
func batchOf(values ...string) kmsg.RecordBatch {
	b := kmsg.RecordBatch{Magic: 2, LastOffsetDelta: int32(len(values) - 1), NumRecords: int32(len(values)),
		FirstTimestamp: 1000, MaxTimestamp: 1000 + int64(len(values)) - 1, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1}
	for i, v := range values {
		r := kmsg.Record{TimestampDelta64: int64(i), OffsetDelta: int32(i), Key: []byte("k"), Value: []byte(v)}
		b.Records = appendRecord(b.Records, r)
	}
	return b
}

func appendRecord(dst []byte, r kmsg.Record) []byte {
	r.Length = 0
	body := r.AppendTo(nil)[1:] // behind a length of one byte
	return append(binary.AppendVarint(dst, int64(len(body))), body...)
}

// seal encodes a batch with its length and checksum right.
func seal(b kmsg.RecordBatch) []byte {
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[batchLengthAt:], uint32(len(raw)-batchLengthFrom))
	return reseal(raw)
}

func reseal(raw []byte) []byte {
	binary.BigEndian.PutUint32(raw[batchCRCAt:], crc.Sum(raw[batchAttributesAt:]))
	return raw
}

func TestParseBatchReadsWhatKmsgWrote(t *testing.T) {
	b := batchOf("a", "", strings.Repeat("x", 3000))
	b.FirstOffset, b.PartitionLeaderEpoch = 1<<40, 7
	b.ProducerID, b.ProducerEpoch, b.FirstSequence = 1<<41, 3, 99
	raw := seal(b)
	want := BatchInfo{Base: 1 << 40, Length: len(raw), Epoch: 7, LastDelta: 2, BaseTimestamp: 1000, MaxTimestamp: 1002,
		ProducerID: 1 << 41, ProducerEpoch: 3, BaseSequence: 99, Count: 3}
	got, err := ParseBatch(raw)
	if err != nil || got != want {
		t.Fatalf("got  %+v %v\nwant %+v", got, err, want)
	}
	PatchBatch(raw, 123456789012, 42)
	want.Base, want.Epoch = 123456789012, 42
	if got, err := ParseBatch(raw); err != nil || got != want {
		t.Fatalf("patched: got  %+v %v\nwant %+v", got, err, want)
	}
	if got := PeekBatch(raw); got != want {
		t.Fatalf("peeked: got  %+v\nwant %+v", got, want)
	}
	var again kmsg.RecordBatch
	if err := again.ReadFrom(raw); err != nil || again.FirstOffset != 123456789012 || again.PartitionLeaderEpoch != 42 {
		t.Fatalf("kmsg reads %+v %v", again, err)
	}
	if n := testing.AllocsPerRun(100, func() { ParseBatch(raw) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestParseBatchRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b *kmsg.RecordBatch) // before it is sealed
		damage func(raw []byte) []byte   // after
		code   int16
		reason string
	}{
		{name: "empty", damage: func([]byte) []byte { return nil }, code: CodeCorruptMessage, reason: "at least 61"},
		{name: "cut in the header", damage: func(r []byte) []byte { return r[:60] }, code: CodeCorruptMessage, reason: "at least 61"},
		{name: "cut", damage: func(r []byte) []byte { return r[:len(r)-1] }, code: CodeCorruptMessage, reason: "in a record set of"},
		{name: "magic 0", damage: func(r []byte) []byte { r[16] = 0; return r[:30] }, code: CodeUnsupportedForMessageFormat, reason: "magic 0"},
		{name: "magic 1", damage: func(r []byte) []byte { r[16] = 1; return r }, code: CodeUnsupportedForMessageFormat, reason: "magic 1"},
		{name: "magic 3", damage: func(r []byte) []byte { r[16] = 3; return r }, code: CodeCorruptMessage, reason: "magic 3"},
		{name: "length negative", damage: func(r []byte) []byte { r[8] = 0x80; return r }, code: CodeCorruptMessage},
		{name: "length huge", damage: func(r []byte) []byte { r[8] = 0x7f; return r }, code: CodeCorruptMessage},
		{name: "length below a header", damage: func(r []byte) []byte { binary.BigEndian.PutUint32(r[8:], 48); return r }, code: CodeCorruptMessage},
		{name: "two batches", damage: func(r []byte) []byte { return append(r, r...) }, code: CodeInvalidRecord, reason: "exactly one batch"},
		{name: "checksum", damage: func(r []byte) []byte { r[17] ^= 1; return r }, code: CodeCorruptMessage, reason: "CRC-32C"},
		{name: "a bit in the attributes", damage: func(r []byte) []byte { r[21] ^= 1; return r }, code: CodeCorruptMessage, reason: "CRC-32C"},
		{name: "a bit in the last byte", damage: func(r []byte) []byte { r[len(r)-1] ^= 1; return r }, code: CodeCorruptMessage, reason: "CRC-32C"},
		{name: "control", change: func(b *kmsg.RecordBatch) { b.Attributes = 0x20 }, code: CodeInvalidRecord, reason: "control"},
		{name: "transactional", change: func(b *kmsg.RecordBatch) { b.Attributes = 0x10 }, code: CodeInvalidTxnState, reason: "transactional"},
		{name: "log append time", change: func(b *kmsg.RecordBatch) { b.Attributes = 0x08 }, code: CodeInvalidTimestamp, reason: "LogAppendTime"},
		{name: "delete horizon", change: func(b *kmsg.RecordBatch) { b.Attributes = 0x40 }, code: CodeInvalidRecord, reason: "horizon"},
		{name: "codec 5", change: func(b *kmsg.RecordBatch) { b.Attributes = 5 }, code: CodeUnsupportedCompressionType, reason: "codec 5"},
		{name: "no records", change: func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 0, -1 }, code: CodeInvalidRecord, reason: "0 records"},
		{name: "negative count", change: func(b *kmsg.RecordBatch) { b.NumRecords = -1 }, code: CodeInvalidRecord, reason: "-1 records"},
		{name: "delta above count", change: func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 3 }, code: CodeInvalidRecord, reason: "1 is right"},
		{name: "compressed, delta above count", change: func(b *kmsg.RecordBatch) { b.Attributes, b.LastOffsetDelta = 4, 3 }, code: CodeInvalidRecord, reason: "1 is right"},
		{name: "more records than bytes", change: func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 1<<30, 1<<30-1 }, code: CodeInvalidRecord, reason: "records, of at least"},
		{name: "one record too many", change: func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 3, 2 }, code: CodeInvalidRecord, reason: "record"},
		{name: "one record too few", change: func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 1, 0 }, code: CodeInvalidRecord, reason: "after the last of 1 records"},
		{name: "same offset twice", change: func(b *kmsg.RecordBatch) {
			one := appendRecord(nil, kmsg.Record{Value: []byte("some value")})
			b.Records = append(one, one...)
		}, code: CodeInvalidRecord, reason: "offset delta 0; they count up"},
		{name: "record beyond the end", change: func(b *kmsg.RecordBatch) { b.Records[0] = 0x7e }, code: CodeInvalidRecord, reason: "record 0 of 2: length 63"},
		{name: "negative record length", change: func(b *kmsg.RecordBatch) { b.Records[0] = 1 }, code: CodeInvalidRecord, reason: "length -1"},
		{name: "producer id -2", change: func(b *kmsg.RecordBatch) { b.ProducerID = -2 }, code: CodeInvalidRecord, reason: "producer id -2"},
		{name: "no sequence", change: func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch = 5, 0 }, code: CodeInvalidRecord, reason: "sequence -1"},
		{name: "no epoch", change: func(b *kmsg.RecordBatch) { b.ProducerID, b.FirstSequence = 5, 0 }, code: CodeInvalidRecord, reason: "epoch -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := batchOf("hello", "world")
			if c.change != nil {
				c.change(&b)
			}
			raw := seal(b)
			if c.damage != nil {
				raw = c.damage(raw)
			}
			_, err := ParseBatch(raw)
			var be *BatchError
			if !errors.As(err, &be) || be.Code != c.code || !strings.Contains(be.Reason, c.reason) {
				t.Errorf("error %v, want code %d with %q", err, c.code, c.reason)
			}
		})
	}
}

func TestCompressedBatchesAreTakenAsTheyAre(t *testing.T) {
	for codec := int16(1); codec <= 4; codec++ {
		b := batchOf("x")
		b.Attributes, b.Records, b.NumRecords, b.LastOffsetDelta = codec, []byte{1, 2, 3}, 1000, 999
		if i, err := ParseBatch(seal(b)); err != nil || i.Count != 1000 {
			t.Errorf("codec %d: %+v %v", codec, i, err)
		}
	}
}

// TestBatchTable ties the table in batch.go to the constants, and both to kmsg (above).
func TestBatchTable(t *testing.T) {
	source, err := os.ReadFile("batch.go")
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		at, size int
		field    string
	}{
		{batchBaseAt, 8, "base offset"}, {batchLengthAt, 4, "length"}, {batchEpochAt, 4, "partition leader epoch"},
		{batchMagicAt, 1, "magic"}, {batchCRCAt, 4, "CRC-32C"}, {batchAttributesAt, 2, "attributes"},
		{batchLastDeltaAt, 4, "last offset delta"}, {batchBaseTimeAt, 8, "base timestamp"},
		{batchMaxTimeAt, 8, "max timestamp"}, {batchProducerIDAt, 8, "producer id"},
		{batchProducerEpochAt, 2, "producer epoch"}, {batchBaseSequenceAt, 4, "base sequence"},
		{batchCountAt, 4, "number of records"}, {BatchHeaderBytes, -1, "records"},
	}
	rows := regexp.MustCompile(`(?m)^//\t(\d+) +(\d+|\.\.) +(.*)$`).FindAllStringSubmatch(string(source), -1)
	if len(rows) != len(want) {
		t.Fatalf("%d rows, want %d", len(rows), len(want))
	}
	next := 0
	for i, r := range rows {
		at, _ := strconv.Atoi(r[1])
		size, err := strconv.Atoi(r[2])
		if err != nil {
			size = -1
		}
		if w := want[i]; at != w.at || size != w.size || !strings.HasPrefix(r[3], w.field) || at != next {
			t.Errorf("row %q, want %+v at %d", r[0], w, next)
		}
		next = at + size
	}
}

func BenchmarkParseBatch(b *testing.B) {
	raw := seal(batchOf(strings.Repeat("x", 1024)))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for range b.N {
		if _, err := ParseBatch(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// TestStoredCRCIsThatOfTheBytes: of a batch as it is stored, its base offset and epoch patched after its checksum was verified; and it
// is not made up for what is no batch.
func TestStoredCRCIsThatOfTheBytes(t *testing.T) {
	for _, size := range []int{1, 8 << 10, 66_000, 1 << 20} {
		raw := seal(batchOf("a", strings.Repeat("x", size)))
		PatchBatch(raw, 123456789012, 42)
		got, want := StoredCRC(raw), crc.Sum(raw)
		if len(raw) < crc.CombineFrom {
			want = 0
		}
		if got != want {
			t.Errorf("%d bytes: CRC %08x, reading them gives %08x", len(raw), got, want)
		}
		raw[batchMagicAt] = 1
		if got := StoredCRC(raw); got != 0 {
			t.Errorf("%d bytes that are no batch: CRC %08x", len(raw), got)
		}
	}
	if got := StoredCRC(nil); got != 0 {
		t.Errorf("nothing: CRC %08x", got)
	}
}
