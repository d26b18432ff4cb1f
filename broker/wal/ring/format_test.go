package ring

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// field is one line of an offset table.
type field struct{ off, size int }

// tables reads the offset tables from a source file's comments: for each, what stands in front of its first line, and
// its fields.
func tables(t *testing.T, file string) (all [][]field) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`^//\t *(\d+) +(\d+)  `)
	var cur []field
	for l := range strings.Lines(string(src)) {
		if m := line.FindStringSubmatch(l); m != nil {
			off, _ := strconv.Atoi(m[1])
			size, _ := strconv.Atoi(m[2])
			cur = append(cur, field{off, size})
		} else if cur != nil && !strings.HasPrefix(l, "//\t  ") {
			all, cur = append(all, cur), nil
		}
	}
	return all
}

// The tables in the comments, the encoders and the constants must say the same.
func TestOffsetTables(t *testing.T) {
	var b Builder
	b.Reset(vfs.BlockSize)
	b.Entries(0x1111, 0x2222, []Entry{{Index: 0x3333, Term: 0x4444, Type: 5, Data: []byte("data")}})
	h := Header{Flags: 0x6666, RingID: 0x7777, Generation: 0x8888, LSN: 0x9000, Prev: 0xa000, Durable: 0xb000}
	batch, _ := b.Seal(&h)
	s := Super{Flags: 0x11, Seq: 0x22, RingID: 0x33, RingBytes: 0x4000, Head: 0x5000, Generation: 0x66, Synced: 0x7000, Bound: 0x8000}
	super := make([]byte, vfs.BlockSize)
	s.encode(super)

	magic := func(p []byte) uint64 { return number(p) }
	record := batch[HeaderSize:]
	for _, c := range []struct {
		name   string
		bytes  []byte
		end    int
		fields []field
		want   []uint64
	}{
		{"batch", batch, HeaderSize, tables(t, "format.go")[0], []uint64{magic([]byte("ALWB")), batchVersion, 0x6666, 0x7777,
			0x8888, 0x9000, 0xa000, 0xb000, uint64(len(batch) - HeaderSize), 1, 0, uint64(batchCRC(batch))}},
		{"superblock", super, superSize, tables(t, "format.go")[1], []uint64{magic([]byte("ALWSUPER")), superVersion, 0x11, 0x22,
			0x33, 0x4000, 0x5000, 0x66, 0x7000, 0x8000, uint64(binary.LittleEndian.Uint32(super[superCRCOff:]))}},
		{"record", record, RecordHeaderSize, tables(t, "record.go")[0], []uint64{0x1111, 0x2222,
			uint64(len(record) - RecordHeaderSize), uint64(Entries), 0, 0x3333}},
	} {
		at := 0
		for i, f := range c.fields {
			if f.off != at {
				t.Errorf("%s: a field at %d where %d is expected", c.name, f.off, at)
			}
			if i < len(c.want) {
				if got := number(c.bytes[f.off : f.off+f.size]); got != c.want[i] {
					t.Errorf("%s: %#x at %d, want %#x", c.name, got, f.off, c.want[i])
				}
			}
			at = f.off + f.size
		}
		if len(c.fields) != len(c.want) || at != c.end {
			t.Errorf("%s: the table has %d fields and ends at %d, want %d and %d", c.name, len(c.fields), at, len(c.want), c.end)
		}
	}
	want := []byte{1, 0, 0, 0, 0, 0, 0, 0, 0x44, 0x44, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0}
	want = binary.LittleEndian.AppendUint32(want, DataCRC([]byte("data")))
	want = append(want, 5, 0, 0, 0, 0, 0, 0, 0, 'd', 'a', 't', 'a', 0, 0, 0, 0)
	if got := record[RecordHeaderSize:]; !bytes.Equal(got, want) {
		t.Errorf("entries are\n% x, want\n% x", got, want)
	}
	if entriesHeadSize+EntryHeaderSize+8 != len(want) {
		t.Errorf("the heads of entries have %d and %d bytes", entriesHeadSize, EntryHeaderSize)
	}
}

func number(p []byte) uint64 {
	var b [8]byte
	copy(b[:], p)
	return binary.LittleEndian.Uint64(b[:])
}

func TestRecordsComeBack(t *testing.T) {
	var b Builder
	b.Reset(vfs.BlockSize)
	state := bytes.Repeat([]byte("state"), 2000) // makes the builder grow
	hs := HardState{Term: 3, Vote: 4, Commit: 5}
	es := []Entry{{Index: 9, Term: 2, Type: 1, Data: []byte{}}, {Index: 10, Term: 3, Data: []byte("123456789")}}
	b.Entries(1, 2, es)
	b.HardState(1, 2, hs)
	b.Checkpoint(2, 3, 7, 8, hs, state)
	b.Snapshot(3, 4, 11, 12, []byte("snap"))
	b.Delete(4)
	h := Header{LSN: 1 << 20, Durable: 1 << 20}
	batch, blocks := b.Seal(&h)
	if len(blocks)%vfs.BlockSize != 0 || len(blocks) < len(batch) || bytes.Count(blocks[len(batch):], []byte{0}) != len(blocks)-len(batch) {
		t.Errorf("a batch of %d bytes is written as %d", len(batch), len(blocks))
	}
	got, err := ParseHeader(blocks, 64<<20)
	if err != nil || !reflect.DeepEqual(got, h) || h.Records != 5 || !checkCRC(batch) {
		t.Fatalf("header is %+v, %v; want %+v", got, err, h)
	}
	var lines []string
	w := Walk(batch, h.Records)
	for {
		r, ok, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		line := fmt.Sprintf("%v g%d r%d i%d", r.Kind, r.Group, r.Replica, r.Index)
		switch r.Kind {
		case Entries:
			e := r.Entries()
			for i := range es {
				x, ok, err := e.Next()
				if !ok || err != nil || !reflect.DeepEqual(x.Entry, es[i]) {
					t.Errorf("entry is %+v, %v, %v; want %+v", x, ok, err, es[i])
				}
				if data := batch[x.Off : x.Off+len(x.Data)]; !bytes.Equal(data, es[i].Data) || x.CRC != DataCRC(data) {
					t.Errorf("entry %d is said to be at %d, where %q is", x.Index, x.Off, data)
				}
			}
			if _, ok, err := e.Next(); ok || err != nil {
				t.Errorf("one entry too many: %v", err)
			}
		case Hard:
			line += fmt.Sprint(r.HardState())
		case Checkpoint:
			line += fmt.Sprint(r.Term(), r.HardState(), bytes.Equal(r.State(), state))
		case Snapshot:
			line += fmt.Sprintf(" %d %s", r.Term(), r.State())
		}
		lines = append(lines, line)
	}
	want := []string{"entries g1 r2 i9", "hard state g1 r2 i0{3 4 5}", "checkpoint g2 r3 i78 {3 4 5} true",
		"snapshot g3 r4 i11 12 snap", "deleted g4 r0 i0"}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("records are\n%q, want\n%q", lines, want)
	}
}

func TestMerge(t *testing.T) {
	h := func(t id.Term, v id.ReplicaID, c id.Index) HardState { return HardState{Term: t, Vote: v, Commit: c} }
	for _, c := range []struct{ a, b, want HardState }{
		{h(1, 1, 1), h(2, 0, 1), h(2, 0, 1)},
		{h(2, 3, 9), h(1, 1, 1), h(2, 3, 9)},
		{h(2, 0, 1), h(2, 3, 1), h(2, 3, 1)},
		{h(2, 3, 1), h(2, 0, 4), h(2, 3, 4)},
		{h(2, 3, 1), h(1, 1, 7), h(2, 3, 7)},
	} {
		if got := c.a.Merge(c.b); got != c.want {
			t.Errorf("%v and %v give %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

// Whatever a batch holds, walking it ends and stays within it.
func FuzzWalk(f *testing.F) {
	var b Builder
	b.Reset(vfs.BlockSize)
	b.Entries(1, 2, []Entry{{Index: 9, Term: 2, Type: 1, Data: []byte("x")}, {Index: 10}})
	b.Checkpoint(2, 3, 7, 8, HardState{Term: 1}, []byte("state"))
	b.Snapshot(3, 4, 11, 12, nil)
	b.HardState(3, 4, HardState{})
	b.Delete(1)
	h := Header{LSN: 1 << 20, Durable: 1 << 20}
	batch, _ := b.Seal(&h)
	f.Add(bytes.Clone(batch[HeaderSize:]), h.Records)
	f.Add([]byte{}, uint32(0))
	f.Add(make([]byte, 100), uint32(1<<31))
	f.Fuzz(func(t *testing.T, payload []byte, records uint32) {
		batch := append(make([]byte, HeaderSize), payload...)
		w := Walk(batch, records)
		var again Builder
		again.Reset(vfs.BlockSize)
		for n := 0; ; n++ {
			r, ok, err := w.Next()
			if !ok || err != nil {
				break
			}
			if n > len(payload) {
				t.Fatalf("%d records in %d bytes", n, len(payload))
			}
			if r.Kind == Entries {
				var es []Entry
				for e := r.Entries(); ; {
					x, ok, err := e.Next()
					if !ok || err != nil {
						break
					}
					if x.Off+len(x.Data) > len(batch) {
						t.Fatalf("entry at %d with %d bytes in a batch of %d", x.Off, len(x.Data), len(batch))
					}
					es = append(es, x.Entry)
				}
				if len(es) > 0 {
					again.Entries(r.Group, r.Replica, es)
				}
				continue
			}
			if r.Kind == Hard || r.Kind == Checkpoint {
				r.HardState()
			}
			if r.Kind == Checkpoint || r.Kind == Snapshot {
				_, _ = r.Term(), r.State()
			}
		}
	})
}

// A superblock of format 1, as it was written before there was a bound.
func TestSuperblockOfFormat1(t *testing.T) {
	want := Super{Flags: FlagClean, Seq: 5, RingID: 7, RingBytes: 1 << 20, Head: 1 << 20, Generation: 3, Synced: 1<<20 + 8192}
	b := make([]byte, vfs.BlockSize)
	want.encode(b)
	le := binary.LittleEndian
	le.PutUint32(b[8:], 1)
	clear(b[64:])
	le.PutUint32(b[64:], crc32.Checksum(b[:64], castagnoli))
	if s, err := ParseSuper(b); err != nil || s != want {
		t.Errorf("%+v, %v; want %+v", s, err, want)
	}
	b[56] ^= 0x10
	if s, err := ParseSuper(b); err == nil {
		t.Errorf("damaged, it is %+v", s)
	}
	le.PutUint32(b[8:], superVersion+1)
	le.PutUint32(b[superCRCOff:], crc32.Checksum(b[:superCRCOff], castagnoli))
	if _, err := ParseSuper(b); err == nil || !strings.Contains(err.Error(), "superblock format 3, this program reads 1 and 2") {
		t.Errorf("of a later format: %v", err)
	}
}

// What a header or superblock decodes to encodes to the same bytes, as far as they mean anything.
func FuzzHeaders(f *testing.F) {
	var b Builder
	b.Reset(vfs.BlockSize)
	h := Header{Flags: FlagStart, RingID: 7, Generation: 2, LSN: 1 << 20, Prev: 4096, Durable: 4096}
	batch, _ := b.Seal(&h)
	block := make([]byte, vfs.BlockSize)
	(&Super{Seq: 5, RingID: 7, RingBytes: 1 << 20, Head: 1 << 20, Synced: 1 << 20, Bound: 1 << 20}).encode(block)
	f.Add(bytes.Clone(batch), int64(1<<20))
	f.Add(block[:superSize], int64(1<<20))
	f.Fuzz(func(t *testing.T, in []byte, ringBytes int64) {
		b := make([]byte, vfs.BlockSize)
		copy(b, in)
		if h, err := ParseHeader(b, ringBytes); err == nil {
			if h.Size() > ringBytes/MaxBatchShare || h.End() <= h.LSN && h.LSN < 1<<63 {
				t.Errorf("accepted a batch of %d bytes at %d in a ring of %d", h.Size(), h.LSN, ringBytes)
			}
			out := make([]byte, HeaderSize)
			h.Seal(out)
			if !bytes.Equal(out[:56], b[:56]) {
				t.Errorf("% x decodes and encodes to % x", b[:56], out[:56])
			}
		}
		// A CRC that is right by chance is out of a fuzzer's reach.
		binary.LittleEndian.PutUint32(b[superCRCOff:], crc32.Checksum(b[:superCRCOff], castagnoli))
		if s, err := ParseSuper(b); err == nil && binary.LittleEndian.Uint32(b[8:]) == superVersion {
			out := make([]byte, vfs.BlockSize)
			s.encode(out)
			if !bytes.Equal(out[:superSize], b[:superSize]) {
				t.Errorf("% x decodes and encodes to % x", b[:superSize], out[:superSize])
			}
		}
	})
}
