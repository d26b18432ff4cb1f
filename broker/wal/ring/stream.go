package ring

import (
	"io"
	"slices"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// A stream reads the ring forward in blocks of readBlock bytes, several at a time: one read at a time leaves a fast disk idle between two
// of them. It begins with readAhead and takes one more with each block that is used up, to readAheadMost. With three at a time whoever
// uses the bytes waited for two thirds of a recovery, because no read was under way whenever the scheduler, the collector or a page fault
// held it up for longer than two blocks take; what is far enough ahead rides that out. A short WAL has no use for the memory of that.
const (
	readBlock     = 4 << 20
	readAhead     = 3
	readAheadMost = 8
)

type stream struct {
	file  *File
	limit id.LSN  // nothing is read from here on
	ahead id.LSN  // nothing is read ahead from here on, until somebody asks for what lies there
	ask   id.LSN  // where the next read begins
	slots []*slot // each begins where the one before ends, round the slice
	cur   int     // the slot with the lowest LSN
}

// slot is one read. buf, lsn and n belong to the stream while no read is under way; err is passed with done.
type slot struct {
	buf    []byte
	free   func() // gives buf back
	lsn    id.LSN
	n      int // 0: there is nothing more to read
	err    error
	done   chan struct{}
	landed bool // done was received
}

func newStream(f *File, from, ahead, limit id.LSN) *stream {
	s := &stream{file: f, ahead: ahead, limit: limit}
	for range readAhead {
		s.slots = append(s.slots, newSlot(int64(limit-from)))
	}
	s.seek(from)
	return s
}

// newSlot is one for at most so many bytes.
func newSlot(most int64) *slot {
	buf, free := vfs.Huge(int(min(readBlock, most)))
	return &slot{buf: buf, free: free, done: make(chan struct{}, 1)}
}

// seek makes l the next place to read.
func (s *stream) seek(l id.LSN) {
	s.wait()
	s.ask, s.cur = l, 0
	for _, c := range s.slots {
		s.start(c)
	}
}

// wait returns when no read is under way.
func (s *stream) wait() {
	for _, c := range s.slots {
		if c.n > 0 && !c.landed {
			<-c.done
			c.landed = true
		}
	}
}

// close waits likewise, and gives the memory back: what bytes returned is gone.
func (s *stream) close() {
	s.wait()
	for _, c := range s.slots {
		c.free()
	}
	s.slots = nil
}

func (s *stream) start(c *slot) {
	c.lsn, c.n, c.landed = s.ask, int(min(int64(len(c.buf)), int64(s.ahead-s.ask))), false
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
	switch {
	case l >= s.limit:
		return nil, io.EOF
	case l >= s.ahead:
		s.ahead = s.limit
		s.seek(l)
	case l < s.slots[s.cur].lsn:
		s.seek(l)
	}
	for {
		c := s.slots[s.cur]
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
		s.next(c)
	}
}

// next goes on to the block behind c, reads what is farthest ahead into c, and one more block if there may be more.
func (s *stream) next(c *slot) {
	s.start(c)
	s.cur++
	if len(s.slots) < readAheadMost && s.ask < s.ahead {
		more := newSlot(int64(s.ahead - s.ask))
		s.slots = slices.Insert(s.slots, s.cur, more)
		s.start(more)
		s.cur++
	}
	s.cur %= len(s.slots)
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
