package across

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strconv"

	"ackline/loadgen/client/sock"
	"ackline/profiles/region"
	"ackline/tools/bench/target"
	"ackline/tools/netlab/lab"
)

// Network is an emulated network with brokers on its hosts. Programs on it say where they listen, as on any network; the ways below find
// that from elsewhere.
type Network struct {
	Lab *lab.Lab
	T   *region.Topology

	http *http.Client // to brokers, over no distance
}

func openNetwork(t *region.Topology, mode lab.Mode, seed uint64) (*Network, error) {
	l, err := lab.New(t, mode, seed)
	if err != nil {
		return nil, err
	}
	n := &Network{Lab: l, T: t}
	n.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return n.Near().Conn(ctx, addr)
	}}}
	return n, nil
}

func (n *Network) close() error {
	n.http.CloseIdleConnections()
	return n.Lab.Close()
}

// owner is the host that listens on an address.
func (n *Network) owner(addr string) (host string, port int, err error) {
	ip, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	if port, err = strconv.Atoi(p); err != nil {
		return "", 0, fmt.Errorf("address %q: %w", addr, err)
	}
	for _, name := range n.T.HostNames() {
		if at, err := n.Lab.Host(name); err != nil || at == ip {
			return name, port, err
		}
	}
	return "", 0, fmt.Errorf("address %q: no host of %s has it", addr, n.T.Name)
}

// From is the way of a client on a host. It crosses the distance.
func (n *Network) From(host string) sock.Way {
	return n.way(func(string) string { return host })
}

// Near is the way of somebody who is on whatever host is asked: what is not measured need not wait.
func (n *Network) Near() sock.Way {
	return n.way(func(to string) string { return to })
}

func (n *Network) way(stand func(to string) string) sock.Way {
	return func(addr string, connect func(at string) error) error {
		to, port, err := n.owner(addr)
		if err != nil {
			return err
		}
		host := stand(to)
		at, err := n.Lab.Addr(host, to, port)
		if err != nil {
			return err
		}
		return n.Lab.Enter(host, func() error { return connect(at) })
	}
}

// Ports are taken from below those that the kernel gives to connections, and tried: with relays they are this machine's.
const lowestPort, highestPort, portTries = 12_000, 32_000, 1000

// port finds one of a host that nobody listens on.
func (n *Network) port(host string) (int, error) {
	var last error
	for range portTries {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		l, err := n.Lab.Listen(host, port)
		if err == nil {
			return port, l.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("host %s: no port of %d that were tried is free: %w", host, portTries, last)
}

// startBrokers starts a broker on each host, which knows its region if racks. c is what they have in common.
func (n *Network) startBrokers(ctx context.Context, p target.Programs, racks bool, c target.BrokerConfig) (*target.Brokers, error) {
	hosts := n.T.HostNames()
	raft := map[string]int{}
	var nodes []target.BrokerConfig
	for i, host := range hosts {
		at, err := n.Lab.Host(host)
		if err != nil {
			return nil, err
		}
		own := c
		for _, addr := range []*string{&own.ListenAddr, &own.HTTPAddr, &own.RaftAddr} {
			port, err := n.port(host)
			if err != nil {
				return nil, err
			}
			raft[host] = port // of the last
			*addr = net.JoinHostPort(at, strconv.Itoa(port))
		}
		own.NodeID, own.HTTP, own.Enter = i+1, n.http, n.enter(host)
		own.DataDir, own.File, own.Log = filepath.Join(c.DataDir, host), c.File+"-"+host+".toml", c.Log+"-"+host+".log"
		if racks {
			own.Region, own.Zone = n.T.Hosts[i].Region, n.T.Hosts[i].Zone
		}
		nodes = append(nodes, own)
	}
	for i, host := range hosts {
		for j, peer := range hosts {
			if i == j {
				continue
			}
			at, err := n.Lab.Addr(host, peer, raft[peer])
			if err != nil {
				return nil, err
			}
			nodes[i].Peers = append(nodes[i].Peers, fmt.Sprintf("%d@%s", j+1, at))
		}
	}
	return p.StartNodes(ctx, nodes)
}

// Place is what the brokers call the place of a host: of its zone and its region the name that fewer hosts answer to.
func (n *Network) Place(host int) string {
	answer := func(name string) (count int) {
		for _, h := range n.T.Hosts {
			if h.Region == name || h.Zone == name {
				count++
			}
		}
		return count
	}
	h := n.T.Hosts[host]
	if h.Zone != "" && answer(h.Zone) < answer(h.Region) {
		return h.Zone
	}
	return h.Region
}

func (n *Network) enter(host string) func(func() error) error {
	return func(start func() error) error { return n.Lab.Enter(host, start) }
}

// Seats are the hosts, for the nodes of a floor.
func (n *Network) Seats() (out []target.Seat, err error) {
	for _, host := range n.T.HostNames() {
		at, hostErr := n.Lab.Host(host)
		err = errors.Join(err, hostErr)
		out = append(out, target.Seat{Host: at, Enter: n.enter(host), Finds: func(follower string) (string, error) {
			to, port, err := n.owner(follower)
			if err != nil {
				return "", err
			}
			return n.Lab.Addr(host, to, port)
		}})
	}
	return out, err
}

// Called names a host for people.
func (n *Network) Called(host int) string {
	h := n.T.Hosts[host]
	where := h.Region
	if h.Zone != "" {
		where += "/" + h.Zone
	}
	return fmt.Sprintf("%s (%s)", h.Name, where)
}
