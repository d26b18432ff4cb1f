// Package rows is what a partition keeps of applied entries that no segment holds yet. Recovery brings a row for each entry that the WAL
// holds, a million of them and more. So what rows share is kept once for a chunk of them, a row's offset is where its predecessor
// ends, and 16 bytes are left. One growing slice would copy, and fault in, several times its final size, in copies so long
// that the collector waits for them.
package rows

import (
	"iter"
	"math"
	"slices"
	"sort"

	"ackline/broker/id"
	"ackline/broker/seglog"
)

// List is the rows in order: contiguous indexes, and offsets without a gap, added at the end, dropped at the front.
type List struct {
	chunks []chunk
	n      int
	tail   int // rows put into the last chunk
}

// chunk is rows of one term and type. What is in it is not changed any more, so it may be read without the lock that guards the list.
type chunk struct {
	first id.Index
	term  id.Term
	base  id.Offset // of the first row
	from  id.Offset // what packed.next counts from; base, until rows at the front are dropped
	typ   uint8
	rows  []packed // at most perChunk
}

// perChunk makes 8 KiB: what a partition with few rows may waste.
const perChunk = 512

// packed is a row in its chunk. One that takes no offset is a control entry.
type packed struct {
	maxMs int64
	next  uint32 // the offset after it, from the chunk's from on
	size  uint32 // bytes of data, and rolls
}

const rolls = 1 << 31

// Row is what is known of an applied entry until it is flushed; its data is in the group's log.
type Row struct {
	Index  id.Index
	Term   id.Term
	Type   uint8
	Base   id.Offset // of a control entry: the next offset
	Delta  int32     // seglog.Control for a control entry
	MaxMs  int64
	Length int32
	Roll   bool // a segment starts here
}

// Next is the offset after the row.
func (r *Row) Next() id.Offset { return r.Base + id.Offset(r.Delta) + 1 }

// DataBytes is the length of what readers are given.
func (r *Row) DataBytes() int {
	if r.Delta == seglog.Control {
		return 0
	}
	return int(r.Length)
}

// next is the offset after row i.
func (c *chunk) next(i int) id.Offset { return c.from + id.Offset(c.rows[i].next) }

func (c *chunk) at(i int) Row {
	base := c.base
	if i > 0 {
		base = c.next(i - 1)
	}
	p := &c.rows[i]
	// A control entry ends where it begins: its delta is seglog.Control, -1.
	return Row{c.first + id.Index(i), c.term, c.typ, base, int32(c.next(i)-base) + seglog.Control, p.maxMs, int32(p.size &^ rolls), p.size&rolls != 0}
}

// takes tells whether r can be the chunk's next row if there is room.
func (c *chunk) takes(r *Row) bool {
	return c.term == r.Term && c.typ == r.Type && uint64(r.Next()-c.from) <= math.MaxUint32
}

// Len is the number of rows.
func (l *List) Len() int { return l.n }

// Push adds a row, whose index and offset are those after the last. The only chunk of a quiet partition is as small as what is in it; behind
// a full one comes one of full size.
func (l *List) Push(r Row) {
	k := len(l.chunks) - 1
	if k < 0 || l.tail == perChunk || !l.chunks[k].takes(&r) {
		c := chunk{first: r.Index, term: r.Term, base: r.Base, from: r.Base, typ: r.Type}
		if k >= 0 && l.tail == perChunk {
			c.rows = make([]packed, 0, perChunk)
		}
		l.chunks, l.tail = append(l.chunks, c), 0
		k++
	}
	c := &l.chunks[k]
	p := packed{r.MaxMs, uint32(r.Next() - c.from), uint32(r.Length)}
	if r.Roll {
		p.size |= rolls
	}
	c.rows = append(c.rows, p)
	l.tail++
	l.n++
}

// find returns the chunk that holds row i, and where in it. The row must be there.
func (l *List) find(i int) (k, at int) {
	x := l.chunks[0].first + id.Index(i)
	k = sort.Search(len(l.chunks), func(k int) bool { return l.chunks[k].first > x }) - 1
	return k, int(x - l.chunks[k].first)
}

// At returns row i.
func (l *List) At(i int) Row {
	k, at := l.find(i)
	return l.chunks[k].at(at)
}

// AppendFront appends the first rows to dst, up to index end, until there are enough of them or of their data.
func (l *List) AppendFront(dst []Row, end id.Index, rows, bytes int) []Row {
	for k := range l.chunks {
		c := &l.chunks[k]
		for i := range c.rows {
			if c.first+id.Index(i) > end || rows <= 0 || bytes <= 0 {
				return dst
			}
			dst = append(dst, c.at(i))
			rows--
			bytes -= int(c.rows[i].size &^ rolls)
		}
	}
	return dst
}

// Drop removes the first n rows, each of which is shown to f before.
func (l *List) Drop(n int, f func(Row)) {
	l.n -= n
	k := 0
	for n > 0 {
		c := &l.chunks[k]
		m := min(n, len(c.rows))
		for i := range m {
			f(c.at(i))
		}
		n -= m
		if m == len(c.rows) {
			k++
			continue
		}
		c.first, c.base, c.rows = c.first+id.Index(m), c.next(m-1), c.rows[m:]
	}
	clear(l.chunks[:k])
	if l.chunks = l.chunks[k:]; l.n == 0 {
		l.chunks = nil
	}
}

// Search returns the first row of which f is true, n if there is none; f must be false and then true.
func (l *List) Search(f func(Row) bool) int {
	k := sort.Search(len(l.chunks), func(k int) bool { c := &l.chunks[k]; return f(c.at(len(c.rows) - 1)) })
	if k == len(l.chunks) {
		return l.n
	}
	c := &l.chunks[k]
	return int(c.first-l.chunks[0].first) + sort.Search(len(c.rows)-1, func(i int) bool { return f(c.at(i)) })
}

// Snapshot returns the rows as they are now, to be read without the lock.
func (l *List) Snapshot() iter.Seq[Row] { return inOrder(slices.Clone(l.chunks), 0) }

// From returns the rows from row i on.
func (l *List) From(i int) iter.Seq[Row] {
	if i >= l.n {
		return inOrder(nil, 0)
	}
	k, at := l.find(i)
	return inOrder(l.chunks[k:], at)
}

func inOrder(chunks []chunk, at int) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		i := at
		for k := range chunks {
			for c := &chunks[k]; i < len(c.rows); i++ {
				if !yield(c.at(i)) {
					return
				}
			}
			i = 0
		}
	}
}

// UpTo counts the rows up to an index.
func (l *List) UpTo(i id.Index) int {
	if l.n == 0 || i < l.chunks[0].first {
		return 0
	}
	return min(l.n, int(i-l.chunks[0].first)+1)
}
