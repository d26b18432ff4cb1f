package kwire

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// maxExpanded bounds what a compressed batch may become while it is searched, in bytes. A batch that expands to more is
// answered for by its first record.
const maxExpanded = 64 << 20

// FirstRecordAt returns offset and timestamp (ms) of a batch's first record whose timestamp is at least ms. ok is false when
// no record is, or the records cannot be read; the batch's header is trusted, its records are not.
func FirstRecordAt(batch []byte, ms int64) (offset, timestamp int64, ok bool) {
	if len(batch) < BatchHeaderBytes {
		return 0, 0, false
	}
	info := PeekBatch(batch)
	if info.Attributes&AttrLogAppendTime != 0 { // LogAppendTime: all records have the batch's
		return info.Base, info.MaxTimestamp, info.MaxTimestamp >= ms
	}
	records, err := expand(batch[BatchHeaderBytes:], info.Attributes&AttrCodec)
	if err != nil {
		return 0, 0, false
	}
	for range info.Count {
		length, n := binary.Varint(records)
		if n <= 0 || length < 0 || length > int64(len(records)-n) {
			return 0, 0, false
		}
		r := records[n : n+int(length)]
		records = records[n+int(length):]
		if len(r) == 0 {
			return 0, 0, false
		}
		r = r[1:] // attributes
		stamp, n := binary.Varint(r)
		if n <= 0 {
			return 0, 0, false
		}
		delta, m := binary.Varint(r[n:])
		if m <= 0 || delta < 0 || delta > int64(info.LastDelta) {
			return 0, 0, false
		}
		if t := info.BaseTimestamp + stamp; t >= ms {
			return info.Base + delta, t, true
		}
	}
	return 0, 0, false
}

// expand undoes a batch's compression. The codecs have the numbers of the batch's attributes.
func expand(b []byte, codec int16) ([]byte, error) {
	switch codec {
	case 0:
		return b, nil
	case 1:
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		return readBounded(z)
	case 2:
		return expandSnappy(b)
	case 3:
		return readBounded(lz4.NewReader(bytes.NewReader(b)))
	case 4:
		z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxExpanded))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		return readBounded(z)
	}
	return nil, fmt.Errorf("kwire: compression codec %d is not known", codec)
}

func readBounded(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxExpanded+1))
	if err == nil && len(b) > maxExpanded {
		return nil, fmt.Errorf("kwire: records expand to more than %d bytes", maxExpanded)
	}
	return b, err
}

// xerialMagic begins the framing that Java's snappy library puts around blocks: 8 bytes of magic, two versions of 4, then
// blocks of a length in 4 bytes, big-endian, and that many bytes.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeader = 16

func expandSnappy(b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, xerialMagic) || len(b) < xerialHeader {
		return snappyBlock(nil, b)
	}
	var out []byte
	for b = b[xerialHeader:]; len(b) > 0; {
		if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
			return nil, fmt.Errorf("kwire: a snappy block is cut short")
		}
		n := 4 + int(binary.BigEndian.Uint32(b))
		var err error
		if out, err = snappyBlock(out, b[4:n]); err != nil {
			return nil, err
		}
		b = b[n:]
	}
	return out, nil
}

func snappyBlock(out, block []byte) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, err
	}
	if n > maxExpanded-len(out) {
		return nil, fmt.Errorf("kwire: records expand to more than %d bytes", maxExpanded)
	}
	plain, err := snappy.Decode(nil, block)
	return append(out, plain...), err
}
