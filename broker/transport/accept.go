package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/secure"
)

// accept lets peers in until Close.
func (t *Transport) accept(ln net.Listener) {
	var pause time.Duration
	for {
		nc, err := ln.Accept()
		if err == nil {
			pause = 0
			select {
			case t.door <- struct{}{}:
				t.run(func() { t.inbound(nc) })
			default:
				t.counters.crowded.Add(1)
				nc.Close()
			}
			continue
		}
		if t.ctx.Err() != nil {
			return
		}
		if errors.Is(err, net.ErrClosed) {
			t.cfg.Log.Error("the listener for peers was closed", "address", ln.Addr(), "why", err)
			return
		}
		// Out of descriptors, most likely: connections that end will bring them back.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		select {
		case <-time.After(pause):
		case <-t.ctx.Done():
			return
		}
	}
}

// inbound is the life of a connection that was accepted.
func (t *Transport) inbound(sock net.Conn) {
	stop := context.AfterFunc(t.ctx, func() { sock.Close() })
	defer stop()
	defer sock.Close()
	t.setOptions(sock)
	g, err := t.greet(sock)
	<-t.door
	t.note(sock, g.hello.From, err)
	if err != nil {
		return
	}
	gone := context.AfterFunc(g.peer.ctx, func() { sock.Close() })
	defer gone()
	t.widen(sock, g.peer, g.hello.Class)
	if g.hello.Class == frame.Snapshot {
		defer func() { <-t.snapIn }()
		t.takeSnapshot(g)
		return
	}
	t.receive(g)
}

// guest is a peer's connection behind its handshake.
type guest struct {
	nc     net.Conn
	hello  frame.Hello
	peer   *peer
	ticket uint64 // of class control or bulk
}

// nobody is who a connection is from before its hello says so.
const nobody = secure.Nobody

// greet goes through the handshake from the side that accepted. It answers whoever sends a hello, and nobody else.
func (t *Transport) greet(sock net.Conn) (g guest, err error) {
	g.hello.From = nobody
	sock.SetDeadline(time.Now().Add(t.cfg.HandshakeTimeout))
	nc, in, err := t.secureServer(sock)
	if err != nil {
		var bad *secure.CertificateError
		if errors.As(err, &bad) {
			g.hello.From = bad.Node
		}
		linger(sock)
		return g, t.insecure(err)
	}
	g.nc = nc
	h, body, err := frame.Receive(in, nil, frame.MaxHandshakeBody)
	switch {
	case err != nil:
		return g, err
	case h.Kind != frame.KindHello:
		return g, fmt.Errorf("%w: %v where a hello belongs", frame.ErrFormat, h.Kind)
	}
	w := frame.Welcome{Version: frame.Version, Features: t.cfg.Features, Node: t.cfg.Node, Identity: t.cfg.Identity}
	refused := t.judge(&g, body)
	if refused != nil {
		w.Reason, w.Text, err = refused.Reason, refused.Text, refused
	}
	if _, sendErr := g.nc.Write(w.Frame()); sendErr != nil && err == nil {
		t.leaveDoor(&g)
		return g, sendErr
	}
	sock.SetDeadline(time.Time{})
	return g, err
}

// linger leaves a connection whose TLS handshake failed to the other side to end: it may have sent its hello already, and a
// socket that is closed with something unread takes back the alert that says what is wrong.
func linger(sock net.Conn) {
	if tc, ok := sock.(*net.TCPConn); ok && tc.CloseWrite() == nil {
		io.CopyN(io.Discard, tc, frame.MaxHandshakeBody<<4) // until the handshake's deadline
	}
}

// judge decides about a hello. For a snapshot it takes a token, which leaveDoor or inbound gives back.
func (t *Transport) judge(g *guest, body []byte) *frame.RefusedError {
	hello, err := frame.DecodeHello(body)
	if err == nil && hello.Version == frame.Version {
		g.hello = hello
	}
	switch {
	case err != nil:
		return t.refusal(frame.MalformedHello, err.Error())
	case hello.Version != frame.Version:
		return t.refusal(frame.OtherVersion, fmt.Sprintf("the other side speaks format %d, this node %d: run releases that "+
			"know each other", hello.Version, frame.Version))
	case hello.Cluster != t.cfg.Cluster:
		return t.refusal(frame.OtherCluster, fmt.Sprintf("node %d is of cluster %q, node %d of cluster %q: the address or the data "+
			"directory is another cluster's", hello.From, hello.Cluster, t.cfg.Node, t.cfg.Cluster))
	case hello.To != t.cfg.Node:
		return t.refusal(frame.OtherNode, fmt.Sprintf("node %d was dialled at an address where node %d listens: correct the "+
			"address of node %d", hello.To, t.cfg.Node, hello.To))
	case hello.From == t.cfg.Node:
		return t.refusal(frame.DuplicateNode, fmt.Sprintf("node %d is the one that was dialled: another process has the same node id", hello.From))
	case hello.Features < t.cfg.MinFeatures:
		return t.refusal(frame.OtherFeatures, fmt.Sprintf("node %d has feature level %d, the cluster needs %d: update it",
			hello.From, hello.Features, t.cfg.MinFeatures))
	}
	if refused := t.checkSecured(g.nc, hello.From); refused != nil {
		return refused
	}
	if g.peer = t.peer(hello.From); g.peer == nil {
		if t.cfg.Admit != nil { // which may say more, to one that was removed
			if err := t.cfg.Admit(hello.From, hello.Identity); err != nil {
				return t.notAdmitted(err)
			}
		}
		return t.refusal(frame.UnknownNode, fmt.Sprintf("node %d is no member that node %d knows", hello.From, t.cfg.Node))
	}
	if refused := t.meet(g.peer, hello.Identity); refused != nil {
		return refused
	}
	if hello.Class != frame.Snapshot {
		g.ticket = g.peer.in[hello.Class].ticket()
	} else {
		select {
		case t.snapIn <- struct{}{}:
		default:
			return t.refusal(frame.Busy, fmt.Sprintf("node %d takes %d snapshots already", t.cfg.Node, t.cfg.MaxSnapshotsIn))
		}
	}
	return nil
}

// leaveDoor gives back what judge took.
func (t *Transport) leaveDoor(g *guest) {
	if g.hello.Class == frame.Snapshot {
		<-t.snapIn
	}
}

// source is where a handshake came from.
type source struct {
	host string
	node id.NodeID
}

// maxSources bounds what is remembered about refused handshakes.
const maxSources = 1024

// refusals remembers what was said about whom, so that a peer that tries again and again is in the log once.
type refusals struct {
	mu   sync.Mutex // guards last
	last map[source]string
}

// changed notes the outcome of a handshake, "" for a good one, and tells whether it is news.
func (r *refusals) changed(s source, outcome string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if outcome == "" {
		delete(r.last, s)
		return false
	}
	if r.last[s] == outcome {
		return false
	}
	if len(r.last) >= maxSources {
		clear(r.last)
	}
	r.last[s] = outcome
	return true
}

// note logs and tells of a handshake that failed, if that is news. from is what the other side claims to be.
func (t *Transport) note(sock net.Conn, from id.NodeID, err error) {
	host, _, splitErr := net.SplitHostPort(sock.RemoteAddr().String())
	if splitErr != nil {
		host = sock.RemoteAddr().String()
	}
	if err == nil {
		t.refusals.changed(source{host, from}, "")
		return
	}
	t.counters.refused.Add(1)
	if t.ctx.Err() != nil || !t.refusals.changed(source{host, from}, gist(err)) {
		return
	}
	var refused *frame.RefusedError
	if errors.As(err, &refused) {
		t.watch.refused(from, refused)
	}
	t.cfg.Log.Warn("refused a connection", "from", host, "claims_node", from, "why", err)
}
