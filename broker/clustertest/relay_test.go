package clustertest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// network carries what nodes say to one another, each way between two of them by a relay of its own, and can be cut.
//
// What is sent into a cut disappears; the sender sees an open connection, as it would with a network that lost its
// packets. TCP would send them again after the repair; the relay cannot, so a connection that lost bytes is closed then.
type network struct {
	t *testing.T

	mu    sync.Mutex // guards what follows
	cut   map[way]bool
	pipes map[*pipe]bool
}

// way is a direction between two nodes.
type way struct{ from, to int }

// pipe is one relayed connection.
type pipe struct {
	dialer, acceptor net.Conn
	lost             bool // guarded by network.mu
}

func newNetwork(t *testing.T) *network {
	return &network{t: t, cut: map[way]bool{}, pipes: map[*pipe]bool{}}
}

// connect returns the address at which one node reaches another, which listens at addr.
func (w *network) connect(d way, addr string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	var relays sync.WaitGroup
	relays.Add(1)
	go func() {
		defer relays.Done()
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			relays.Add(1)
			go func() {
				defer relays.Done()
				w.relay(c, d, addr)
			}()
		}
	}()
	w.t.Cleanup(func() {
		ln.Close()
		w.mu.Lock()
		for p := range w.pipes {
			p.close()
		}
		w.mu.Unlock()
		relays.Wait()
	})
	return ln.Addr().String()
}

func (p *pipe) close() { p.dialer.Close(); p.acceptor.Close() }

func (w *network) relay(dialer net.Conn, d way, addr string) {
	acceptor, err := net.Dial("tcp", addr)
	if err != nil {
		dialer.Close() // a dead process: the relay has accepted for it and hangs up
		return
	}
	p := &pipe{dialer: dialer, acceptor: acceptor}
	w.mu.Lock()
	w.pipes[p] = true
	w.mu.Unlock()
	var both sync.WaitGroup
	both.Add(2)
	go func() { defer both.Done(); w.copy(p, acceptor, dialer, d) }()
	go func() { defer both.Done(); w.copy(p, dialer, acceptor, way{d.to, d.from}) }()
	both.Wait()
	w.mu.Lock()
	delete(w.pipes, p)
	w.mu.Unlock()
}

// copy carries one direction until either end hangs up.
func (w *network) copy(p *pipe, to io.Writer, from io.Reader, d way) {
	defer p.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		lost := w.cut[d]
		p.lost = p.lost || lost
		w.mu.Unlock()
		if lost {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// lose has everything disappear that is sent these ways.
func (w *network) lose(ways ...way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range ways {
		w.cut[d] = true
	}
}

// heal repairs everything.
func (w *network) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.cut)
	for p := range w.pipes {
		if p.lost {
			p.close()
		}
	}
}

// between are the ways from each of some nodes to each of others, and back.
func between(some, others []int) (list []way) {
	for _, a := range some {
		for _, b := range others {
			list = append(list, way{a, b}, way{b, a})
		}
	}
	return list
}
