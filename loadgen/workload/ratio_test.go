package workload

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// compressed is what a codec makes of values as they stand in a batch, each behind the head that a value has: the run's and the stream's numbers, its size, its sequence number.
func compressed(t *testing.T, s *Shape, codec kgo.CompressionCodec, values int) (raw, small int) {
	t.Helper()
	c, err := kgo.DefaultCompressor(codec)
	if err != nil {
		t.Fatal(err)
	}
	const head = 24
	var in []byte
	for seq := range uint64(values) {
		v := make([]byte, s.Bytes(1, 2, seq))
		binary.BigEndian.PutUint64(v, 0x0123456789abcdef)
		binary.BigEndian.PutUint64(v[16:], seq)
		s.Fill(v[head:], 1, 2, seq)
		in = append(in, v...)
	}
	out, _ := c.Compress(new(bytes.Buffer), in)
	return len(in), len(out)
}

// What is asked for is what each codec makes of a batch, within 15%.
func TestRatio(t *testing.T) {
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{{"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()}, {"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()}}
	for _, c := range codecs {
		for _, ratio := range []float64{1, 1.2, 1.5, 2, 3, SureRatio} {
			for _, load := range []struct {
				size   string
				values int
			}{{"512", 100}, {"1024", 100}, {"16384", 20}, {"p50=2000,p99=20000", 50}} {
				s := Shape{Size: must(ParseSizes(load.size)).AtLeast(24), Ratio: ratio}
				raw, small := compressed(t, &s, c.codec, load.values)
				if got := float64(raw) / float64(small); !within(got, ratio, 0.15) {
					t.Errorf("%s, ratio %g, %d values of %s bytes: %d bytes become %d, a ratio of %.2f", c.name, ratio, load.values, load.size, raw, small, got)
				}
			}
		}
		// Above that they differ, but a higher ratio is one.
		_, four := compressed(t, &Shape{Ratio: SureRatio}, c.codec, 100)
		if _, twenty := compressed(t, &Shape{Ratio: MaxRatio}, c.codec, 100); twenty > four*2/3 {
			t.Errorf("%s: %d bytes at ratio %g, %d at %g", c.name, four, SureRatio, twenty, MaxRatio)
		}
	}
}
