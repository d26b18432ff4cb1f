package check

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/client"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
)

// The ledger gives back exactly what was entered, whatever the pattern, against a plain slice.
func TestLedgerKeepsEverything(t *testing.T) {
	type entry struct {
		seq    uint64
		offset int64
	}
	rng := rand.New(rand.NewPCG(5, 6))
	l := NewLedger([]int32{0, 1})
	var want [2][]entry
	var seq [2]uint64
	for range 100_000 {
		s := rng.IntN(2)
		if rng.IntN(50) == 0 {
			seq[s] += rng.Uint64N(1000) // failed operations
		}
		off := rng.Int64N(1 << 40)
		if n := len(want[s]); n > 0 && rng.IntN(4) > 0 {
			off = want[s][n-1].offset + 1
		}
		n := 1 + rng.Int32N(5)
		l.Acked(uint32(s), seq[s], n, off)
		for i := range n {
			want[s] = append(want[s], entry{seq[s] + uint64(i), off + int64(i)})
		}
		seq[s] += uint64(n)
	}
	for s := range want {
		c := l.streams[s].cursor()
		for i, w := range want[s] {
			if !c.more() {
				t.Fatalf("stream %d ends after %d of %d records", s, i, len(want[s]))
			}
			if q, o := c.next(); q != w.seq || o != w.offset {
				t.Fatalf("stream %d record %d: (%d, %d), want %+v", s, i, q, o, w)
			}
		}
		if c.more() {
			t.Fatalf("stream %d has more than was entered", s)
		}
	}
	if l.Count() != int64(len(want[0])+len(want[1])) {
		t.Errorf("count %d", l.Count())
	}
}

func TestLedgerIsCompact(t *testing.T) {
	l := NewLedger([]int32{0, 0})
	for i := range int64(1_000_000) { // two writers in one partition that take turns: the worst that is common
		l.Acked(uint32(i%2), uint64(i/2), 1, i)
	}
	if perRecord := float64(l.Bytes()) / 1e6; perRecord > 4.2 {
		t.Errorf("%.1f bytes per acknowledged record", perRecord)
	}
}

func TestLedgerRefusesToGoBack(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an acknowledgement out of order was taken")
		}
	}()
	l := NewLedger([]int32{0})
	l.Acked(0, 5, 1, 0)
	l.Acked(0, 5, 1, 1)
}

// patience is what only a hanging test exceeds, however little of the machine it gets.
const patience = 2 * time.Minute

// produce writes n operations through the wire driver while the cluster is broken in some way, and verifies.
func produce(t *testing.T, partitions, connections, n int, f brokertest.Faults) *Report {
	t.Helper()
	b := brokertest.Start(t, 1)
	b.Create("t", partitions)
	cl, err := cluster.New([]string{b.Addr()}, patience)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	top, err := cl.Topic(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	p := frame.NewPayloads(77, 100)
	d, err := client.OpenProduce(ctx, client.Config{Connections: connections, InFlight: 3, Threads: 1, Timeout: patience}, cl, top, p)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var parts []int32
	for _, s := range d.Streams() {
		parts = append(parts, s.Partition)
	}
	l := NewLedger(parts)
	b.Break(f)
	w := d.Workers()[0]
	for sent, got := 0, 0; got < n; {
		for ; w.Room() > 0 && sent < n; sent++ {
			w.Submit(1, 1)
		}
		w.Flush()
		if err := w.Wait(pace.Now()+1e8, func(op *client.Op) {
			got++
			if op.Err == nil {
				l.Acked(op.Stream, op.Seq, op.Records, op.Base)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	r := client.NewReader(cl, "t")
	defer r.Close()
	rep, err := Verify(ctx, r, l, p, Options{Patience: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func TestHonestClusterPasses(t *testing.T) {
	rep := produce(t, 3, 4, 300, brokertest.Faults{})
	if !rep.Passed() || rep.Acked != 300 || rep.Read != 300 || rep.Partitions != 3 || rep.Bytes < 300*100 {
		t.Errorf("%+v", rep)
	}
}

// Each way of breaking a promise is found, and under its own name.
func TestBrokenPromisesAreFound(t *testing.T) {
	for _, c := range []struct {
		name string
		f    brokertest.Faults
		want Report
		says string
	}{
		{"lost", brokertest.Faults{LoseBatch: 50}, Report{Lost: 1}, "not there"},
		{"lost at the end", brokertest.Faults{LoseBatch: 100}, Report{Lost: 1}, "not there"},
		{"repeated", brokertest.Faults{RepeatBatch: 50}, Report{Duplicated: 1}, "there again"},
		{"swapped", brokertest.Faults{SwapBatch: 50}, Report{Reordered: 1}, "after a later one"},
		{"moved", brokertest.Faults{MovedBatch: 50}, Report{WrongOffset: 1}, "acknowledged at partition 0 offset 48, found at partition 0 offset 49"},
		{"changed", brokertest.Faults{CorruptBatch: 50}, Report{WrongBytes: 1}, "of the value is"},
		{"changed without a CRC", brokertest.Faults{BadCRCBatch: 100}, Report{WrongBytes: 1, Lost: 1}, "CRC-32C"},
	} {
		rep := produce(t, 1, 1, 100, c.f)
		got := Report{Lost: rep.Lost, Duplicated: rep.Duplicated, Reordered: rep.Reordered, WrongBytes: rep.WrongBytes, WrongOffset: rep.WrongOffset}
		if c.name == "lost" {
			got.WrongOffset = 0 // the offsets handed out afterwards are true
		}
		if rep.Passed() || got.Faults() != c.want.Faults() || got.Lost != c.want.Lost || got.Duplicated != c.want.Duplicated ||
			got.Reordered != c.want.Reordered || got.WrongBytes != c.want.WrongBytes || got.WrongOffset != c.want.WrongOffset {
			t.Errorf("%s: %+v", c.name, rep)
		}
		if !strings.Contains(strings.Join(rep.Examples, "\n"), c.says) {
			t.Errorf("%s: examples %q do not say %q", c.name, rep.Examples, c.says)
		}
	}
}

// memory serves one partition from batches made by hand.
type memory struct {
	batches [][]byte
	hw      int64
}

func (m memory) Read(_ context.Context, _ int32, from int64) ([]byte, int64, error) {
	var out []byte
	for _, b := range m.batches {
		if int64(binary.BigEndian.Uint64(b))+int64(binary.BigEndian.Uint32(b[23:])) >= from {
			out = append(out, b...)
		}
	}
	return out, m.hw, nil
}

// batchOf takes the batch out of a Produce frame, and sets its offset.
func batchOf(p *frame.Payloads, stream uint32, seq uint64, offset int64) []byte {
	pr, _ := frame.NewProduce("t", 1, 1, p)
	f := make([]byte, pr.Len())
	pr.Init(f)
	pr.Patch(f, 1, 0, stream, seq, 1)
	b := f[bytes.Index(f, []byte{0xff, 0xff, 0xff, 0xff, 2})-12 : len(f)-3]
	binary.BigEndian.PutUint64(b, uint64(offset))
	return b
}

func TestUnacknowledgedMayBeThereOnce(t *testing.T) {
	p := frame.NewPayloads(1, 64)
	l := NewLedger([]int32{0})
	l.Acked(0, 0, 1, 0)
	l.Acked(0, 3, 1, 2)
	late := memory{hw: 4, batches: [][]byte{batchOf(p, 0, 0, 0), batchOf(p, 0, 1, 1), batchOf(p, 0, 3, 2), batchOf(p, 0, 2, 3)}}
	rep, err := Verify(context.Background(), late, l, p, Options{})
	if err != nil || !rep.Passed() || rep.Unacked != 2 {
		t.Errorf("%+v, %v", rep, err)
	}
	twice := memory{hw: 5, batches: append(late.batches, batchOf(p, 0, 2, 4))}
	rep, _ = Verify(context.Background(), twice, l, p, Options{})
	if rep.Passed() || rep.Duplicated != 1 {
		t.Errorf("%+v", rep)
	}
}

func TestForeignRecordsAreLetBe(t *testing.T) {
	p := frame.NewPayloads(1, 64)
	l := NewLedger([]int32{0})
	l.Acked(0, 0, 1, 6)
	m := memory{hw: 7, batches: [][]byte{batchOf(frame.NewPayloads(2, 64), 0, 0, 5), batchOf(p, 0, 0, 6)}}
	if rep, err := Verify(context.Background(), m, l, p, Options{Start: map[int32]int64{0: 5}}); err != nil || !rep.Passed() || rep.Foreign != 1 {
		t.Errorf("%+v, %v", rep, err)
	}
	m.batches[1] = batchOf(p, 9, 0, 6) // a stream that does not exist
	if rep, _ := Verify(context.Background(), m, l, p, Options{}); rep.Passed() || rep.WrongBytes != 1 || rep.Lost != 1 {
		t.Errorf("%+v", rep)
	}
}

// A topic that recompresses is read all the same.
func TestCompressedBatches(t *testing.T) {
	p := frame.NewPayloads(1, 64)
	b := batchOf(p, 0, 0, 0)
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b[61:])
	w.Close()
	c := append(bytes.Clone(b[:61]), z.Bytes()...)
	binary.BigEndian.PutUint32(c[8:], uint32(len(c)-12))
	c[22] |= 1
	binary.BigEndian.PutUint32(c[17:], crc32.Checksum(c[21:], crc32.MakeTable(crc32.Castagnoli)))
	l := NewLedger([]int32{0})
	l.Acked(0, 0, 1, 0)
	if rep, err := Verify(context.Background(), memory{hw: 1, batches: [][]byte{c}}, l, p, Options{}); err != nil || !rep.Passed() {
		t.Errorf("%+v, %v", rep, err)
	}
}

func TestUnreadableIsNoPass(t *testing.T) {
	l := NewLedger([]int32{0})
	l.Acked(0, 0, 1, 0)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	cl, _ := cluster.New([]string{"127.0.0.1:1"}, 10*time.Millisecond)
	rep, err := Verify(ctx, client.NewReader(cl, "t"), l, frame.NewPayloads(1, 64), Options{})
	if err == nil || rep.Passed() || rep.Error == "" {
		t.Errorf("%+v, %v", rep, err)
	}
}

func BenchmarkAcked(b *testing.B) {
	l := NewLedger([]int32{0})
	for i := 0; b.Loop(); i++ {
		l.Acked(0, uint64(i), 1, int64(i*2))
	}
}
