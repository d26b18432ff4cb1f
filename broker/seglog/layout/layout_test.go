package layout

import (
	"bytes"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ackline/broker/id"
)

// field is a line of an offset table: where a field begins and how long it is.
type field struct{ at, size int }

var fieldLine = regexp.MustCompile(`^(\d+)\s+(\d+)\s+\S`)

// table reads the offset table from the comment that begins so, and its last line, the total.
func table(t *testing.T, file, beginning string) (fields []field, total int) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range f.Comments {
		if !strings.HasPrefix(c.Text(), beginning) {
			continue
		}
		for line := range strings.Lines(c.Text()) {
			line = strings.TrimSpace(line)
			if m := fieldLine.FindStringSubmatch(line); m != nil {
				at, _ := strconv.Atoi(m[1])
				size, _ := strconv.Atoi(m[2])
				fields = append(fields, field{at, size})
			} else if n, err := strconv.Atoi(line); err == nil {
				return fields, n
			}
		}
	}
	t.Fatalf("%s has no comment that begins %q and ends a table with its total", file, beginning)
	return nil, 0
}

// TestOffsets ties the drawn formats to the constants.
func TestOffsets(t *testing.T) {
	for _, c := range []struct {
		file, beginning string
		constants       []int
		total           int
	}{
		{"header.go", "The header of an index file", []int{hdrMagicAt, hdrVersionAt, hdrStateLenAt, hdrGroupAt, hdrFirstAt, hdrBaseAt,
			hdrPrevFirstAt, hdrPrevTermAt, hdrPrevSegAt, hdrPrevCtlAt, hdrPrevMaxTsAt, hdrReservedAt, hdrStateCRCAt, hdrCRCAt}, HeaderSize},
		{"row.go", "A row, little endian", []int{rowTermAt, rowBaseAt, rowMaxTsAt, rowTopTsAt, rowSegPosAt, rowCtlPosAt, rowLengthAt,
			rowDeltaAt, rowDataCRCAt, rowTypeAt, rowReservedAt, rowCRCAt}, RowSize},
		{"checkpoint.go", "A checkpoint as bytes", []int{ckptVersionAt, ckptFirstAt, ckptStartAt, ckptActiveAt, ckptNextAt,
			ckptNextOffsetAt, ckptTermAt, ckptSegBytesAt, ckptCtlBytesAt}, CheckpointSize},
	} {
		fields, total := table(t, c.file, c.beginning)
		var drawn []int
		end := 0
		for _, f := range fields {
			if f.at != end {
				t.Errorf("%s: %q: a field at %d after one that ends at %d", c.file, c.beginning, f.at, end)
			}
			end = f.at + f.size
			drawn = append(drawn, f.at)
		}
		if !slices.Equal(drawn, c.constants) || total != c.total || end != total {
			t.Errorf("%s: %q draws %v, total %d; the constants are %v, total %d", c.file, c.beginning, drawn, total, c.constants, c.total)
		}
	}
}

// TestGolden keeps the bytes of version 1 as they are: data directories exist that hold them.
func TestGolden(t *testing.T) {
	h := Header{Group: 0x0102, First: 42, Base: 1000, PrevFirst: 7, PrevTerm: 3, PrevSegBytes: 4096, PrevCtlBytes: 5, PrevTopTimestamp: -1}
	b := h.Encode([]byte("state"))
	r := Row{Index: 42, Term: 3, Base: 1000, MaxTimestamp: 1, TopTimestamp: 2, SegPos: 3, CtlPos: 4, Length: 5, LastDelta: 6, CRC: 7, Type: 8}
	b = r.AppendTo(b, h.Group)
	c := Checkpoint{First: 1, Start: 2, Active: 3, Next: 4, NextOffset: 5, Term: 6, SegBytes: 7, CtlBytes: 8}
	b, _ = c.AppendBinary(b)
	const want = "f0521fff"
	if got := Hex(Checksum(0, b)); got != want || len(b) != HeaderSize+2*RowSize+CheckpointSize {
		t.Errorf("the encoded bytes have checksum %s, want %s: the format changed without a new version\n%x", got, want, b)
	}
}

func TestNames(t *testing.T) {
	for _, k := range []Kind{Seg, Ctl, Idx, Low} {
		for _, i := range []id.Index{0, 42, math.MaxUint64} {
			name := Name("d/e", i, k)
			base, found := strings.CutPrefix(name, "d/e/")
			if first, kind, ok := ParseName(base); !found || !ok || first != i || kind != k {
				t.Errorf("%s is parsed as %d, %d, %v", name, first, kind, ok)
			}
		}
	}
	for _, bad := range []string{"", "1.seg", "00000000000000000042", "00000000000000000042.sega", "0000000000000000004x.seg",
		"99999999999999999999.seg", "+0000000000000000042.seg", "00000000000000000042.tmp"} {
		if _, _, ok := ParseName(bad); ok {
			t.Errorf("%q is taken for a log's file", bad)
		}
	}
	l := List([]string{"00000000000000000001.idx", "00000000000000000001.seg", "00000000000000000003.low", "00000000000000000007.ctl", "lost+found"})
	if got := fmt.Sprint(l); got != "{[3] [1 7] [{1 2} {1 0} {7 1}]}" {
		t.Errorf("listing %s", got)
	}
}

// memory is an index file that holds only rows.
type memory struct {
	rows  []byte
	reads int
}

func (m *memory) ReadIndex(p []byte, pos int64) error {
	m.reads++
	copy(p, m.rows[pos:])
	return nil
}

var errFault = errors.New("fault")

func (m *memory) IndexFault(id.Index, *Fault) error { return errFault }

// TestSearch compares with a linear search, for keys that grow evenly, in jumps, and hardly at all.
func TestSearch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 63, 64, 65, 129, 5000} {
		for _, c := range []struct {
			name string
			step func(i int) int64
		}{
			{"even", func(int) int64 { return 100 }},
			{"random", func(int) int64 { return rng.Int64N(1000) }},
			{"jumps", func(i int) int64 {
				if i%500 == 499 {
					return 1 << 40
				}
				return rng.Int64N(2)
			}},
			{"flat", func(int) int64 { return 0 }},
		} {
			m, keys, pos := &memory{}, make([]int64, n), int64(0)
			for i := range keys {
				pos += c.step(i)
				keys[i] = pos
				r := Row{Index: id.Index(i + 1), Length: 1, SegPos: pos}
				m.rows = r.AppendTo(m.rows, 9)
			}
			r := NewReader(m, 9, 1, 0, uint32(n))
			worst := 0
			for range 300 {
				lo := rng.IntN(n + 1)
				hi := lo + rng.IntN(n-lo+1)
				want := rng.Int64N(pos + 3)
				if n > 0 && rng.IntN(2) == 0 {
					want = keys[rng.IntN(n)] + 1
				}
				at := slices.IndexFunc(keys[lo:hi], func(k int64) bool { return k+1 >= want })
				r.n, m.reads = 0, 0
				first, last := int64(0), int64(0)
				if lo < hi {
					first, last = keys[lo], keys[hi-1]
				}
				i, row, ok, err := r.Search(uint32(lo), uint32(hi), BySegEnd, want, first, last)
				worst = max(worst, m.reads)
				if err != nil || ok != (at >= 0) || ok && (int(i) != lo+at || row.SegPos != keys[i]) {
					t.Fatalf("%s %d: first of [%d,%d) with key >= %d: got %d, %v, %v, want %d", c.name, n, lo, hi, want, i, ok, err, lo+at)
				}
			}
			r.Release()
			if limit := map[string]int{"even": 2}[c.name]; limit > 0 && worst > limit || worst > 16 {
				t.Errorf("%s: a search in %d rows read %d blocks", c.name, n, worst)
			}
		}
	}
}

func TestReaderFault(t *testing.T) {
	m := &memory{}
	for i := range 3 {
		r := Row{Index: id.Index(i + 1), Length: 1}
		m.rows = r.AppendTo(m.rows, 9)
	}
	m.rows[RowSize+5] ^= 4
	r := NewReader(m, 9, 1, 0, 3)
	defer r.Release()
	for i, want := range []error{nil, errFault, nil} {
		if _, err := r.Row(uint32(i)); err != want {
			t.Errorf("row %d: %v, want %v", i, err, want)
		}
	}
	if _, _, _, err := r.Search(0, 3, ByTerm, 1, 0, 0); err != errFault {
		t.Errorf("search over a damaged row: %v", err)
	}
}

// TestSpans compares with a set of numbers: what is forgotten may be any, what is claimed must be there.
func TestSpans(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var s Spans
		set := map[uint32]bool{}
		for range 60 {
			lo := uint32(rng.IntN(100))
			hi := lo + uint32(rng.IntN(10))
			s.Add(lo, hi)
			for i := lo; i < hi; i++ {
				set[i] = true
			}
			if a, b := s.Trim(lo, hi); a < b {
				t.Fatalf("seed %d: [%d,%d) was just added, and [%d,%d) of it is left", seed, lo, hi, a, b)
			}
			lo = uint32(rng.IntN(100))
			hi = lo + uint32(rng.IntN(50))
			a, b := s.Trim(lo, hi)
			for i := lo; i < hi; i++ {
				if (i < a || i >= b) && !set[i] {
					t.Fatalf("seed %d: %d was trimmed off [%d,%d), leaving [%d,%d), but never added", seed, i, lo, hi, a, b)
				}
			}
			for i, r := range s.r[:s.n] {
				for _, q := range s.r[:i] {
					if r.lo <= q.hi && q.lo <= r.hi {
						t.Fatalf("seed %d: ranges %v and %v are not apart", seed, q, r)
					}
				}
			}
		}
	}
	var s Spans
	for i := range uint32(10) {
		s.Add(i*100, i*100+10+i)
	}
	if a, b := s.Trim(900, 919); a < b {
		t.Error("the newest range was forgotten")
	}
	s.Add(0, 1<<31)
	if a, b := s.Trim(5, 1<<31); a < b || s.n != 1 {
		t.Errorf("after a range over all: %d ranges, %d to %d", s.n, a, b)
	}
}

func FuzzHeader(f *testing.F) {
	h := Header{Group: 5, First: 42, Base: 7, PrevFirst: 3, PrevTerm: 2, PrevSegBytes: 9}
	f.Add(h.Encode([]byte("abc")), uint64(5), uint64(42))
	f.Add([]byte(idxMagic), uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, p []byte, group, first uint64) {
		seal := slices.Clone(p)
		if len(seal) >= HeaderSize { // the fields behind the checksum matter too
			copy(seal[hdrMagicAt:], idxMagic)
			seal[hdrVersionAt], seal[hdrVersionAt+1], seal[hdrVersionAt+2], seal[hdrVersionAt+3] = idxVersion, 0, 0, 0
			crc := Checksum(0, seal[:hdrCRCAt])
			for i := range 4 {
				seal[hdrCRCAt+i] = byte(crc >> (8 * i))
			}
		}
		for _, b := range [][]byte{p, seal} {
			h, bad := DecodeHeader(b, id.GroupID(group), id.Index(first))
			if bad != nil {
				if bad.Error() == "" {
					t.Fatal("a fault without words")
				}
				continue
			}
			if h.StateLen < 0 || h.StateLen > MaxBaseState || h.Base < 0 || h.PrevFirst >= h.First || h.RowsAt() < HeaderSize {
				t.Fatalf("impossible header %+v", h)
			}
		}
	})
}

func FuzzRow(f *testing.F) {
	r := Row{Index: 42, Term: 3, Base: 1000, MaxTimestamp: 1, TopTimestamp: 2, SegPos: 3, CtlPos: 4, Length: 5, LastDelta: 6, CRC: 7, Type: 8}
	f.Add(r.AppendTo(nil, 5), uint64(5), uint64(42))
	f.Add(make([]byte, RowSize), uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, p []byte, group, index uint64) {
		if len(p) < RowSize {
			return
		}
		p = slices.Clone(p[:RowSize])
		if _, bad := DecodeRow(p, id.GroupID(group), id.Index(index)); bad != nil {
			crc := rowChecksum(id.GroupID(group), id.Index(index), p)
			for i := range 4 {
				p[rowCRCAt+i] = byte(crc >> (8 * i))
			}
		}
		r, bad := DecodeRow(p, id.GroupID(group), id.Index(index))
		if bad != nil {
			return
		}
		if r.Next() < r.Base || r.SegEnd() < r.SegPos || r.CtlEnd() < r.CtlPos || r.Length < 0 {
			t.Fatalf("impossible row %+v", r)
		}
		copy(p[rowReservedAt:rowCRCAt], make([]byte, 3))
		if b := r.AppendTo(nil, id.GroupID(group)); !bytes.Equal(b[:rowCRCAt], p[:rowCRCAt]) {
			t.Fatalf("row %+v is encoded as %x, was %x", r, b, p)
		}
		if _, bad := DecodeRow(r.AppendTo(nil, id.GroupID(group)), id.GroupID(group), id.Index(index)+1); bad == nil {
			t.Fatal("a row was taken in the next one's place")
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	for _, c := range []Checkpoint{{}, {First: 5, Next: 5, Start: 8, NextOffset: 8, Term: 2},
		{First: 1, Active: 10, Next: 20, NextOffset: 100, Term: 3, SegBytes: 1000, CtlBytes: 10}} {
		b, _ := c.MarshalBinary()
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Checkpoint
		if err := c.UnmarshalBinary(b); err != nil {
			if c != (Checkpoint{}) {
				t.Fatalf("refused, and yet %+v", c)
			}
			return
		}
		if again, err := c.MarshalBinary(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x became %x, %v", b, again, err)
		}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
	})
}
