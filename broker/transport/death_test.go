package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
)

// A process that dies closes its connections, and its machine refuses the redial: found without waiting for silence.
func TestDeathIsFoundByARefusedRedial(t *testing.T) {
	a, b := couple(t, nil) // DeadAfter is longer than the test may take
	b.Close()
	a.await("down 2 refused")
	a.await("lost 2 bulk")
	a.await("lost 2 control")
	if a.told("up 2") != 1 || a.told("down") != 1 || a.Stats().Peers[0].Up {
		t.Errorf("events %v", a.history())
	}
	// The same data directory, started again.
	cfg := testConfig(2)
	c := newNode(t, cfg)
	c.AddPeer(1, a.addr)
	c.start(b.addr)
	until(t, "node 2 to be up again", func() bool { return a.told("up 2") == 2 })
	if a.told("new") != 0 {
		t.Errorf("the same incarnation is new: %v", a.history())
	}
}

// A process that dies may close its connections first and what it listens on then: the first redial is taken and reset.
func TestDeathIsFoundByTheSecondRedial(t *testing.T) {
	const redial = 5 * time.Second
	var ahead atomic.Int64
	var resets atomic.Int32
	a, b := couple(t, func(c *Config) {
		if c.Node != 1 {
			return
		}
		c.RedialMin, c.RedialMax = redial, redial
		c.Now = func() int64 { return now() + ahead.Load() }
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			if resets.Add(-1) >= 0 {
				return dialReset(t)
			}
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	})
	ahead.Store(int64(redial)) // the connections have lasted
	resets.Store(3)            // one of each class
	began := time.Now()
	b.Close()
	a.await("down 2 refused")
	if took := time.Since(began); took >= redial/2 || resets.Load() >= 0 {
		t.Errorf("it took %v; %d dials were to be reset", took, resets.Load())
	}
}

// dialReset returns a connection that is reset by who has accepted it.
func dialReset(t *testing.T) (net.Conn, error) {
	ln, err := net.Listen("tcp", anywhere)
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	in, err := ln.Accept()
	if err == nil {
		err = errors.Join(in.(*net.TCPConn).SetLinger(0), in.Close())
	}
	return nc, err
}

// A machine that goes says nothing: only its heartbeats are missed.
func TestSilentDeath(t *testing.T) {
	short := func(c *Config) { c.DeadAfter = 500 * time.Millisecond }
	cfg := testConfig(1)
	short(&cfg)
	a := newNode(t, cfg).start(anywhere)
	cfg = testConfig(2)
	b := newNode(t, cfg).start(anywhere)
	p := newProxy(t, a.addr) // from b to a
	a.AddPeer(2, b.addr)
	b.AddPeer(1, p.ln.Addr().String())
	a.await("up 2")
	p.held.Store(true)
	// A machine that stalls may have missed heartbeats before.
	until(t, "node 2 to be down", func() bool { return a.told("down 2 silent") == a.told("up 2") })
	if a.told("down 2 refused") != 0 {
		t.Errorf("events %v", a.history())
	}
	// What was connected is worth nothing when it can be heard again: new connections are made.
	a.await("lost 2 bulk")
	ups := a.told("up 2")
	p.closeAll() // what was held is lost; b dials again
	p.held.Store(false)
	until(t, "node 2 to be up again", func() bool { return a.told("up 2") > ups })
}

// A node that is not heard any more, and hears all, is told so: to both the other is dead, and both live again.
func TestDeafIsDead(t *testing.T) {
	nodes := [2]*node{}
	for i := range nodes {
		cfg := testConfig(id.NodeID(i + 1))
		cfg.DeadAfter = 500 * time.Millisecond
		nodes[i] = newNode(t, cfg).start(anywhere)
	}
	a, b := nodes[0], nodes[1]
	p := newProxy(t, a.addr) // from b to a
	a.AddPeer(2, b.addr)
	b.AddPeer(1, p.ln.Addr().String())
	a.await("up 2")
	b.await("up 1")
	p.held.Store(true)
	until(t, "each to be dead to the other", func() bool {
		return a.told("down 2 silent") == a.told("up 2") && b.told("down 1 silent") == b.told("up 1")
	})
	ups := b.told("up 1")
	p.closeAll()
	p.held.Store(false)
	until(t, "node 1 to be up again", func() bool { return b.told("up 1") > ups })
}

// What is connected with a process is hung up when another takes its place, even if the first never closes anything.
func TestHangingUpOnWhoWasReplaced(t *testing.T) {
	var ahead atomic.Int64
	cfg := testConfig(1)
	cfg.Now = func() int64 { return now() + ahead.Load() }
	a := newNode(t, cfg).start(anywhere)
	ln, err := net.Listen("tcp", anywhere)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	old := make(chan net.Conn, 10)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			frame.Receive(nc, nil, 1000)
			nc.Write((&frame.Welcome{Version: frame.Version, Node: 2, Identity: frame.Identity{Incarnation: 7, Boot: 7}}).Frame())
			old <- nc
		}
	}()
	a.AddPeer(2, ln.Addr().String())
	until(t, "connections with the old process", func() bool {
		l := a.Stats().Links
		return l[0].Connected && l[1].Connected
	})
	ahead.Store(int64(a.cfg.DeadAfter))
	nc, err := net.Dial("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	hello := frame.Hello{Version: frame.Version, From: 2, To: 1, Identity: frame.Identity{Incarnation: 8, Boot: 8}, Cluster: "test"}
	nc.Write(hello.Frame())
	a.await("new 2 8 was 7")
	for range 2 {
		first := <-old
		defer first.Close()
		first.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, first); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the old process is still connected: %v", err)
		}
	}
}

// Another data directory under a known id, once the old process is gone.
func TestNewIncarnation(t *testing.T) {
	a, b := couple(t, nil)
	b.Close()
	cfg := testConfig(2)
	cfg.Identity.Incarnation = 999
	c := newNode(t, cfg)
	c.AddPeer(1, a.addr)
	c.start(b.addr)
	a.await("new 2 999 was 102")
	until(t, "node 2 to be up again", func() bool { return a.told("up 2") == 2 })
	if a.told("down 2") != 1 {
		t.Errorf("events %v", a.history())
	}
	until(t, "messages to the new one", func() bool { a.Send(2, 1, app(1, nil)); return len(c.received()) > 0 })
}

// TestTwoNodesWithOneID: the one that is known stays, the other is refused wherever it turns, and both sides know why.
func TestTwoNodesWithOneID(t *testing.T) {
	a, b := couple(t, nil)
	cfg := testConfig(2)
	cfg.Identity.Incarnation = 999
	c := newNode(t, cfg).start(anywhere)
	c.AddPeer(1, a.addr)
	c.await("refused 1 node 1 refuses the connection (duplicate node): another process with node id 2 was heard from")
	a.await("refused 2 node 1 refuses the connection (duplicate node)")
	// It is refused too when it is dialled.
	a.SetAddr(2, c.addr)
	until(t, "a few more dials", func() bool { return a.Stats().Dials > 8 })
	if a.told("down") != 0 || a.told("new") != 0 || c.told("up ") != 0 {
		t.Errorf("node 1 was told %v, the newcomer %v", a.history(), c.history())
	}
	a.SetAddr(2, b.addr)
	until(t, "messages to the known one", func() bool { a.Send(2, 1, app(1, nil)); return len(b.received()) > 0 })
	if len(c.received()) > 0 {
		t.Error("the newcomer got messages")
	}
}

// Every way in which two nodes may not belong together is found on both sides, by name.
func TestRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(a, b *Config) // node 1 and node 2
		peer   id.NodeID          // whom node 1 believes to dial
		a, b   string             // what each is told
	}{
		"another cluster": {func(a, _ *Config) { a.Cluster = "elsewhere" }, 2,
			`refused 2 node 2 refuses the connection (other cluster): node 1 is of cluster "elsewhere", node 2 of cluster "test"`,
			`refused 1 node 2 refuses the connection (other cluster)`},
		"another node at the address": {func(*Config, *Config) {}, 3,
			"refused 3 node 2 refuses the connection (other node): node 3 was dialled at an address where node 2 listens: correct the address of node 3",
			"refused 1 node 2 refuses the connection (other node)"},
		"the same node id": {func(_, b *Config) { b.Node = 1 }, 2,
			"refused 2 node 1 refuses the connection (other node)",
			"refused 1 node 1 refuses the connection (other node)"},
		"an old release": {func(_, b *Config) { b.MinFeatures = 5 }, 2,
			"refused 2 node 2 refuses the connection (other features): node 1 has feature level 0, the cluster needs 5: update it",
			"refused 1 node 2 refuses the connection (other features)"},
		"an old release that accepts": {func(a, b *Config) { a.Features, a.MinFeatures = 5, 5 }, 2,
			"refused 2 node 1 refuses the connection (other features): node 2 has feature level 0",
			"refused 2 node 1 refuses"},
		"not admitted": {func(_, b *Config) {
			b.Admit = func(n id.NodeID, who frame.Identity) error {
				return &net.AddrError{Err: "incarnation is not the recorded one", Addr: "x"}
			}
		}, 2, "refused 2 node 2 refuses the connection (not admitted): address x: incarnation is not the recorded one",
			"refused 1 node 2 refuses the connection (not admitted)"},
	} {
		t.Run(name, func(t *testing.T) {
			ca, cb := testConfig(1), testConfig(2)
			tt.change(&ca, &cb)
			a, b := newNode(t, ca).start(anywhere), newNode(t, cb).start(anywhere)
			if cb.Node != 1 {
				b.AddPeer(1, a.addr)
			}
			a.AddPeer(tt.peer, b.addr)
			a.await(tt.a)
			if !strings.HasPrefix(tt.b, "refused 2") {
				b.await(tt.b)
			}
			if a.told("up ") != 0 || b.told("up ") != 0 {
				t.Errorf("node 1 was told %v, node 2 %v", a.history(), b.history())
			}
		})
	}
}

// Another format version is refused in words that both versions understand.
func TestAnotherFormatVersion(t *testing.T) {
	a := newNode(t, testConfig(1)).start(anywhere)
	nc, err := net.Dial("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	hello := frame.Hello{Version: 9, From: 2, To: 1, Cluster: "whatever version 9 has here"}
	nc.Write(hello.Frame())
	h, body, err := frame.Receive(nc, nil, 1000)
	if err != nil || h.Kind != frame.KindWelcome {
		t.Fatalf("%v, %v", h.Kind, err)
	}
	w, err := frame.DecodeWelcome(body)
	if err != nil || w.Reason != frame.OtherVersion || w.Version != frame.Version || !strings.Contains(w.Text, "the other side speaks format 9, this node 3") {
		t.Errorf("%+v, %v", w, err)
	}
	a.await("refused -1 node 1 refuses the connection (other version)")

	// The other way round.
	ln, err := net.Listen("tcp", anywhere)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a.AddPeer(3, ln.Addr().String())
	go answer(ln, frame.Welcome{Version: 9, Node: 3})
	a.await("refused 3 node 1 refuses the connection (other version): node 3 speaks format 9, this node 3")
	a.RemovePeer(3)
	a.AddPeer(4, ln.Addr().String())
	a.await("refused 4 node 1 refuses the connection (other version)")
}

// answer sends every connection the same welcome.
func answer(ln net.Listener, w frame.Welcome) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		frame.Receive(nc, nil, 1000)
		nc.Write(w.Frame())
		nc.Close()
	}
}

// An acceptor that says to be another node than was dialled, and one that sends what it should not.
func TestWrongAcceptors(t *testing.T) {
	a := newNode(t, testConfig(1)).start(anywhere)
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", anywhere)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		return ln
	}
	ln := listen()
	go answer(ln, frame.Welcome{Version: frame.Version, Node: 7, Identity: frame.Identity{Incarnation: 1, Boot: 1}})
	a.AddPeer(2, ln.Addr().String())
	a.await("refused 2 node 1 refuses the connection (other node): node 7 listens where node 2 is said to")
	talker := listen()
	a.AddPeer(3, talker.Addr().String())
	go func() {
		for {
			nc, err := talker.Accept()
			if err != nil {
				return
			}
			frame.Receive(nc, nil, 1000)
			nc.Write((&frame.Welcome{Version: frame.Version, Node: 3, Identity: frame.Identity{Incarnation: 1, Boot: 1}}).Frame())
			nc.Write([]byte("and more"))
		}
	}()
	a.await("lost 3 control")
}

// greeted is a connection behind the handshake, from what says to be node 2.
func (n *node) greeted(c frame.Class) net.Conn {
	n.t.Helper()
	nc, err := net.Dial("tcp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { nc.Close() })
	hello := frame.Hello{Version: frame.Version, Class: c, From: 2, To: n.id, Identity: frame.Identity{Incarnation: 5, Boot: 6}, Cluster: "test"}
	nc.Write(hello.Frame())
	h, body, err := frame.Receive(nc, nil, 1000)
	if w, decodeErr := frame.DecodeWelcome(body); err != nil || decodeErr != nil || h.Kind != frame.KindWelcome || w.Err() != nil {
		n.t.Fatalf("%v, %v, %v", err, decodeErr, w.Err())
	}
	return nc
}

// sealed is what a batch sends.
func sealed(fill func(*frame.Batch)) []byte {
	b := frame.NewBatch(1<<20, 1<<20)
	fill(b)
	b.Seal()
	return b.Next(make([][]byte, 0, 1), 1<<20)[0]
}

// What one read brings is handed over in its order: messages that came before a heartbeat are stepped before it.
func TestHeartbeatsKeepTheirPlace(t *testing.T) {
	a := newNode(t, testConfig(1)).start(anywhere)
	a.AddPeer(2, "127.0.0.1:1")
	vote := pb.Message{Type: pb.MsgVote}
	a.greeted(frame.Control).Write(sealed(func(b *frame.Batch) {
		b.Message(1, &vote)
		b.Heartbeat(&frame.Heartbeat{})
		b.Message(2, &vote)
	}))
	a.awaitMessages(2)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.beats != 1 || a.gotAtBeat != 1 || a.bursts != 2 {
		t.Errorf("%d heartbeats, the last after %d messages; %d bursts", a.beats, a.gotAtBeat, a.bursts)
	}
}

// A peer's frame that makes no sense costs it the connection; what came before it in the same read is handed over.
func TestMalformed(t *testing.T) {
	a := newNode(t, testConfig(1)).start(anywhere)
	a.AddPeer(2, "127.0.0.1:1")
	wire := sealed(func(b *frame.Batch) { b.Message(1, &app(1, []byte("x"))[0]) })
	for i, bad := range [][]byte{
		[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		sealed(func(b *frame.Batch) { b.Heartbeat(&frame.Heartbeat{}) }), // on a connection of class bulk
		append(append([]byte{}, wire[:len(wire)-1]...), 'y'),
		(&frame.End{}).Frame(),
		append(append([]byte{}, wire[:8]...), 0xff, 0xff, 0xff, 0x7f, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
	} {
		nc := a.greeted(frame.Bulk)
		nc.Write(append(append([]byte{}, wire...), bad...))
		var b [1]byte
		nc.SetReadDeadline(time.Now().Add(patience))
		if n, err := nc.Read(b[:]); n > 0 || err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("%.20q: read %d bytes, %v", bad, n, err)
		}
		a.awaitMessages(i + 1)
		until(t, "the count", func() bool { return a.Stats().Malformed == uint64(i+1) })
	}
	if got := len(a.received()); got != 5 {
		t.Errorf("%d messages", got)
	}
}

// Strangers get no memory and no time: neither many of them, nor one that says nothing, holds up those who belong.
func TestStrangers(t *testing.T) {
	a, b := couple(t, func(c *Config) { c.MaxHandshakes, c.HandshakeTimeout = 8, 2*time.Second })
	for range 30 {
		nc, err := net.Dial("tcp", a.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.Write([]byte{'A', 'L', 'T'})
	}
	until(t, "the crowd to be sent away", func() bool { s := a.Stats(); return s.Crowded > 0 && s.Crowded+s.Refused >= 30 })
	a.Send(2, 1, app(1, nil))
	b.awaitMessages(1)
	b.peer(1).links[frame.Bulk].Break()
	until(t, "a new connection", func() bool { b.Send(1, 1, app(1, nil)); return len(a.received()) > 0 })
}
