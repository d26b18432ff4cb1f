package quorum

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"ackline/tools/floor/echo"
	"ackline/tools/floor/sock"
)

// edges is what every connection of the leader is watched for, once and for all. Edges, because two threads wait: a level
// would wake the second one for what the first is reading already. Whoever gets an edge reads until the socket is empty,
// or remembers that it did not.
const edges = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// frameHead is what every request begins with: 4-byte length, api key, version, correlation id.
const frameHead = 12

// maxOwedBytes is how many bytes of answers a client may be owed before no more of its requests are read.
const maxOwedBytes = 4 << 20

// client is one connection that asks.
type client struct {
	fd     int
	in     inbox
	out    outbox // due are the answers to what a majority has
	listed bool   // on answers
	held   bool   // on held: it may have more to read, or complete requests, and waits for room
	stuck  bool   // the socket took only part of what is due: nothing is read until the rest is gone
	hangup bool   // the other side has closed: read to the end
	gone   bool
}

func (l *Leader) accept() error {
	return sock.Accept(l.listen, func(fd int) {
		for len(l.clients) <= fd {
			l.clients = append(l.clients, nil)
		}
		l.clients[fd] = &client{fd: fd, in: inbox{buf: make([]byte, firstReadBytes)}}
		if l.poll.Watch(unix.EPOLL_CTL_ADD, fd, edges) != nil {
			l.drop(l.clients[fd])
		}
	})
}

func (l *Leader) clientReady(c *client, events uint32) {
	c.hangup = c.hangup || events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	if c.stuck {
		l.flush(c)
		if !c.stuck && !c.held && !c.gone {
			l.parse(c) // requests may have lain in the box since c was held and got stuck
		}
	}
	l.read(c)
}

// read takes everything that c's socket has, unless c must wait.
func (l *Leader) read(c *client) {
	for !c.held && !c.stuck && !c.gone {
		switch c.in.fill(c.fd) {
		case gotAll:
			l.parse(c)
		case gotShort:
			l.parse(c)
			if !c.hangup {
				return
			}
		case gotNothing:
			return
		case gotEnd:
			l.drop(c)
		}
	}
}

// parse moves every complete request of c into the open batch and prepares its answer. It ends early when c is dropped or
// held.
func (l *Leader) parse(c *client) {
	for {
		b := c.in.bytes()
		if len(b) < 4 {
			c.in.room(4)
			return
		}
		size := 4 + int(binary.BigEndian.Uint32(b))
		if size < frameHead || size > l.cfg.BatchBytes-echo.HeaderBytes {
			l.stats.Refused++
			l.drop(c)
			return
		}
		if len(b) < size {
			c.in.room(size)
			return
		}
		if !l.admit(c, size) {
			return
		}
		c.in.take(size)
		at := len(c.out.buf)
		c.out.buf = sock.Extend(c.out.buf, l.cfg.ReplyBytes)
		binary.BigEndian.PutUint32(c.out.buf[at:], uint32(l.cfg.ReplyBytes-4))
		copy(c.out.buf[at+4:], b[8:12])
		l.open.add(b[:size], c, l.cfg.ReplyBytes)
	}
}

// admit tells whether a request of size bytes can go into the open batch. If it never can, because there is no majority,
// c is dropped: the floor's answers have no room for an error, and a closed connection is one. If it cannot yet, because
// too few copies have room, c is held.
func (l *Leader) admit(c *client, size int) bool {
	if l.alive() < l.majority {
		l.giveUp(c)
		return false
	}
	if l.open.fill+size > l.cfg.BatchBytes {
		l.seal()
	}
	if l.open.frames == 0 && l.roomy() < l.majority || len(c.out.buf)-c.out.sent >= maxOwedBytes {
		c.held = true
		l.held = append(l.held, c)
		return false
	}
	return true
}

// takeUp reads the clients again that had to wait. It returns false when there were none, or none got further.
func (l *Leader) takeUp() bool {
	if len(l.held) == 0 {
		return false
	}
	before, left := l.seq, l.held
	l.held = nil // rare enough to allocate
	for _, c := range left {
		c.held = false
		if !c.gone && !c.stuck {
			l.parse(c)
			l.read(c)
		}
	}
	return l.seq != before || l.open.frames > 0
}

// due lets n more bytes of c's answers go.
func (l *Leader) due(c *client, n int) {
	if c.gone {
		return
	}
	c.out.due += n
	if !c.listed {
		c.listed = true
		l.answers = append(l.answers, c)
	}
}

// answer sends what is due.
func (l *Leader) answer() {
	for i, c := range l.answers {
		c.listed = false
		if !c.gone && !c.stuck {
			l.flush(c)
		}
		l.answers[i] = nil
	}
	l.answers = l.answers[:0]
}

// flush sends c's answers as far as the socket takes them. What does not fit goes when there is an edge, and c is not read
// until then: a client that does not read its answers gets no further.
func (l *Leader) flush(c *client) {
	all, errno := c.out.flush(c.fd)
	if errno != 0 {
		l.drop(c)
		return
	}
	c.stuck = !all
}

// giveUp drops c because its requests can have no majority.
func (l *Leader) giveUp(c *client) {
	if !c.gone {
		l.stats.Lost++
		l.drop(c)
	}
}

// drop closes c and forgets it. Its requests that are in a batch are still made durable: they were received.
func (l *Leader) drop(c *client) {
	if !c.gone {
		c.gone = true
		l.clients[c.fd] = nil
		unix.Close(c.fd)
	}
}
