// Package lab is a whole network on one machine: hosts with addresses, the distances of a topology between them, and faults that can be
// made and healed while programs run.
//
// Two ways to make it give the same lab. With network namespaces (netns) every program has a host of its own and TCP itself crosses the
// distance, but that needs privileges. Relays need none: a program must be told, for each peer, the address at which *it* finds that
// peer. Programs that are started through the lab do both:
//
//	l, err := lab.New(topology, lab.Auto, seed)
//	listen, err := l.Host("n1")                 // the address to listen on
//	peer, err := l.Addr("n1", "n2", 5002)       // where n1 finds port 5002 of n2
//	err = l.Start("n1", exec.Command("broker", …))
//
// With relays, an address that a program tells others of itself, as Kafka's brokers tell clients, leads to it directly and not across the
// distance. Peers that are named to a broker at its start are across it.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"ackline/profiles/region"
	"ackline/profiles/strict"
	"ackline/tools/netlab/line"
	"ackline/tools/netlab/netns"
	"ackline/tools/netlab/relay"
)

// Mode is how a network is emulated.
type Mode string

// The modes. Auto takes namespaces where they are permitted, else relays.
const (
	Auto  Mode = "auto"
	Netns Mode = "netns"
	Relay Mode = "relay"
)

// network is one of the ways.
type network interface {
	Host(i int) string
	Addr(from, to, port int) (string, error)
	Set(from, to int, q line.Quality) error
	Cut(from, to int, cut bool) error
	Close() error
}

// Lab is a running network. Safe for concurrent use.
type Lab struct {
	topology *region.Topology
	mode     Mode
	without  error // why auto came to relays
	network  network
	inside   *netns.Network // network, in that mode

	mu     sync.Mutex // guards what is below, and that faults reach the network in order
	faults [][]fault  // by from and to
	closed bool
}

// New starts the network of a valid topology. The seed decides about jitter and loss.
func New(t *region.Topology, mode Mode, seed uint64) (*Lab, error) {
	n := len(t.Hosts)
	l := &Lab{topology: t, mode: mode}
	for range n {
		l.faults = append(l.faults, make([]fault, n))
	}
	if mode == Auto {
		l.mode = Netns
		if l.without = netns.Permitted(t.Congestion()); l.without != nil {
			l.mode = Relay
		}
	}
	var err error
	switch l.mode {
	case Netns:
		l.inside, err = netns.New(n, t.Congestion(), l.quality, seed)
		l.network = l.inside
	case Relay:
		l.network, err = relay.New(n, l.quality, seed)
	default:
		err = fmt.Errorf("netlab: mode %q: want %s, %s or %s", mode, Auto, Netns, Relay)
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Topology is what the lab was made of.
func (l *Lab) Topology() *region.Topology { return l.topology }

// Mode is how the network is emulated: Netns or Relay.
func (l *Lab) Mode() Mode { return l.mode }

// Without says why Auto came to Relay, or nil.
func (l *Lab) Without() error { return l.without }

// Host is the address that programs on a host listen on, without a port.
func (l *Lab) Host(name string) (string, error) {
	i, err := l.index(name)
	if err != nil {
		return "", err
	}
	return l.network.Host(i), nil
}

// Addr is where programs on host from find a port of host to, as HOST:PORT.
func (l *Lab) Addr(from, to string, port int) (string, error) {
	a, b, err := l.indices(from, to)
	if err != nil {
		return "", err
	}
	if port < 1 || port > 65535 {
		return "", fmt.Errorf("netlab: port %d: want 1 to 65535", port)
	}
	return l.network.Addr(a, b, port)
}

// Enter runs f on a thread that is on the host: with namespaces, sockets that it makes and processes that it starts belong there, but not
// those of goroutines that it starts. With relays it just runs.
func (l *Lab) Enter(host string, f func() error) error {
	i, err := l.index(host)
	if err != nil {
		return err
	}
	if l.inside == nil {
		return f()
	}
	return l.inside.Enter(i, f)
}

// Start starts a command on a host.
func (l *Lab) Start(host string, cmd *exec.Cmd) error { return l.Enter(host, cmd.Start) }

// Listen listens on a port of a host, 0 = one that is free.
func (l *Lab) Listen(host string, port int) (listener net.Listener, err error) {
	err = l.Enter(host, func() error {
		addr, err := l.Host(host)
		if err == nil {
			listener, err = net.Listen("tcp4", net.JoinHostPort(addr, strconv.Itoa(port)))
		}
		return err
	})
	return listener, err
}

// Dial connects from a host to a port of another.
func (l *Lab) Dial(ctx context.Context, from, to string, port int) (conn net.Conn, err error) {
	addr, err := l.Addr(from, to, port)
	if err != nil {
		return nil, err
	}
	err = l.Enter(from, func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp4", addr)
		return err
	})
	return conn, err
}

// Close heals everything and removes the network. Connections through it end.
func (l *Lab) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return l.network.Close()
}

func (l *Lab) index(host string) (int, error) {
	i := l.topology.Index(host)
	if i < 0 {
		all := l.topology.HostNames()
		return 0, fmt.Errorf("netlab: host %q is not in %s: did you mean %q? (there are %s)", host, l.topology.Name, strict.Nearest(host, all),
			strings.Join(all, ", "))
	}
	return i, nil
}

func (l *Lab) indices(from, to string) (a, b int, err error) {
	a, errA := l.index(from)
	b, errB := l.index(to)
	return a, b, errors.Join(errA, errB)
}
