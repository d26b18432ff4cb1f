package ahead

import (
	"bytes"
	"testing"

	"ackline/loadgen/frame"
	"ackline/loadgen/workload"
)

// Batches come stream by stream and record by record, the same as if they were made when they are needed.
func TestBatchesInOrder(t *testing.T) {
	p := frame.NewShapedPayloads(1, workload.Shape{Ratio: 2})
	maker := func() *frame.Shaped {
		m, err := frame.NewShaped("t", frame.Asked{Records: 5, Codec: frame.Zstd}, p)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m, again := Start(maker(), []uint32{7, 9}), maker()
	var want Batch
	for i := range 300 {
		b := m.Take()
		want.Make(again, i%2, []uint32{7, 9}[i%2], uint64(5*(i/2)), 0)
		if b.Stream != want.Stream || b.Seq != want.Seq || b.Values != 5*1024 || !bytes.Equal(b.Bytes, want.Bytes) {
			t.Fatalf("batch %d is of stream %d from record %d on, with %d bytes of values; want stream %d, record %d", i, b.Stream, b.Seq, b.Values, want.Stream, want.Seq)
		}
		m.Free(b)
	}
	late, taken := m.Counts()
	if taken != 300 || late < 0 || late > taken {
		t.Errorf("%d of %d were late", late, taken)
	}
	m.Close()
}

// Nothing is lost or waited for by closing while all is made and nothing taken.
func TestCloseFull(t *testing.T) {
	m, err := frame.NewShaped("t", frame.Asked{Records: 1, Codec: frame.Gzip}, frame.NewPayloads(1, 100))
	if err != nil {
		t.Fatal(err)
	}
	a := Start(m, []uint32{1})
	a.Take()
	a.Close()
}
