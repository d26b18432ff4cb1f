package quorum

import (
	"golang.org/x/sys/unix"

	"ackline/broker/vfs"
	"ackline/tools/floor/sock"
)

// inbox is what was read from a socket and not yet taken.
type inbox struct {
	buf        []byte
	start, end int
}

// got says how a read went.
type got int

const (
	gotAll   got = iota // the buffer is full: there may be more
	gotShort            // the socket was emptied by this read
	gotNothing
	gotEnd // closed or broken
)

func (b *inbox) bytes() []byte { return b.buf[b.start:b.end] }
func (b *inbox) take(n int)    { b.start += n }

// fill reads once. There is room: whoever leaves bytes in the box has called room.
func (b *inbox) fill(fd int) got {
	free := b.buf[b.end:]
	n, errno := sock.Read(fd, free)
	for errno == unix.EINTR {
		n, errno = sock.Read(fd, free)
	}
	switch {
	case errno == unix.EAGAIN:
		return gotNothing
	case n <= 0 || errno != 0:
		return gotEnd
	}
	b.end += n
	if n < len(free) {
		return gotShort
	}
	return gotAll
}

// room moves what is left to the front and sees to it that size bytes fit, and one byte more in any case.
func (b *inbox) room(size int) {
	if b.start > 0 {
		copy(b.buf, b.buf[b.start:b.end])
		b.end, b.start = b.end-b.start, 0
	}
	if size = max(size, b.end+1); size > len(b.buf) {
		grown := make([]byte, vfs.RoundUp(int64(size)))
		copy(grown, b.buf[:b.end])
		b.buf = grown
	}
}

// outbox is what a socket is to get: buf[sent:due] at once, the rest when it is due.
type outbox struct {
	buf       []byte
	sent, due int
}

// keepSent is how many bytes that were sent may stay in front of the others before those are moved.
const keepSent = 16 << 10

// flush writes what is due as far as the socket takes it. all tells whether that was everything.
func (b *outbox) flush(fd int) (all bool, errno unix.Errno) {
	for b.sent < b.due {
		n, errno := sock.Write(fd, b.buf[b.sent:b.due])
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.EAGAIN {
			return false, 0
		}
		if errno != 0 {
			return false, errno
		}
		b.sent += n
	}
	if b.sent == len(b.buf) {
		b.buf, b.sent, b.due = b.buf[:0], 0, 0
	} else if b.sent >= keepSent && b.sent >= len(b.buf)/2 {
		left := copy(b.buf, b.buf[b.sent:])
		b.buf, b.due, b.sent = b.buf[:left], b.due-b.sent, 0
	}
	return true, 0
}

// fifo is a queue that stops allocating when it has been as long as it gets.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int    { return len(q.items) - q.head }
func (q *fifo[T]) at(i int) *T { return &q.items[q.head+i] }

func (q *fifo[T]) push(v T) {
	if len(q.items) == cap(q.items) && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

func (q *fifo[T]) pop() T {
	var zero T
	v := q.items[q.head]
	q.items[q.head] = zero
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return v
}
