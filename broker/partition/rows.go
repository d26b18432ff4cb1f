package partition

import (
	"iter"
	"sort"

	"ackline/broker/id"
)

// rowsPerChunk rows are allocated at a time. Recovery brings a row for each entry that the WAL holds, a million of them; one
// growing slice would copy, and fault in, several times its final size, in copies so long that the collector waits for them.
const rowsPerChunk = 4096

// rowList is the rows of applied entries that no segment holds yet: contiguous indexes, added at the end, dropped at the
// front. Rows are not changed once added, so a chunk may be read without the lock that guards the list.
type rowList struct {
	chunks [][]row // each full but the last; the first may have lost its front
	n      int
	tail   int // rows put into the last chunk
}

// push adds a row. The only chunk of a quiet partition is as small as what is in it; behind a full one comes one of full size.
func (l *rowList) push(r row) {
	switch {
	case len(l.chunks) == 0:
		l.chunks, l.tail = append(l.chunks, nil), 0
	case l.tail == rowsPerChunk:
		l.chunks, l.tail = append(l.chunks, make([]row, 0, rowsPerChunk)), 0
	}
	last := &l.chunks[len(l.chunks)-1]
	*last = append(*last, r)
	l.tail++
	l.n++
}

// at returns row i.
func (l *rowList) at(i int) *row {
	if first := len(l.chunks[0]); i >= first {
		i -= first
		return &l.chunks[1+i/rowsPerChunk][i%rowsPerChunk]
	}
	return &l.chunks[0][i]
}

// front is the first chunk: the rows that lie in one piece.
func (l *rowList) front() []row {
	if len(l.chunks) == 0 {
		return nil
	}
	return l.chunks[0]
}

// drop removes the first n rows.
func (l *rowList) drop(n int) {
	l.n -= n
	for n > 0 {
		c := l.chunks[0]
		k := min(n, len(c))
		l.chunks[0] = c[k:]
		n -= k
		if k == len(c) {
			l.chunks[0] = nil
			l.chunks = l.chunks[1:]
		}
	}
	if l.n == 0 {
		l.chunks = nil
	}
}

// search returns the first row of which f is true, len if there is none; f must be false and then true.
func (l *rowList) search(f func(*row) bool) int {
	return sort.Search(l.n, func(i int) bool { return f(l.at(i)) })
}

// snapshot returns the rows as they are now, to be read without the lock.
func (l *rowList) snapshot() iter.Seq[*row] {
	chunks := append([][]row(nil), l.chunks...)
	return func(yield func(*row) bool) {
		for _, c := range chunks {
			for i := range c {
				if !yield(&c[i]) {
					return
				}
			}
		}
	}
}

// upTo counts the rows up to an index.
func (l *rowList) upTo(i id.Index) int {
	if l.n == 0 || i < l.at(0).index {
		return 0
	}
	return min(l.n, int(i-l.at(0).index)+1)
}
