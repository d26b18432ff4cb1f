package target

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"ackline/tools/bench/proc"
)

// Brokers are the nodes of one cluster, or a single one. Node i has the id i+1. Used by one goroutine.
type Brokers struct {
	Nodes    []*Broker // nil: that one was not started again
	programs Programs
	configs  []BrokerConfig
	starts   []int
}

// StartBrokers starts as many nodes as are asked for, all at once, and waits until each serves. c is what they have in common:
// each of several gets a directory, a file and a log of its own, beside those of the others.
func (p Programs) StartBrokers(ctx context.Context, c BrokerConfig, nodes int) (*Brokers, error) {
	b := &Brokers{programs: p, Nodes: make([]*Broker, nodes), starts: make([]int, nodes)}
	if nodes == 1 {
		b.configs = []BrokerConfig{c}
	} else if err := b.plan(c, nodes); err != nil {
		return nil, err
	}
	return b, b.startAll(ctx)
}

// StartNodes starts the nodes of a cluster whose addresses are known, and waits until each serves.
func (p Programs) StartNodes(ctx context.Context, nodes []BrokerConfig) (*Brokers, error) {
	b := &Brokers{programs: p, Nodes: make([]*Broker, len(nodes)), starts: make([]int, len(nodes)), configs: nodes}
	return b, b.startAll(ctx)
}

// startAll starts every node; after an error none runs.
func (b *Brokers) startAll(ctx context.Context) error {
	if err := b.each(func(i int) error { return b.Start(ctx, i) }); err != nil {
		b.Kill()
		return err
	}
	if len(b.Nodes) == 1 {
		return nil
	}
	if err := b.each(func(i int) error { return b.Nodes[i].AwaitReady(ctx) }); err != nil {
		b.Kill()
		return err
	}
	return nil
}

// plan gives each node its addresses. They have to be known before anything is started, and to be there again after a restart.
func (b *Brokers) plan(c BrokerConfig, nodes int) error {
	host, _, err := net.SplitHostPort(c.ListenAddr)
	if err != nil {
		return fmt.Errorf("broker: address %q: %w", c.ListenAddr, err)
	}
	const each = 3
	addrs, err := free(host, each*nodes)
	if err != nil {
		return err
	}
	for i := range nodes {
		n, own := c, addrs[each*i:]
		n.NodeID, n.ListenAddr, n.HTTPAddr, n.RaftAddr = i+1, own[0], own[1], own[2]
		n.DataDir, n.File, n.Log = filepath.Join(c.DataDir, strconv.Itoa(i+1)), numbered(c.File, i+1), numbered(c.Log, i+1)
		for j := range nodes {
			if j == i {
				continue
			}
			peer, err := across(c.Links, i, j, addrs[each*j+2])
			if err != nil {
				return err
			}
			n.Peers = append(n.Peers, fmt.Sprintf("%d@%s", j+1, peer))
		}
		if n.RaftAddr, err = across(c.Links, i, i, n.RaftAddr); err != nil {
			return err
		}
		b.configs = append(b.configs, n)
	}
	return nil
}

// across is where node from finds an address of node to, over the links if there are any.
func across(links Links, from, to int, addr string) (string, error) {
	_, text, err := net.SplitHostPort(addr)
	if err != nil || links == nil {
		return addr, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return "", fmt.Errorf("broker: address %q: %w", addr, err)
	}
	if from == to {
		return net.JoinHostPort(links.Host(to), text), nil
	}
	return links.Addr(from, to, port)
}

// numbered puts a number before a name's extension.
func numbered(name string, n int) string {
	ext := filepath.Ext(name)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, ext), n, ext)
}

// Ports are taken from below those that the kernel gives to connections: there one of a node that is down could become somebody's
// own end, and the node would not come back.
const (
	lowestPort, highestPort = 12_000, 32_000
	portTries               = 1000
)

// free finds addresses that nobody listens on.
func free(host string, n int) ([]string, error) {
	var addrs []string
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for range portTries {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(lowestPort+rand.IntN(highestPort-lowestPort))))
		if err != nil {
			continue
		}
		held, addrs = append(held, l), append(addrs, l.Addr().String())
		if len(addrs) == n {
			return addrs, nil
		}
	}
	return nil, fmt.Errorf("of %d ports of %s that were tried at random only %d are free, want %d", portTries, host, len(addrs), n)
}

// each runs f for every node at once.
func (b *Brokers) each(f func(i int) error) error {
	errs := make([]error, len(b.Nodes))
	var wg sync.WaitGroup
	for i := range b.Nodes {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil && len(errs) > 1 {
			errs[i] = fmt.Errorf("node %d: %w", i+1, err)
		}
	}
	return errors.Join(errs...)
}

// Start starts a node that is not running, on the directory that it had before. It returns when the node listens, which is before
// it has found the others.
func (b *Brokers) Start(ctx context.Context, i int) error {
	c := b.configs[i]
	if b.starts[i]++; b.starts[i] > 1 {
		c.Log = numbered(c.Log, b.starts[i])
	}
	n, err := b.programs.StartBroker(ctx, c)
	b.Nodes[i] = n
	return err
}

// readyPoll is how often a node is asked whether it is ready.
const readyPoll = 5 * time.Millisecond

// AwaitReady waits until the node does all that clients ask of it.
func (b *Broker) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	for {
		_, err := b.http(ctx, http.MethodGet, "/readyz", nil)
		if err == nil {
			return nil
		}
		select {
		case <-b.Ended():
			return b.Err()
		case <-ctx.Done():
			return fmt.Errorf("%w, last: %w", context.Cause(ctx), err)
		case <-time.After(readyPoll):
		}
	}
}

// Addrs are where clients connect.
func (b *Brokers) Addrs() []string {
	var out []string
	for i, n := range b.Nodes {
		switch {
		case n != nil:
			out = append(out, n.Addr)
		case len(b.Nodes) > 1:
			out = append(out, b.configs[i].ListenAddr)
		}
	}
	return out
}

// PIDs are the process ids, that of node first in front; none of brokers that are elsewhere.
func (b *Brokers) PIDs(first int) []int {
	all := []*proc.Process{b.Nodes[first].Process}
	for i, n := range b.Nodes {
		if i != first {
			all = append(all, n.Process)
		}
	}
	return pids(all...)
}

// Checkpoint makes every node write what it owes the disk.
func (b *Brokers) Checkpoint(ctx context.Context) error {
	return b.each(func(i int) error { return b.Nodes[i].Checkpoint(ctx) })
}

// Metrics reads every node's.
func (b *Brokers) Metrics(ctx context.Context) ([]Metrics, error) {
	out := make([]Metrics, len(b.Nodes))
	err := b.each(func(i int) (err error) {
		out[i], err = b.Nodes[i].Metrics(ctx)
		return err
	})
	return out, err
}

// Err says which nodes have ended by themselves, nil when all run.
func (b *Brokers) Err() error {
	var errs []error
	for _, n := range b.Nodes {
		if n != nil {
			errs = append(errs, n.Err())
		}
	}
	return errors.Join(errs...)
}

// Stop asks all nodes to end.
func (b *Brokers) Stop(timeout time.Duration) error {
	return b.each(func(i int) error { return b.Nodes[i].process().Stop(timeout) })
}

// Kill is kill -9 of all nodes.
func (b *Brokers) Kill() {
	for _, n := range b.Nodes {
		n.process().Kill()
	}
}

// process is nil for a node that was not started, which Stop and Kill take.
func (b *Broker) process() *proc.Process {
	if b == nil {
		return nil
	}
	return b.Process
}
