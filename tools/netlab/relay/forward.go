package relay

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// Forward is an address at which one host finds a port of another.
type Forward struct {
	listener    *net.TCPListener
	there, back *Wire
	source      *net.TCPAddr // of what the target sees: the host that connects
	target      string
	done        chan struct{}

	mu     sync.Mutex // guards what is below; taken after a half's
	open   map[*half]struct{}
	closed bool
}

// Listen forwards what connects to listen (address and port) over the wires to target. source is the address, without a port, that the
// target sees.
func Listen(listen, source, target string, there, back *Wire) (*Forward, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("netlab: relay to %s: %w", target, err)
	}
	f := &Forward{listener: l.(*net.TCPListener), there: there, back: back, source: &net.TCPAddr{IP: net.ParseIP(source)}, target: target,
		done: make(chan struct{}), open: map[*half]struct{}{}}
	go f.accept()
	return f, nil
}

// Addr is where it listens.
func (f *Forward) Addr() string { return f.listener.Addr().String() }

func (f *Forward) accept() {
	defer close(f.done)
	for {
		conn, err := f.listener.AcceptTCP()
		if err != nil {
			return // closed, or out of descriptors, which a dialer sees as a time-out
		}
		p := newPair(f, conn)
		f.mu.Lock()
		if f.closed {
			f.mu.Unlock()
			_ = conn.Close()
			return
		}
		f.open[&p.dialer], f.open[&p.target] = struct{}{}, struct{}{}
		f.mu.Unlock()
		p.dialer.send(open, nil)
	}
}

// dialTimeout is how long a target on this machine may take to accept.
const dialTimeout = 10 * time.Second

func (f *Forward) dial() (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: f.source, Timeout: dialTimeout}
	conn, err := d.Dial("tcp", f.target)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

func (f *Forward) forget(h *half) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, h)
}

// Connections is how many ends of connections are open.
func (f *Forward) Connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.open)
}

// Close stops listening and ends every connection.
func (f *Forward) Close() error {
	f.mu.Lock()
	f.closed = true
	var open []*half
	for h := range f.open {
		open = append(open, h)
	}
	f.mu.Unlock()
	err := f.listener.Close()
	for _, h := range open {
		h.abort()
	}
	<-f.done
	return err
}
