package transport

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/transport/detect"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/link"
)

// patience is what a hanging test exceeds.
const patience = time.Minute

var begin = time.Now()

func now() int64 { return int64(time.Since(begin)) + 1 }

// until waits for a condition that other goroutines bring about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// node is a transport, what it received and what it was told.
type node struct {
	*Transport
	t    testing.TB
	id   id.NodeID
	addr string

	quiet bool // messages are not kept

	mu               sync.Mutex // guards the rest
	got              []GroupMessage
	bursts           int
	leaders          map[id.GroupID]frame.Leader
	reads            []frame.Read
	beats, gotAtBeat int
	who              frame.Identity
	events           []string
	lost             map[link.Lost]int
	onMsgs           func(from id.NodeID, ms []GroupMessage)
	snapshot         func(from id.NodeID, m GroupMessage, r io.Reader) error
}

func (n *node) Messages(from id.NodeID, ms []GroupMessage) {
	n.mu.Lock()
	f := n.onMsgs
	if !n.quiet {
		n.got = append(n.got, ms...)
	}
	n.bursts++
	n.mu.Unlock()
	if f != nil {
		f(from, ms)
	}
}

func (n *node) Heartbeat(from id.NodeID, who frame.Identity, h *frame.Heartbeat, at int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at <= 0 || at > n.cfg.Now() {
		n.t.Errorf("a heartbeat of %d", at)
	}
	for _, l := range h.Leaders {
		n.leaders[l.Group] = l
	}
	n.reads = append(n.reads, h.Reads...)
	n.who = who
	n.beats++
	n.gotAtBeat = len(n.got)
}

func (n *node) Snapshot(from id.NodeID, m GroupMessage, r io.Reader) error {
	n.mu.Lock()
	f := n.snapshot
	n.mu.Unlock()
	return f(from, m, r)
}

func (n *node) tell(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, fmt.Sprintf(format, args...))
}

// told counts the events that contain text.
func (n *node) told(text string) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.events {
		if strings.Contains(e, text) {
			count++
		}
	}
	return count
}

// history is everything it was told.
func (n *node) history() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.events)
}

func (n *node) await(event string) {
	n.t.Helper()
	until(n.t, fmt.Sprintf("node %d to be told %q", n.id, event), func() bool { return n.told(event) > 0 })
}

func (n *node) received() []GroupMessage {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.got[:len(n.got):len(n.got)]
}

func (n *node) awaitMessages(count int) []GroupMessage {
	n.t.Helper()
	until(n.t, fmt.Sprintf("%d messages", count), func() bool { return len(n.received()) >= count })
	return n.received()
}

func (n *node) callbacks() Callbacks {
	return Callbacks{
		PeerUp:   func(p id.NodeID, who frame.Identity) { n.tell("up %d", p) },
		PeerDown: func(p id.NodeID, who frame.Identity, r detect.Reason) { n.tell("down %d %v", p, r) },
		NewIncarnation: func(p id.NodeID, old, now frame.Identity) {
			n.tell("new %d %d was %d", p, now.Incarnation, old.Incarnation)
		},
		LinkLost: func(p id.NodeID, c frame.Class) { n.tell("lost %d %v", p, c) },
		Unreachable: func(p id.NodeID, lost []link.Lost) {
			n.mu.Lock()
			defer n.mu.Unlock()
			for _, l := range lost {
				n.lost[l]++
			}
		},
		Refused: func(p id.NodeID, err error) { n.tell("refused %d %v", p, err) },
	}
}

// testConfig has times that a busy machine keeps: what a test waits for comes sooner, what it does not never.
func testConfig(n id.NodeID) Config {
	return Config{Node: n, Identity: frame.Identity{Incarnation: id.Incarnation(100 + n), Boot: boot.Add(1)}, Cluster: "test",
		HeartbeatInterval: 5 * time.Millisecond, DeadAfter: 20 * time.Second, RedialMin: 2 * time.Millisecond,
		RedialMax: 20 * time.Millisecond, Now: now}
}

var boot atomic.Uint64

// newNode makes a transport that listens, with changes to its configuration; it is not started.
func newNode(t testing.TB, cfg Config) *node {
	t.Helper()
	n := &node{t: t, id: cfg.Node, leaders: map[id.GroupID]frame.Leader{}, lost: map[link.Lost]int{}}
	tr, err := New(cfg, n, n.callbacks())
	if err != nil {
		t.Fatal(err)
	}
	n.Transport = tr
	t.Cleanup(tr.Close)
	return n
}

func (n *node) start(addr string) *node {
	n.t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.addr = ln.Addr().String()
	n.Start(ln)
	return n
}

const anywhere = "127.0.0.1:0"

// couple starts nodes 1 and 2 and waits until each knows the other to be alive.
func couple(t testing.TB, change func(*Config)) (a, b *node) {
	t.Helper()
	var nodes [2]*node
	for i := range nodes {
		cfg := testConfig(id.NodeID(i + 1))
		if change != nil {
			change(&cfg)
		}
		nodes[i] = newNode(t, cfg).start(anywhere)
	}
	acquaint(nodes[0], nodes[1])
	return nodes[0], nodes[1]
}

// acquaint makes nodes 1 and 2, which run, known to each other, and waits until each is connected with the other. Who dials one that does
// not know it yet is refused, and until the next dial a call fails at once.
func acquaint(a, b *node) {
	a.t.Helper()
	a.AddPeer(2, b.addr)
	b.AddPeer(1, a.addr)
	for _, n := range []*node{a, b} {
		n.await("up ")
		until(a.t, "all links", func() bool {
			for _, p := range *n.peers.Load() {
				if !p.calls.Connected() {
					return false
				}
			}
			for _, l := range n.Stats().Links {
				if !l.Connected {
					return false
				}
			}
			return true
		})
	}
}

func app(index int, data []byte) []pb.Message {
	return []pb.Message{{Type: pb.MsgApp, To: 12, From: 11, Index: uint64(index), Entries: []pb.Entry{{Index: uint64(index), Data: data}}}}
}

// noGoroutines checks that nothing of this package runs any more.
func noGoroutines(t testing.TB) {
	t.Helper()
	buf := make([]byte, 1<<20)
	until(t, "the end of all goroutines of the transport", func() bool {
		stacks := string(buf[:runtime.Stack(buf, true)])
		for _, s := range strings.Split(stacks, "\n\n") {
			if strings.Contains(s, "ackline/broker/transport") && !strings.Contains(s, "testing.tRunner") && !strings.Contains(s, "testing.(*T)") {
				return false
			}
		}
		return true
	})
}

// proxy forwards connections to an address until it is cut; then it holds what comes.
type proxy struct {
	ln   net.Listener
	held atomic.Bool
	open atomic.Int64 // directions that are being forwarded
	mu   sync.Mutex
	ncs  []net.Conn
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", anywhere)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln}
	t.Cleanup(func() { ln.Close(); p.closeAll() })
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.ncs = append(p.ncs, in, out)
			p.mu.Unlock()
			for _, d := range [][2]net.Conn{{in, out}, {out, in}} {
				p.open.Add(1)
				go func() {
					defer p.open.Add(-1)
					buf := make([]byte, 32<<10)
					for {
						n, err := d[0].Read(buf)
						if n > 0 && !p.held.Load() {
							d[1].Write(buf[:n])
						}
						if err != nil {
							d[1].Close()
							return
						}
					}
				}()
			}
		}
	}()
	return p
}

func (p *proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, nc := range p.ncs {
		nc.Close()
	}
	p.ncs = nil
}

// dialer lets a test see and forbid dials.
type dialer struct {
	refuse atomic.Bool
	dials  atomic.Int64
}

func (d *dialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	d.dials.Add(1)
	if d.refuse.Load() {
		return nil, fmt.Errorf("dial %s: %w", addr, errRefused)
	}
	return dialTCP(ctx, addr)
}
