package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"

	"ackline/tools/netlab/line"
	"ackline/tools/netlab/wire"
)

// Network is the namespaces of a whole network and the router between them. Hosts are numbered from 0; host T is 10.66.0.T+1.
type Network struct {
	spaces  []*space
	wires   [][]*wire.Wire[packet] // by from and to; nil on the diagonal
	joined  [][]bool               // by from and to, both ways
	readers sync.WaitGroup
	once    sync.Once
	err     error // of Close

	mu      sync.Mutex // guards what is below
	quality [][]line.Quality
	cut     [][]bool
}

// packet is one of IP's, in a buffer that goes back to the pool when it has arrived.
type packet struct {
	buf *[mtu]byte
	n   int
}

// nearNS is how far neighbours are at most, one way, that are joined directly. A pair of interfaces has no delay to speak of, so that
// a round trip is at most 0.2 ms too short, which is what the calibration allows.
const nearNS = 100_000

// isNear reports whether a pair of interfaces is what q describes.
func isNear(q line.Quality) bool {
	return q.DelayNS <= nearNS && q.JitterNS == 0 && q.Loss == 0 && q.BytesPerSecond == 0
}

var buffers = sync.Pool{New: func() any { return new([mtu]byte) }}

// Permitted says why a network of namespaces cannot be made here, with this congestion control, or nil. It tries.
func Permitted(congestion string) error {
	s, err := newSpace(address(0), congestion)
	if err != nil {
		return err
	}
	return s.close()
}

func address(host int) [4]byte { return [4]byte{10, 66, 0, byte(host + 1)} }

// New makes a network of so many hosts, at most 254, whose TCP has the congestion control. quality says what lies between two of them, seed
// decides about jitter and loss.
func New(hosts int, congestion string, quality func(from, to int) line.Quality, seed uint64) (*Network, error) {
	nw := &Network{}
	for i := range hosts {
		s, err := newSpace(address(i), congestion)
		if err != nil {
			return nil, errors.Join(err, nw.Close())
		}
		nw.spaces = append(nw.spaces, s)
	}
	for from := range hosts {
		nw.wires = append(nw.wires, make([]*wire.Wire[packet], hosts))
		nw.quality = append(nw.quality, make([]line.Quality, hosts))
		nw.cut = append(nw.cut, make([]bool, hosts))
		nw.joined = append(nw.joined, make([]bool, hosts))
		for to := range hosts {
			if from == to {
				continue
			}
			q := queued(quality(from, to))
			w, err := wire.New(q, seed+uint64(from)<<32+uint64(to), nw.deliver(to))
			if err != nil {
				return nil, errors.Join(err, nw.Close())
			}
			nw.wires[from][to], nw.quality[from][to] = w, q
		}
	}
	for i := range hosts {
		nw.readers.Go(func() { nw.read(i) })
	}
	if err := nw.join(); err != nil {
		return nil, errors.Join(fmt.Errorf("netlab: neighbours: %w", err), nw.Close())
	}
	return nw, nil
}

// join connects hosts directly that are near each other.
func (nw *Network) join() error {
	for a, row := range nw.quality {
		for b := range row[:a] {
			if !isNear(row[b]) || !isNear(nw.quality[b][a]) {
				continue
			}
			if err := join(nw.spaces[a], nw.spaces[b]); err != nil {
				return err
			}
			nw.joined[a][b], nw.joined[b][a] = true, true
			if err := errors.Join(nw.apply(a, b), nw.apply(b, a)); err != nil {
				return err
			}
		}
	}
	return nil
}

// queued bounds what waits for a link that has a rate: a router without a bound would make delays of what should be losses.
func queued(q line.Quality) line.Quality {
	if q.BytesPerSecond > 0 {
		q.QueueBytes = wire.Room(q)
	}
	q.RetransmitNS = 0
	return q
}

// deliver returns what writes packets to a host.
func (nw *Network) deliver(to int) func(packet) {
	tun := nw.spaces[to].tun
	return func(p packet) {
		_, _ = tun.Write(p.buf[:p.n]) // an interface that does not take it has lost it, as interfaces may
		buffers.Put(p.buf)
	}
}

// read puts what a host sends onto the wires, until the device is closed.
func (nw *Network) read(from int) {
	tun := nw.spaces[from].tun
	for {
		buf := buffers.Get().(*[mtu]byte)
		n, err := tun.Read(buf[:])
		if err != nil {
			return
		}
		to := nw.destination(buf[:n])
		if to < 0 || to == from || !nw.wires[from][to].Send(n, packet{buf, n}) {
			buffers.Put(buf)
		}
	}
}

// destination is the host that a packet is for, or -1: it is of another version of IP, or for nobody.
func (nw *Network) destination(p []byte) int {
	const headerBytes, dstAt = 20, 16
	if len(p) < headerBytes || p[0]>>4 != 4 {
		return -1
	}
	first := address(0)
	host := int64(binary.BigEndian.Uint32(p[dstAt:])) - int64(binary.BigEndian.Uint32(first[:]))
	if host < 0 || host >= int64(len(nw.spaces)) {
		return -1
	}
	return int(host)
}

// Host is a host's address.
func (nw *Network) Host(i int) string {
	a := address(i)
	return net.IP(a[:]).String()
}

// Addr is where every host finds a port of host to, as HOST:PORT.
func (nw *Network) Addr(_, to, port int) (string, error) {
	return net.JoinHostPort(nw.Host(to), strconv.Itoa(port)), nil
}

// Enter runs f on a thread in the host: sockets that it makes and processes that it starts belong there. Goroutines that f starts do not.
func (nw *Network) Enter(host int, f func() error) error {
	if err := nw.spaces[host].enter(f); err != nil {
		return fmt.Errorf("in host %s: %w", nw.Host(host), err)
	}
	return nil
}

// Set changes what lies between two hosts, in that direction, for what is sent from now on.
func (nw *Network) Set(from, to int, q line.Quality) error {
	nw.mu.Lock()
	defer nw.mu.Unlock()
	nw.quality[from][to] = queued(q)
	return nw.apply(from, to)
}

// Cut loses what goes from one host to another from now on, or lets it go on.
func (nw *Network) Cut(from, to int, cut bool) error {
	nw.mu.Lock()
	defer nw.mu.Unlock()
	nw.cut[from][to] = cut
	return nw.apply(from, to)
}

// apply needs mu.
func (nw *Network) apply(from, to int) error {
	q := nw.quality[from][to]
	if nw.cut[from][to] {
		q.Loss = 1
	}
	nw.wires[from][to].Set(q)
	if !nw.joined[from][to] {
		return nil
	}
	if err := nw.spaces[from].prefer(nw.spaces[to].addr, isNear(q)); err != nil {
		return fmt.Errorf("netlab: from %s to %s: %w", nw.Host(from), nw.Host(to), err)
	}
	return nil
}

// Close removes the network. Programs inside keep their namespace, without a way out of it, until they end.
func (nw *Network) Close() error {
	nw.once.Do(func() {
		var errs []error
		for _, s := range nw.spaces {
			errs = append(errs, s.close())
		}
		nw.readers.Wait()
		for _, row := range nw.wires {
			for _, w := range row {
				if w != nil {
					w.Close()
				}
			}
		}
		nw.err = errors.Join(errs...)
	})
	return nw.err
}
