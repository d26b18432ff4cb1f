package quorum

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"ackline/tools/floor/link"
	"ackline/tools/floor/sock"
)

// peer is the leader's connection to one follower. All of it is guarded by the leader's lock.
type peer struct {
	bit    uint32 // in a batch's sets
	addr   string
	fd     int // -1 while it is lost
	in     inbox
	flight fifo[*batch] // given to this connection and not acknowledged by it, in order
	sent   int          // of flight, how many were written to the socket
	part   int          // bytes of the next one that were
	size   int          // bytes in flight
	acked  uint64       // sequence
}

// join puts a new connection to work. It counts for the batches that it is given from here on, for none before.
func (l *Leader) join(k *peer, fd int) error {
	for len(l.peerOf) <= fd {
		l.peerOf = append(l.peerOf, nil)
	}
	k.fd, k.sent, k.part, k.size, k.acked = fd, 0, 0, 0, l.seq
	k.in = inbox{buf: make([]byte, 256*link.AckBytes)}
	l.peerOf[fd] = k
	if err := l.poll.Watch(unix.EPOLL_CTL_ADD, fd, edges); err != nil {
		unix.Close(fd)
		l.peerOf[fd], k.fd = nil, -1
		return err
	}
	return nil
}

func (l *Leader) peerReady(k *peer, events uint32) {
	hangup := events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	for more := true; more; {
		switch k.in.fill(k.fd) {
		case gotAll:
		case gotShort:
			more = hangup
		case gotNothing:
			more = false
		case gotEnd:
			l.lose(k, io.EOF)
			return
		}
		if err := l.acknowledge(k); err != nil {
			l.lose(k, err)
			return
		}
	}
	l.send(k)
}

// acknowledge counts k for everything up to the last whole acknowledgement in its box.
func (l *Leader) acknowledge(k *peer) error {
	b := k.in.bytes()
	whole := len(b) / link.AckBytes * link.AckBytes
	if whole == 0 {
		return nil
	}
	seq, _ := link.ParseAck(b[whole-link.AckBytes:])
	k.in.take(whole)
	k.in.room(link.AckBytes)
	last, n := k.acked, 0
	for ; n < k.sent && (*k.flight.at(n)).seq <= seq; n++ {
		last = (*k.flight.at(n)).seq
	}
	if last != seq {
		return fmt.Errorf("acknowledged sequence %d, of which it was not sent the end; the last that it could is %d", seq, last)
	}
	for range n {
		b := k.flight.pop()
		k.sent--
		k.size -= b.fill
		b.hopes &^= k.bit
		b.durable |= k.bit
		l.unref(b)
	}
	k.acked = seq
	return nil
}

// send writes what is in flight as far as the socket takes it; the rest goes when there is an edge.
func (l *Leader) send(k *peer) {
	for k.fd >= 0 && k.sent < k.flight.len() {
		b := *k.flight.at(k.sent)
		n, errno := sock.Write(k.fd, b.buf[k.part:b.fill])
		switch errno {
		case 0:
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return
		default:
			l.lose(k, errno)
			return
		}
		if k.part += n; k.part == b.fill {
			k.sent, k.part = k.sent+1, 0
		}
	}
}

// lose closes k's connection. What it had acknowledged stays counted: it was durable then. What it had not, it may have
// or not.
func (l *Leader) lose(k *peer, why error) {
	l.peerOf[k.fd] = nil
	unix.Close(k.fd)
	k.fd = -1
	for k.flight.len() > 0 {
		b := k.flight.pop()
		b.hopes &^= k.bit
		l.unref(b)
	}
	log := orDiscard(l.cfg.Log)
	if alive := l.alive(); alive >= l.majority {
		log.Warn("follower lost", "follower", k.addr, "why", why, "copies", alive, "majority", l.majority)
	} else {
		log.Error("follower lost and with it the majority: clients that ask are disconnected", "follower", k.addr, "why", why,
			"copies", alive, "majority", l.majority)
	}
	l.redial(k)
}
