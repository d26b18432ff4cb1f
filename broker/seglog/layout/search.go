package layout

import (
	"sync"

	"ackline/broker/id"
)

// Source is an index file to read from.
type Source interface {
	ReadIndex(p []byte, pos int64) error       // fills p from position pos
	IndexFault(index id.Index, f *Fault) error // says which file it is that has the fault; index 0: not about one row
}

// Reader reads the rows of one segment through a block of them. Not for concurrent use. Release it at the end.
type Reader struct {
	src    Source
	group  id.GroupID
	first  id.Index
	rowsAt int64
	rows   uint32
	block  *[blockRows * RowSize]byte
	lo, n  uint32 // rows in the block
}

// blockRows is how many rows are read at once: 4 KiB of them, one page.
const blockRows = 64

var blocks = sync.Pool{New: func() any { return new([blockRows * RowSize]byte) }}

// NewReader returns a reader of the first rows of the index file src, of a group's segment that starts with entry first and
// whose rows begin at position rowsAt.
func NewReader(src Source, group id.GroupID, first id.Index, rowsAt int64, rows uint32) Reader {
	return Reader{src: src, group: group, first: first, rowsAt: rowsAt, rows: rows,
		block: blocks.Get().(*[blockRows * RowSize]byte)}
}

// Release gives the block back. The reader is of no use afterwards.
func (r *Reader) Release() {
	blocks.Put(r.block)
	r.block = nil
}

// Row decodes and checks row i. If the block does not hold it, the block that starts with it is read.
func (r *Reader) Row(i uint32) (Row, error) {
	if i < r.lo || i >= r.lo+r.n {
		if err := r.load(i, r.rows); err != nil {
			return Row{}, err
		}
	}
	index := r.first + id.Index(i)
	row, bad := DecodeRow(r.block[(i-r.lo)*RowSize:][:RowSize], r.group, index)
	if bad != nil {
		return Row{}, r.src.IndexFault(index, bad)
	}
	return row, nil
}

// load reads the rows from lo on, below hi and as many as fit.
func (r *Reader) load(lo, hi uint32) error {
	n := min(hi-lo, blockRows)
	r.lo, r.n = lo, 0
	if err := r.src.ReadIndex(r.block[:n*RowSize], r.rowsAt+int64(lo)*RowSize); err != nil {
		return err
	}
	r.n = n
	return nil
}

// Key is what a search orders rows by. It never falls from one row to the next.
type Key func(r Row) int64

// ByNext orders rows by the offset after them.
func ByNext(r Row) int64 { return int64(r.Next()) }

// BySegEnd orders rows by the position in .seg after them.
func BySegEnd(r Row) int64 { return r.SegEnd() }

// ByTopTimestamp orders rows by the greatest timestamp so far.
func ByTopTimestamp(r Row) int64 { return r.TopTimestamp }

// ByTerm orders rows by term.
func ByTerm(r Row) int64 { return int64(r.Term) }

// Search returns the first of the rows lo <= i < hi whose key is at least want, and its number; false when there is none.
// The keys lie about between first and last, which serves to guess: offsets and positions grow so evenly that one block
// is mostly enough, where halving would read a dozen. Guesses and halving take turns, so that rows of very uneven sizes
// cost at most twice what halving does. first >= last: halve only.
func (r *Reader) Search(lo, hi uint32, k Key, want, first, last int64) (i uint32, found Row, ok bool, err error) {
	even := first < last
	for guess := even; lo < hi; guess = even && !guess {
		mid := lo + (hi-lo)/2
		if guess && first < last {
			mid = lo + uint32(float64(max(0, min(want, last)-first))/float64(last-first)*float64(hi-lo))
		}
		if err := r.around(mid, lo, hi); err != nil {
			return 0, Row{}, false, err
		}
		from, to := max(lo, r.lo), min(hi, r.lo+r.n)
		at, row, here, err := r.searchBlock(from, to, k, want)
		switch {
		case err != nil:
			return 0, Row{}, false, err
		case here && (at > from || at == lo):
			return at, row, true, nil // the row before is below want, or not ours
		case here:
			hi, i, found, ok, last = at, at, row, true, k(row)
		default:
			below, err := r.Row(to - 1)
			if err != nil {
				return 0, Row{}, false, err
			}
			lo, first = to, k(below)
		}
	}
	return i, found, ok, nil
}

// around makes the block one with row mid, or as near as lo <= row < hi lets it be.
func (r *Reader) around(mid, lo, hi uint32) error {
	mid = max(lo, min(mid, hi-1))
	if r.lo <= mid && mid < r.lo+r.n {
		return nil
	}
	from := lo
	if mid-lo > blockRows/2 {
		from = mid - blockRows/2
	}
	if hi-from < blockRows && hi-lo >= blockRows {
		from = hi - blockRows
	}
	return r.load(from, hi)
}

// searchBlock is search among rows that are in the block, by halving.
func (r *Reader) searchBlock(lo, hi uint32, k Key, want int64) (i uint32, found Row, ok bool, err error) {
	for lo < hi {
		mid := lo + (hi-lo)/2
		row, err := r.Row(mid)
		if err != nil {
			return 0, Row{}, false, err
		}
		if k(row) >= want {
			hi, found, ok = mid, row, true
		} else {
			lo = mid + 1
		}
	}
	return lo, found, ok, nil
}
