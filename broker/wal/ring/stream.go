package ring

import (
	"io"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// A stream reads the ring forward in blocks of readBlock bytes, readAhead of them at a time: one read at a time leaves a
// fast disk idle between two of them, and more memory than this buys nothing.
const (
	readBlock = 4 << 20
	readAhead = 3
)

type stream struct {
	file  *File
	limit id.LSN // nothing is read from here on
	ask   id.LSN // where the next read begins
	slots [readAhead]slot
	cur   int // the slot with the lowest LSN
}

// slot is one read. buf, lsn and n belong to the stream while no read is under way; err is passed with done.
type slot struct {
	buf    []byte
	lsn    id.LSN
	n      int // 0: there is nothing more to read
	err    error
	done   chan struct{}
	landed bool // done was received
}

func newStream(f *File, from, limit id.LSN) *stream {
	s := &stream{file: f, limit: limit}
	size := min(readBlock, int(limit-from))
	for i := range s.slots {
		s.slots[i] = slot{buf: vfs.Aligned(size), done: make(chan struct{}, 1)}
	}
	s.seek(from)
	return s
}

// seek makes l the next place to read.
func (s *stream) seek(l id.LSN) {
	s.wait()
	s.ask, s.cur = l, 0
	for i := range s.slots {
		s.start(&s.slots[i])
	}
}

// wait returns when no read is under way.
func (s *stream) wait() {
	for i := range s.slots {
		if c := &s.slots[i]; c.n > 0 && !c.landed {
			<-c.done
			c.landed = true
		}
	}
}

func (s *stream) start(c *slot) {
	c.lsn, c.n, c.landed = s.ask, int(min(int64(len(c.buf)), int64(s.limit-s.ask))), false
	if c.n == 0 {
		return
	}
	s.ask += id.LSN(c.n)
	go func() {
		c.err = s.file.Read(c.buf[:c.n], c.lsn)
		c.done <- struct{}{}
	}()
}

// bytes returns what is at l, to the end of the block that was read: at least BlockSize bytes, valid until the next call.
// l is a multiple of BlockSize. Going back is possible and slow. io.EOF at the limit.
func (s *stream) bytes(l id.LSN) ([]byte, error) {
	if l < s.slots[s.cur].lsn {
		s.seek(l)
	}
	for {
		c := &s.slots[s.cur]
		if c.n == 0 {
			return nil, io.EOF
		}
		if !c.landed {
			<-c.done
			c.landed = true
		}
		if c.err != nil {
			return nil, c.err
		}
		if l < c.lsn+id.LSN(c.n) {
			return c.buf[l-c.lsn : c.n], nil
		}
		s.start(c)
		s.cur = (s.cur + 1) % readAhead
	}
}

// copy fills p from l on.
func (s *stream) copy(p []byte, l id.LSN) error {
	for len(p) > 0 {
		b, err := s.bytes(l)
		if err != nil {
			return err
		}
		n := copy(p, b)
		p, l = p[n:], l+id.LSN(n)
	}
	return nil
}
