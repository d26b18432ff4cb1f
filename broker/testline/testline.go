// Package testline is lines between loopback addresses that take as long as a test says, for tests of what distance does.
package testline

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ackline/broker/testaddr"
)

// Line forwards connections made to Addr. What is sent arrives Delay later, in either direction, and so does a connection's end.
// There is no loss and no limit of bandwidth.
type Line struct {
	Addr  string
	Delay atomic.Int64 // nanoseconds, one way; may be changed while there are connections: what is under way keeps its time

	to    string
	mu    sync.Mutex // guards the rest
	ended bool
	open  map[net.Conn]bool
	run   sync.WaitGroup
}

// New makes a line to an address, until the test ends.
func New(t testing.TB, to string, delay time.Duration) *Line {
	t.Helper()
	ln, err := net.Listen("tcp", testaddr.Next(t))
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{Addr: ln.Addr().String(), to: to, open: map[net.Conn]bool{}}
	l.Delay.Store(int64(delay))
	l.run.Go(func() { l.accept(ln) })
	t.Cleanup(func() {
		ln.Close()
		l.mu.Lock()
		l.ended = true
		for c := range l.open {
			c.Close()
		}
		l.mu.Unlock()
		l.run.Wait()
	})
	return l
}

func (l *Line) accept(ln net.Listener) {
	for {
		in, err := ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", l.to)
		if err != nil || !l.keep(in, out) {
			in.Close()
			continue
		}
		l.run.Go(func() { l.carry(in, out) })
		l.run.Go(func() { l.carry(out, in) })
	}
}

// keep notes both ends of a connection, which it is false for, and closes out, when the line has ended.
func (l *Line) keep(in, out net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		out.Close()
		return false
	}
	l.open[in], l.open[out] = true, true
	return true
}

type parcel struct {
	data []byte // nil: the connection has ended
	due  time.Time
}

// carry forwards one direction.
func (l *Line) carry(from, to net.Conn) {
	way := make(chan parcel, 1<<14)
	l.run.Go(func() {
		for p := range way {
			<-time.After(time.Until(p.due))
			if p.data == nil {
				to.Close()
			} else {
				to.Write(p.data) // an error shows when it is read
			}
		}
	})
	defer close(way)
	for {
		b := make([]byte, 32<<10)
		n, err := from.Read(b)
		due := time.Now().Add(time.Duration(l.Delay.Load()))
		if n > 0 {
			way <- parcel{b[:n], due}
		}
		if err != nil {
			way <- parcel{nil, due}
			from.Close()
			l.mu.Lock()
			delete(l.open, from)
			l.mu.Unlock()
			return
		}
	}
}
