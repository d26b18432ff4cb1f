package relay

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"

	"ackline/tools/netlab/line"
	"ackline/tools/netlab/wire"
)

// Network is the relays of a whole network, on loopback addresses. Hosts are numbered from 0.
//
//	127.N.T.T   where host T listens
//	127.N.F.T   where host F finds host T, on the same port
//
// N is a number that no other network on this machine has.
type Network struct {
	hosts int
	claim net.Listener // holds N
	n     int
	wires [][]*Wire // by from and to; nil on the diagonal

	mu       sync.Mutex // guards what is below
	forwards map[string]*Forward
	closed   bool
}

// claimPort is bound on 127.N.255.254 by who has N; the kernel lets go of it when the process ends, however it ends.
const claimPort = 46871

// New makes a network of so many hosts. quality says what lies between two of them, seed decides about jitter and loss.
func New(hosts int, quality func(from, to int) line.Quality, seed uint64) (*Network, error) {
	nw := &Network{hosts: hosts, forwards: map[string]*Forward{}}
	for n := 16; n < 255 && nw.claim == nil; n++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.%d.255.254:%d", n, claimPort))
		if err == nil {
			nw.claim, nw.n = l, n
		} else if n == 254 {
			return nil, fmt.Errorf("netlab: no free part of 127.0.0.0/8: %w", err)
		}
	}
	for from := range hosts {
		nw.wires = append(nw.wires, make([]*Wire, hosts))
		for to := range hosts {
			if from == to {
				continue
			}
			w, err := wire.New(quality(from, to), seed+uint64(from)<<32+uint64(to), func(c chunk) { c.to.deliver(c) })
			if err != nil {
				return nil, errors.Join(err, nw.Close())
			}
			nw.wires[from][to] = w
		}
	}
	return nw, nil
}

// Host is the address that a host listens on, and that others see it connect from.
func (nw *Network) Host(i int) string { return nw.at(i, i) }

func (nw *Network) at(from, to int) string { return fmt.Sprintf("127.%d.%d.%d", nw.n, from+1, to+1) }

// Addr is where host from finds a port of host to, as HOST:PORT.
func (nw *Network) Addr(from, to, port int) (string, error) {
	p := strconv.Itoa(port)
	addr := net.JoinHostPort(nw.at(from, to), p)
	if from == to {
		return addr, nil
	}
	nw.mu.Lock()
	defer nw.mu.Unlock()
	if nw.closed {
		return "", net.ErrClosed
	}
	if nw.forwards[addr] == nil {
		f, err := Listen(addr, nw.Host(from), net.JoinHostPort(nw.Host(to), p), nw.wires[from][to], nw.wires[to][from])
		if err != nil {
			return "", err
		}
		nw.forwards[addr] = f
	}
	return addr, nil
}

// Set changes what lies between two hosts, in that direction, for what is sent from now on.
func (nw *Network) Set(from, to int, q line.Quality) error {
	nw.wires[from][to].Set(q)
	return nil
}

// Cut stops what goes from one host to another, or lets it go on.
func (nw *Network) Cut(from, to int, cut bool) error {
	if cut {
		nw.wires[from][to].Hold()
	} else {
		nw.wires[from][to].Release()
	}
	return nil
}

// Close ends every connection. A second time it does nothing.
func (nw *Network) Close() error {
	nw.mu.Lock()
	was, forwards := nw.closed, nw.forwards
	nw.closed, nw.forwards = true, nil
	nw.mu.Unlock()
	if was {
		return nil
	}
	for _, row := range nw.wires {
		for _, w := range row {
			if w != nil {
				w.Close()
			}
		}
	}
	var errs []error
	for _, f := range forwards {
		errs = append(errs, f.Close())
	}
	return errors.Join(append(errs, nw.claim.Close())...)
}
