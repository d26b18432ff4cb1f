package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
	"golang.org/x/sys/unix"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
)

// TestCloseLeavesNothing: in every state that a link can be in.
func TestCloseLeavesNothing(t *testing.T) {
	t.Run("connected", func(t *testing.T) {
		a, b := couple(t, nil)
		a.Close()
		b.Close()
		b.Close()
		noGoroutines(t)
		a.Send(2, 1, app(1, nil))
		a.AddPeer(3, "127.0.0.1:1")
	})
	t.Run("never started", func(t *testing.T) {
		n := newNode(t, testConfig(1))
		n.AddPeer(2, "127.0.0.1:1")
		n.Close()
		noGoroutines(t)
	})
	t.Run("dialling", func(t *testing.T) {
		cfg := testConfig(1)
		inside := make(chan struct{}, 10)
		cfg.Dial = func(ctx context.Context, _ string) (net.Conn, error) {
			inside <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		n := newNode(t, cfg).start(anywhere)
		n.AddPeer(2, "127.0.0.1:1")
		<-inside
		n.Close()
		noGoroutines(t)
	})
	t.Run("in a handshake that does not end", func(t *testing.T) {
		ln, err := net.Listen("tcp", anywhere)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		n := newNode(t, testConfig(1)).start(anywhere)
		n.AddPeer(2, ln.Addr().String())
		nc, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		silent, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		until(t, "both at the door", func() bool { return len(n.door) > 0 })
		n.Close()
		noGoroutines(t)
	})
	t.Run("with a writer that waits", func(t *testing.T) {
		a, b := couple(t, func(c *Config) { c.SocketSendBytes = 16 << 10 })
		release := make(chan struct{})
		b.mu.Lock()
		b.onMsgs = func(id.NodeID, []GroupMessage) { <-release }
		b.mu.Unlock()
		until(t, "a full socket", func() bool {
			a.Send(2, 1, app(1, make([]byte, 100_000)))
			return a.Stats().Links[1].WriterStarts > 0 && a.Stats().Links[1].QueueBytes > 1<<20
		})
		a.Close()
		close(release)
		b.Close()
		noGoroutines(t)
	})
}

// What goes wrong all the time is logged once.
func TestLoggedOncePerChange(t *testing.T) {
	var buf lockedBuffer
	d := &dialer{}
	cfg := testConfig(1)
	cfg.Dial = d.dial
	cfg.Log = slog.New(slog.NewTextHandler(&buf, nil))
	a := newNode(t, cfg).start(anywhere)
	d.refuse.Store(true)
	a.AddPeer(2, "127.0.0.1:1")
	until(t, "many dials", func() bool { return d.dials.Load() > 40 })
	if got := strings.Count(buf.String(), "no connection to a node"); got != 1 {
		t.Errorf("%d lines:\n%s", got, buf.String())
	}
	cfg = testConfig(2)
	cfg.Cluster = "another"
	var other lockedBuffer
	cfg.Log = slog.New(slog.NewTextHandler(&other, nil))
	b := newNode(t, cfg).start(anywhere)
	a.SetAddr(2, b.addr)
	d.refuse.Store(false)
	a.await("refused 2")
	dials := d.dials.Load()
	until(t, "many refusals", func() bool { return d.dials.Load() > dials+40 })
	if got := strings.Count(buf.String(), "(other cluster)"); got != 1 || a.told("refused 2") != 1 {
		t.Errorf("%d lines about another cluster:\n%s", got, buf.String())
	}
	if got := strings.Count(other.String(), "refused a connection"); got != 1 {
		t.Errorf("%d lines at the other:\n%s", got, other.String())
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestConfig(t *testing.T) {
	good := testConfig(1)
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"Node":              func(c *Config) { c.Node = -1 },
		"Identity":          func(c *Config) { c.Identity.Boot = 0 },
		"Now":               func(c *Config) { c.Now = nil },
		"cluster id":        func(c *Config) { c.Cluster = strings.Repeat("x", frame.MaxText+1) },
		"DeadAfter":         func(c *Config) { c.DeadAfter = c.HeartbeatInterval },
		"RedialMax":         func(c *Config) { c.RedialMax = time.Millisecond },
		"MaxFrameBytes":     func(c *Config) { c.MaxFrameBytes = 1 },
		"BulkQueueBytes":    func(c *Config) { c.MaxFrameBytes, c.BulkQueueBytes = 1<<20, 1<<20 },
		"HeartbeatInterval": func(c *Config) { c.HeartbeatInterval = -1 },
		"SnapshotRate":      func(c *Config) { c.SnapshotRate = -1 },
	} {
		c := good
		change(&c)
		if _, err := New(c, nil, Callbacks{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := DefaultConfig()
	d.Node, d.Identity, d.Cluster, d.Now = 1, good.Identity, "c", now
	if err := d.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

// Of connections of one class from one peer one is read and one waits; a third sends the second away.
func TestSlot(t *testing.T) {
	var s slot
	s.ended.L = &s.mu
	conn := func() (near, far net.Conn) {
		near, far = net.Pipe()
		t.Cleanup(func() { near.Close(); far.Close() })
		return near, far
	}
	ended := func(far net.Conn) bool {
		far.SetReadDeadline(time.Now().Add(patience))
		_, err := far.Read(make([]byte, 1))
		return errors.Is(err, io.EOF)
	}
	first, farFirst := conn()
	late := s.ticket()
	if !s.claim(first, s.ticket()) || s.cur != first {
		t.Fatal("the first has to wait")
	}
	second, farSecond := conn()
	third, farThird := conn()
	claims := make(chan string, 2)
	go func() { claims <- fmt.Sprint("second ", s.claim(second, s.ticket())) }()
	if !ended(farFirst) {
		t.Error("the first is still open")
	}
	until(t, "the second to wait", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.next == second })
	go func() { claims <- fmt.Sprint("third ", s.claim(third, s.ticket())) }()
	if got := <-claims; got != "second false" || !ended(farSecond) {
		t.Errorf("%s, while the first is being read", got)
	}
	s.leave()
	if got := <-claims; got != "third true" || s.cur != third {
		t.Errorf("%s, after the first has ended", got)
	}
	// One that was made before them, and was slow since, would bring back what is older.
	if fourth, _ := conn(); s.claim(fourth, late) || s.cur != third {
		t.Error("an older connection has taken a newer one's place")
	}
	s.abort()
	if !ended(farThird) {
		t.Error("the third is still open")
	}
	s.leave()
	s.abort()
}

// Heartbeats that wait behind this node's own work are not the peer's silence.
func TestABusyReaderBlamesNobody(t *testing.T) {
	var ahead atomic.Int64 // of node 2's clock
	a, b := couple(t, func(c *Config) {
		if c.Node == 2 {
			c.Now = func() int64 { return now() + ahead.Load() }
		}
	})
	release := make(chan struct{})
	defer close(release)
	b.mu.Lock()
	b.onMsgs = func(id.NodeID, []GroupMessage) { <-release }
	b.mu.Unlock()
	a.Send(2, 1, []pb.Message{{Type: pb.MsgVote}})
	b.awaitMessages(1)
	for range 10 {
		ahead.Add(int64(b.cfg.DeadAfter / 4))
		b.look()
	}
	if b.told("down") > 0 || !b.Stats().Peers[0].Up {
		t.Errorf("a peer is dead because this node does not read: %v", b.history())
	}
}

// After the end of a connection that lasted the first dial is made at once, and what is sent meanwhile waits for it. After
// one that did not last there is a wait, or a peer that closes what it accepts would be dialled without end.
func TestRedialAfterALastingConnection(t *testing.T) {
	var ahead atomic.Int64
	a, b := couple(t, func(c *Config) {
		c.RedialMin, c.RedialMax = time.Hour, time.Hour
		c.Now = func() int64 { return now() + ahead.Load() }
	})
	ahead.Store(int64(2 * time.Hour))
	a.peer(2).links[frame.Bulk].Break()
	until(t, "a new connection", func() bool { return a.Stats().Links[frame.Bulk].Connects == 2 })
	a.Send(2, 1, app(1, nil))
	b.awaitMessages(1)
	dials := a.Stats().Dials
	a.peer(2).links[frame.Bulk].Break()
	a.await("lost 2 bulk")
	until(t, "the link to be given up", func() bool {
		a.Send(2, 1, app(2, nil))
		return a.Stats().Links[frame.Bulk].Dropped > 0 && !a.Stats().Links[frame.Bulk].Connected
	})
	if got := a.Stats().Dials; got > dials+1 { // one may be due to the other side's dial
		t.Errorf("%d dials at once after a connection that did not last", got-dials)
	}
}

func TestSocketOptions(t *testing.T) {
	cfg := testConfig(1)
	cfg.UserTimeout, cfg.SocketSendBytes, cfg.SocketReceiveBytes = 1234*time.Millisecond, 50_000, 60_000
	a := newNode(t, cfg).start(anywhere)
	nc, err := net.Dial("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	a.setOptions(nc)
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		for _, o := range []struct{ level, name, want int }{
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}, {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 1234},
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 5},
			{unix.SOL_SOCKET, unix.SO_SNDBUF, 100_000}, {unix.SOL_SOCKET, unix.SO_RCVBUF, 120_000}, // the kernel doubles them
		} {
			if got, err := unix.GetsockoptInt(int(fd), o.level, o.name); err != nil || got != o.want {
				t.Errorf("option %d of level %d is %d, %v; want %d", o.name, o.level, got, err, o.want)
			}
		}
	})
}
