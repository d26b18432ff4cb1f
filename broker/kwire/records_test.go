package kwire

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// timedBatch has base offset 100, base timestamp 1000 and one record per delta.
func timedBatch(codec int16, deltas ...int64) []byte {
	var records []byte
	for i, d := range deltas {
		r := binary.AppendVarint([]byte{0}, d)
		r = binary.AppendVarint(r, int64(i))
		r = append(binary.AppendVarint(r, -1), binary.AppendVarint(nil, 0)...)
		r = binary.AppendVarint(r, 0)
		records = append(binary.AppendVarint(records, int64(len(r))), r...)
	}
	b := make([]byte, BatchHeaderBytes)
	be := binary.BigEndian
	be.PutUint64(b, 100)
	b[16] = 2
	be.PutUint16(b[21:], uint16(codec))
	be.PutUint32(b[23:], uint32(len(deltas)-1))
	be.PutUint64(b[27:], 1000)
	be.PutUint64(b[35:], 1000+uint64(deltas[len(deltas)-1]))
	be.PutUint64(b[43:], ^uint64(0))
	be.PutUint32(b[57:], uint32(len(deltas)))
	b = append(b, compress(codec, records)...)
	be.PutUint32(b[8:], uint32(len(b)-12))
	return b
}

func compress(codec int16, b []byte) []byte {
	var out bytes.Buffer
	switch codec {
	case 1:
		w := gzip.NewWriter(&out)
		w.Write(b)
		w.Close()
	case 2:
		return snappy.Encode(nil, b)
	case 3:
		w := lz4.NewWriter(&out)
		w.Write(b)
		w.Close()
	case 4:
		w, _ := zstd.NewWriter(&out)
		w.Write(b)
		w.Close()
	default:
		return b
	}
	return out.Bytes()
}

func TestFirstRecordAt(t *testing.T) {
	for codec := range int16(5) {
		b := timedBatch(codec, 0, 5, 3, 9)
		for _, c := range []struct {
			ms, offset, stamp int64
			ok                bool
		}{{0, 100, 1000, true}, {1000, 100, 1000, true}, {1001, 101, 1005, true}, {1006, 103, 1009, true}, {1010, 0, 0, false}} {
			offset, stamp, ok := FirstRecordAt(b, c.ms)
			if offset != c.offset || stamp != c.stamp || ok != c.ok {
				t.Errorf("codec %d, time %d: offset %d, time %d, %v; want %+v", codec, c.ms, offset, stamp, ok, c)
			}
		}
	}
}

func TestFirstRecordAtXerialSnappy(t *testing.T) {
	b := timedBatch(2, 0, 7)
	block := append([]byte(nil), b[BatchHeaderBytes:]...)
	framed := append(append([]byte(nil), xerialMagic...), 0, 0, 0, 1, 0, 0, 0, 1)
	framed = append(binary.BigEndian.AppendUint32(framed, uint32(len(block))), block...)
	b = append(b[:BatchHeaderBytes:BatchHeaderBytes], framed...)
	if offset, stamp, ok := FirstRecordAt(b, 1001); offset != 101 || stamp != 1007 || !ok {
		t.Errorf("offset %d, time %d, %v; want 101, 1007", offset, stamp, ok)
	}
}

func TestFirstRecordAtRefusesABomb(t *testing.T) {
	for codec := int16(1); codec < 5; codec++ {
		b := timedBatch(codec, 0)
		b = append(b[:BatchHeaderBytes], compress(codec, make([]byte, maxExpanded+1))...)
		if _, _, ok := FirstRecordAt(b, 0); ok {
			t.Errorf("codec %d: records that expand beyond %d bytes were read", codec, maxExpanded)
		}
	}
}

func FuzzFirstRecordAt(f *testing.F) {
	for codec := range int16(5) {
		f.Add(timedBatch(codec, 0, 5), int64(1001))
	}
	f.Fuzz(func(t *testing.T, b []byte, ms int64) { FirstRecordAt(b, ms) })
}
