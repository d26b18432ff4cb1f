package wal

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// TestPlacesAgainstASlice pushes, drops and cuts the places of three groups, which share spare memory, at random, and compares with slices.
func TestPlacesAgainstASlice(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var spare spareSpans
	var groups [3]placesModel
	lsn := id.LSN(vfs.BlockSize)
	for range 1500 {
		g := &groups[r.IntN(len(groups))]
		switch {
		case r.IntN(3) > 0:
			lsn = g.push(r, lsn, &spare)
		case r.IntN(2) == 0:
			n := g.some(r)
			g.places.drop(n, &spare)
			g.first, g.want = g.first+id.Index(n), g.want[n:]
		default:
			n := g.some(r)
			g.places.cut(n, &spare)
			g.want = g.want[:n]
		}
		for i := range groups {
			groups[i].check(t, r)
		}
	}
}

type placesModel struct {
	places places
	first  id.Index
	want   []location
}

// some is a number of entries, often none or all.
func (m *placesModel) some(r *rand.Rand) int {
	return max(0, min(len(m.want), r.IntN(len(m.want)+100)-50))
}

// push adds up to three spans' entries. Now and then the term or type changes, or the ring has gone round many times meanwhile.
func (m *placesModel) push(r *rand.Rand, lsn id.LSN, spare *spareSpans) id.LSN {
	l := location{term: id.Term(r.IntN(3))}
	for range r.IntN(3 * placesPerSpan) {
		switch r.IntN(100) {
		case 0:
			l.term++
		case 1:
			l.typ = uint8(r.IntN(3))
		case 2:
			lsn += vfs.BlockSize << id.LSN(30+r.IntN(4))
		}
		if r.IntN(3) == 0 {
			lsn += id.LSN(1+r.IntN(9)) * vfs.BlockSize
		}
		l.batch, l.off, l.length, l.crc = lsn, r.Uint32(), r.Uint32N(1<<20), r.Uint32()
		m.places.push(m.first+id.Index(len(m.want)), l, spare)
		m.want = append(m.want, l)
	}
	return lsn
}

func (m *placesModel) check(t *testing.T, r *rand.Rand) {
	t.Helper()
	bytes := int64(0)
	for i := range m.want {
		bytes += int64(m.want[i].length)
	}
	if m.places.n != len(m.want) || m.places.bytes != bytes {
		t.Fatalf("%d entries of %d bytes, want %d of %d", m.places.n, m.places.bytes, len(m.want), bytes)
	}
	if len(m.want) == 0 {
		return
	}
	if got := m.places.oldest(); got != m.want[0].batch {
		t.Fatalf("the oldest batch is %d, want %d", got, m.want[0].batch)
	}
	if got := m.places.collect(m.first, len(m.want), math.MaxInt64); !slices.Equal(got, m.want) {
		t.Fatalf("the %d entries lie elsewhere", len(m.want))
	}
	i := r.IntN(len(m.want))
	if got := m.places.get(m.first + id.Index(i)); got != m.want[i] {
		t.Fatalf("entry %d lies at %+v, want %+v", i, got, m.want[i])
	}
	n, most := 1+r.IntN(len(m.want)-i), r.Int64N(1<<27)
	fit, size := 1, int64(m.want[i].length)
	for fit < n && size+int64(m.want[i+fit].length) <= most {
		size += int64(m.want[i+fit].length)
		fit++
	}
	if got := m.places.collect(m.first+id.Index(i), n, most); !slices.Equal(got, m.want[i:i+fit]) {
		t.Fatalf("%d of %d entries from %d on have %d bytes, want %d", len(got), n, i, most, fit)
	}
}

// A group that appends and checkpoints in turns uses its memory again.
func TestPlacesInTurnsDoNotAllocate(t *testing.T) {
	var p places
	var spare spareSpans
	i := id.Index(1)
	turn := func() {
		for range 10 * placesPerSpan {
			p.push(i, location{batch: id.LSN(i) * vfs.BlockSize, term: 1, length: 1}, &spare)
			i++
		}
		p.drop(p.n-3, &spare)
	}
	turn()
	if n := testing.AllocsPerRun(20, turn); n >= 1 {
		t.Errorf("%.1f allocations per turn", n)
	}
}
