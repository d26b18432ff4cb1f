package wal

import (
	"math"
	"slices"
	"sort"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// places is where the entries of one group lie, contiguous from an index on. A ring may hold millions of them, and recovery finds all at
// once: so an entry costs 16 bytes, what entries share is kept once for a span of them, and spans are allocated at their full size, since one
// growing slice would have up to twice its size, and more while it grows. The index's lock guards it.
type places struct {
	spans []span // ascending, none empty but perhaps the only one, whose memory is used again
	n     int
	bytes int64 // of the entries' data
}

// span is entries with consecutive indexes and one term and type.
type span struct {
	first id.Index
	batch id.LSN // from which place.block counts
	term  id.Term
	typ   uint8
	all   []place // at most placesPerSpan
}

// placesPerSpan makes 4 KiB: what a group with few entries may waste, and a thousand groups have such.
const placesPerSpan = 256

// place is where one entry lies.
type place struct {
	block  uint32 // in which its batch begins
	off    uint32 // of the data, in the batch
	length uint32
	crc    uint32
}

// location is a place without its span.
type location struct {
	batch  id.LSN
	term   id.Term
	off    uint32 // of the data, in the batch
	length uint32
	crc    uint32
	typ    uint8
}

func (s *span) at(i int) location {
	p := &s.all[i]
	return location{s.batch + id.LSN(p.block)*vfs.BlockSize, s.term, p.off, p.length, p.crc, s.typ}
}

// takes tells whether l can be the next of the span.
func (s *span) takes(l *location) bool {
	return len(s.all) < placesPerSpan && s.term == l.term && s.typ == l.typ && (l.batch-s.batch)/vfs.BlockSize <= math.MaxUint32
}

func (s *span) push(l *location) {
	s.all = append(s.all, place{uint32((l.batch - s.batch) / vfs.BlockSize), l.off, l.length, l.crc})
}

// push adds entry i behind the last. spare is where memory of full spans comes from.
func (p *places) push(i id.Index, l location, spare *spareSpans) {
	p.bytes += int64(l.length)
	p.n++
	k := len(p.spans) - 1
	if k >= 0 && len(p.spans[k].all) > 0 && p.spans[k].takes(&l) {
		p.spans[k].push(&l)
		return
	}
	s := span{first: i, batch: l.batch, term: l.term, typ: l.typ}
	switch {
	case k < 0: // a quiet group's span is as small as what is in it
	case len(p.spans[k].all) == 0:
		s.all = p.spans[k].all
		p.spans = p.spans[:k]
	case len(p.spans[k].all) == placesPerSpan:
		s.all = spare.take()
	}
	s.push(&l)
	p.spans = append(p.spans, s)
}

// find returns the span that holds entry i, and where in it. The entry must be there.
func (p *places) find(i id.Index) (k, at int) {
	k = sort.Search(len(p.spans), func(k int) bool { return p.spans[k].first > i }) - 1
	return k, int(i - p.spans[k].first)
}

// get returns where entry i lies.
func (p *places) get(i id.Index) location {
	k, at := p.find(i)
	return p.spans[k].at(at)
}

// collect returns where the n entries from i on lie: as many as have maxBytes of data, but at least one.
func (p *places) collect(i id.Index, n int, maxBytes int64) []location {
	if n == 0 {
		return nil
	}
	k, from := p.find(i)
	fit, size := 0, int64(0)
count:
	for k, at := k, from; ; k, at = k+1, 0 {
		for ; at < len(p.spans[k].all); at++ {
			if size += int64(p.spans[k].all[at].length); fit > 0 && size > maxBytes {
				break count
			}
			if fit++; fit == n {
				break count
			}
		}
	}
	ls := make([]location, 0, fit)
	for ; len(ls) < fit; k, from = k+1, 0 {
		for at := from; at < len(p.spans[k].all) && len(ls) < fit; at++ {
			ls = append(ls, p.spans[k].at(at))
		}
	}
	return ls
}

// oldest is the batch of the first entry, which must be there: a suffix is replaced by later records.
func (p *places) oldest() id.LSN { return p.spans[0].at(0).batch }

// drop forgets the first n entries.
func (p *places) drop(n int, spare *spareSpans) {
	p.n -= n
	k := 0
	for ; n > 0; k++ {
		s := &p.spans[k]
		m := min(n, len(s.all))
		p.bytes -= dataBytes(s.all[:m])
		n -= m
		if m < len(s.all) || p.n == 0 && n == 0 { // what is left, or the memory of the last
			s.all = s.all[:copy(s.all, s.all[m:])]
			s.first += id.Index(m)
			break
		}
		spare.give(s.all)
	}
	p.spans = slices.Delete(p.spans, 0, k)
	if cap(p.spans) > 64 && len(p.spans) < cap(p.spans)/8 {
		p.spans = slices.Clone(p.spans) // the peak of one group must not stay for good, times a thousand groups
	}
}

// cut forgets all but the first n entries.
func (p *places) cut(n int, spare *spareSpans) {
	gone := p.n - n
	p.n = n
	for k := len(p.spans) - 1; gone > 0; k-- {
		s := &p.spans[k]
		m := min(gone, len(s.all))
		keep := len(s.all) - m
		p.bytes -= dataBytes(s.all[keep:])
		s.all = s.all[:keep]
		if gone -= m; keep == 0 && k > 0 {
			spare.give(s.all)
			p.spans = slices.Delete(p.spans, k, k+1)
		}
	}
}

func dataBytes(all []place) (n int64) {
	for i := range all {
		n += int64(all[i].length)
	}
	return n
}

// spareSpans is memory of spans that are gone, for whichever group is next: without it each 256 entries would cost an allocation.
type spareSpans struct{ all [][]place }

// maxSpareSpans makes 1 MiB.
const maxSpareSpans = 256

func (s *spareSpans) take() []place {
	n := len(s.all) - 1
	if n < 0 {
		return make([]place, 0, placesPerSpan)
	}
	all := s.all[n]
	s.all[n], s.all = nil, s.all[:n]
	return all
}

func (s *spareSpans) give(all []place) {
	if cap(all) == placesPerSpan && len(s.all) < maxSpareSpans {
		s.all = append(s.all, all[:0])
	}
}
