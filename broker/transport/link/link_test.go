package link

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
)

// pair returns both ends of a loopback connection: what the link gets, and what the peer reads from.
func pair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); other.Close() })
	return nc.(*net.TCPConn), other.(*net.TCPConn)
}

func config() Config {
	return Config{QueueBytes: 8 << 20, MaxBody: 4 << 20, MinRef: 4 << 10, WriteTimeout: 20 * time.Second, Notify: func() {}}
}

func app(index int, data []byte) pb.Message {
	return pb.Message{Type: pb.MsgApp, To: 2, From: 1, Index: uint64(index), Entries: []pb.Entry{{Index: uint64(index), Data: data}}}
}

// receive decodes n messages from a connection.
func receive(t testing.TB, nc net.Conn, n int) (out []frame.GroupMessage) {
	t.Helper()
	nc.SetReadDeadline(time.Now().Add(time.Minute))
	s := frame.NewStream(64<<10, 4<<20)
	for len(out) < n {
		k, err := nc.Read(s.Room())
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", len(out), n, err)
		}
		if err := s.Take(k, func(h frame.Header, body []byte) (err error) {
			if h.Kind == frame.KindMessages {
				out, err = frame.DecodeMessages(out, h, body)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// until waits for a condition that other goroutines bring about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// One at a time is one write by the goroutine that flushes, and nobody else is woken.
func TestInline(t *testing.T) {
	near, far := pair(t)
	l := New(config())
	l.Attach(near)
	defer l.Detach()
	for i := range 100 {
		l.Enqueue(7, []pb.Message{app(i, []byte("data"))})
		l.Flush()
		got := receive(t, far, 1)
		if got[0].Group != 7 || got[0].Message.Index != uint64(i) || string(got[0].Message.Entries[0].Data) != "data" {
			t.Fatalf("received %+v", got)
		}
	}
	c := &l.Counters
	if c.InlineWrites.Load() != 100 || c.WriterStarts.Load() != 0 || l.Passed().Messages != 100 || l.Passed().Frames != 100 || c.QueueBytes.Load() != 0 {
		t.Errorf("%d inline writes, %d hand-overs, %d messages in %d frames, %d bytes queued", c.InlineWrites.Load(), c.WriterStarts.Load(),
			l.Passed().Messages, l.Passed().Frames, c.QueueBytes.Load())
	}
}

// What several groups enqueue before a flush is one write of one frame.
func TestOneFlushForManyGroups(t *testing.T) {
	near, far := pair(t)
	l := New(config())
	l.Attach(near)
	defer l.Detach()
	for g := range id.GroupID(50) {
		l.Enqueue(g, []pb.Message{app(1, []byte("a")), app(2, []byte("b"))})
	}
	l.Flush()
	l.Flush()
	got := receive(t, far, 100)
	for i, gm := range got {
		if gm.Group != id.GroupID(i/2) || gm.Message.Index != uint64(i%2+1) {
			t.Fatalf("message %d is %v", i, gm)
		}
	}
	if c := &l.Counters; c.InlineWrites.Load() != 1 || l.Passed().Frames != 1 {
		t.Errorf("%d writes of %d frames", c.InlineWrites.Load(), l.Passed().Frames)
	}
}

// A peer that does not read costs nobody a wait: the rest goes to a goroutine, later messages wait, and beyond the bound
// they are dropped and told of. When the peer reads, everything that was not dropped comes, in order.
func TestPeerThatDoesNotRead(t *testing.T) {
	near, far := pair(t)
	near.SetWriteBuffer(32 << 10)
	far.SetReadBuffer(32 << 10)
	cfg := config()
	cfg.QueueBytes = 1 << 20
	var told atomic.Int64
	cfg.Notify = func() { told.Add(1) }
	l := New(cfg)
	l.Attach(near)
	defer l.Detach()
	kept := 0
	data := bytes.Repeat([]byte{7}, 10_000)
	for i := 0; told.Load() == 0; i++ {
		m := app(i, data)
		m.To = 3
		l.Enqueue(9, []pb.Message{m})
		l.Flush()
		if told.Load() == 0 {
			kept++
		}
	}
	if q := l.Counters.QueueBytes.Load(); q > 1<<20 || q < 1<<19 {
		t.Errorf("%d bytes are queued, the bound is %d", q, 1<<20)
	}
	if l.Counters.WriterStarts.Load() == 0 {
		t.Error("nothing was handed over")
	}
	if lost := l.TakeLost(); len(lost) != 1 || lost[0].Group != 9 || lost[0].Replica != 3 || !lost[0].Has(pb.MsgApp) || lost[0].Has(pb.MsgVote) {
		t.Errorf("lost %v, want group 9, replica 3, MsgApp", lost)
	}
	if lost := l.TakeLost(); lost != nil {
		t.Errorf("the same is lost twice: %v", lost)
	}
	for i, gm := range receive(t, far, kept) {
		if gm.Message.Index != uint64(i) || !bytes.Equal(gm.Message.Entries[0].Data, data) {
			t.Fatalf("message %d is %d", i, gm.Message.Index)
		}
	}
	until(t, "an empty queue", func() bool { return l.Counters.QueueBytes.Load() == 0 })
	l.Enqueue(9, []pb.Message{app(-1, nil)})
	l.Flush()
	receive(t, far, 1)
}

// TestMessagesStayInOrder: from many goroutines, over a socket that is now and then full, with data that is copied and
// data that is not, what one goroutine sends arrives in its order.
func TestMessagesStayInOrder(t *testing.T) {
	near, far := pair(t)
	near.SetWriteBuffer(16 << 10)
	cfg := config()
	cfg.QueueBytes = 1 << 30
	l := New(cfg)
	l.Attach(near)
	defer l.Detach()
	const groups, each = 8, 100
	var wg sync.WaitGroup
	for g := range groups {
		wg.Go(func() {
			for i := range each {
				l.Enqueue(id.GroupID(g), []pb.Message{app(2*i, make([]byte, i*37%9000)), app(2*i+1, nil)})
				if i%3 != 1 {
					l.Flush()
				}
			}
			l.Flush()
		})
	}
	got := receive(t, far, groups*each*2)
	wg.Wait()
	next := map[id.GroupID]uint64{}
	for _, gm := range got {
		if gm.Message.Index != next[gm.Group] {
			t.Fatalf("group %d: message %d where %d is next", gm.Group, gm.Message.Index, next[gm.Group])
		}
		next[gm.Group]++
	}
	if d := l.Counters.Dropped.Load(); d != 0 {
		t.Errorf("%d were dropped", d)
	}
}

// hooked calls a function before each attempt to write.
type hooked struct {
	syscall.RawConn
	before func()
}

func (h hooked) Write(f func(uintptr) bool) error {
	h.before()
	return h.RawConn.Write(f)
}

// What is enqueued, and flushed in vain, while somebody else writes is sent by that one.
func TestNothingIsLeftBehind(t *testing.T) {
	near, far := pair(t)
	l := New(config())
	l.Attach(near)
	defer l.Detach()
	attempts := 0
	l.raw = hooked{l.raw, func() {
		if attempts++; attempts < 4 {
			l.Enqueue(2, []pb.Message{app(attempts, nil)})
			l.Flush()
		}
	}}
	l.Enqueue(1, []pb.Message{app(0, nil)})
	l.Flush()
	for i, gm := range receive(t, far, 4) {
		if gm.Message.Index != uint64(i) {
			t.Errorf("message %d is %d", i, gm.Message.Index)
		}
	}
	if attempts != 4 || l.Counters.WriterStarts.Load() != 0 {
		t.Errorf("%d attempts, %d hand-overs", attempts, l.Counters.WriterStarts.Load())
	}
}

// Whoever flushes others' messages for too long hands over.
func TestFlushIsBounded(t *testing.T) {
	near, far := pair(t)
	go io.Copy(io.Discard, far)
	cfg := config()
	cfg.QueueBytes = 64 << 20
	l := New(cfg)
	l.Attach(near)
	defer l.Detach()
	for i := range 20 {
		l.Enqueue(1, []pb.Message{app(i, make([]byte, 1<<20))})
	}
	l.Flush()
	until(t, "all to be sent", func() bool { return l.Counters.QueueBytes.Load() == 0 })
	if starts := l.Counters.WriterStarts.Load(); starts != 1 {
		t.Errorf("20 MB were handed over %d times, want once", starts)
	}
}

func TestWithoutAConnection(t *testing.T) {
	told := 0
	cfg := config()
	cfg.Notify = func() { told++ }
	l := New(cfg)
	m := []pb.Message{app(1, nil)}
	l.Enqueue(1, m)
	l.Flush()
	if l.Counters.Dropped.Load() != 1 || told != 1 || l.Connected() {
		t.Fatalf("nobody is expected: %d dropped, told %d times", l.Counters.Dropped.Load(), told)
	}
	l.Expect(true)
	l.Enqueue(1, m)
	if l.Expect(false) != true || l.Counters.Dropped.Load() != 2 || l.Counters.QueueBytes.Load() != 0 {
		t.Fatalf("the expected connection was not made: %d dropped", l.Counters.Dropped.Load())
	}
	if l.Expect(false) {
		t.Error("dropped nothing, and says so")
	}
	if l.Heartbeat(&frame.Heartbeat{}) {
		t.Error("a heartbeat waits for a connection")
	}
	// What waits is sent by Attach, in order with what comes after.
	l.Expect(true)
	l.Enqueue(1, []pb.Message{app(5, nil)})
	near, far := pair(t)
	l.Attach(near)
	l.Enqueue(1, []pb.Message{app(6, nil)})
	l.Flush()
	if got := receive(t, far, 2); got[0].Message.Index != 5 || got[1].Message.Index != 6 {
		t.Errorf("received %v", got)
	}
	l.Detach()
	if l.Connected() {
		t.Error("connected without a connection")
	}
	// Detach expects the next.
	l.Enqueue(1, []pb.Message{app(7, nil)})
	near, far = pair(t)
	l.Attach(near)
	if got := receive(t, far, 1); got[0].Message.Index != 7 {
		t.Errorf("received %v", got)
	}
	l.Close()
	l.Detach()
	before := told
	l.Enqueue(1, m)
	if told != before || l.Attach(near) {
		t.Error("a closed link tells of loss, or takes a connection")
	}
}

// The end of a connection while a goroutine waits to write: it ends, the queue is dropped, the next connection begins with
// a frame's first byte.
func TestConnectionEndsWhileWriting(t *testing.T) {
	for name, end := range map[string]func(*Link, *net.TCPConn){
		"broken by us":  func(l *Link, _ *net.TCPConn) { l.Break() },
		"by the peer":   func(_ *Link, far *net.TCPConn) { far.SetLinger(0); far.Close() },
		"by the detach": func(*Link, *net.TCPConn) {},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := pair(t)
			near.SetWriteBuffer(16 << 10)
			l := New(config())
			l.Attach(near)
			for i := range 5 {
				l.Enqueue(1, []pb.Message{app(i, make([]byte, 1<<20))})
				l.Flush()
			}
			if l.Counters.WriterStarts.Load() == 0 {
				t.Fatal("nobody waits to write")
			}
			end(l, far)
			l.Detach()
			if q := l.Counters.QueueBytes.Load(); q != 0 || l.Counters.Dropped.Load() < 4 {
				t.Errorf("%d bytes are queued, %d messages dropped", q, l.Counters.Dropped.Load())
			}
			near, far = pair(t)
			l.Attach(near)
			l.Enqueue(1, []pb.Message{app(99, nil)})
			l.Flush()
			if got := receive(t, far, 1); got[0].Message.Index != 99 {
				t.Errorf("received %v", got)
			}
			l.Detach()
		})
	}
}

// deadlines remembers the last one that was set.
type deadlines struct {
	*net.TCPConn
	last atomic.Pointer[time.Time]
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.last.Store(&t)
	return d.TCPConn.SetWriteDeadline(t)
}

// The time-out of a write that may wait must not hit the next one that does not.
func TestDeadlineIsTakenBack(t *testing.T) {
	near, far := pair(t)
	near.SetWriteBuffer(16 << 10)
	l := New(config())
	l.Attach(near)
	defer l.Detach()
	d := &deadlines{TCPConn: near}
	l.conn = d
	for i := range 3 {
		l.Enqueue(1, []pb.Message{app(i, make([]byte, 200<<10))})
		l.Flush()
	}
	receive(t, far, 3)
	until(t, "the writer to end", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return !l.writing })
	if last := d.last.Load(); last == nil || !last.IsZero() {
		t.Errorf("the deadline is %v", last)
	}
}

func TestWriteTimeout(t *testing.T) {
	near, _ := pair(t)
	near.SetWriteBuffer(16 << 10)
	cfg := config()
	cfg.WriteTimeout = 10 * time.Millisecond
	l := New(cfg)
	l.Attach(near)
	l.Enqueue(1, []pb.Message{app(1, make([]byte, 3<<20))})
	l.Enqueue(1, []pb.Message{app(2, make([]byte, 3<<20))})
	l.Flush()
	var b [1]byte
	near.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := near.Read(b[:]); err == nil || err.(net.Error).Timeout() {
		t.Errorf("the connection is still open: %v", err)
	}
	l.Detach()
}

// A connection that takes only writes that may wait (TLS; here a pipe) has a goroutine for them.
func TestNotASocket(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	l := New(config())
	l.Attach(near)
	for i := range 50 {
		l.Enqueue(1, []pb.Message{app(i, make([]byte, i*1000))})
		l.Flush()
	}
	for i, gm := range receive(t, far, 50) {
		if gm.Message.Index != uint64(i) {
			t.Fatalf("message %d is %d", i, gm.Message.Index)
		}
	}
	if l.Counters.InlineWrites.Load() != 0 || l.Counters.WriterStarts.Load() == 0 {
		t.Error("a write that may wait was made inline")
	}
	l.Detach()
}

// Heartbeats do not pile up in front of a peer that does not read.
func TestHeartbeatsDoNotPileUp(t *testing.T) {
	near, far := net.Pipe()
	cfg := config()
	cfg.QueueBytes = 10 << 10
	cfg.Notify = nil // nobody needs to know of losses here
	l := New(cfg)
	l.Attach(near)
	sent := 0
	for l.Heartbeat(&frame.Heartbeat{Leaders: make([]frame.Leader, 10)}) {
		l.Flush()
		sent++
	}
	if q := l.Counters.QueueBytes.Load(); sent < 10 || q > 6<<10 {
		t.Errorf("%d heartbeats, %d bytes wait", sent, q)
	}
	// There is room for messages still, until there is none; nobody is told.
	for range 100 {
		l.Enqueue(1, []pb.Message{{Type: pb.MsgVote}})
	}
	if l.Counters.Dropped.Load() == 0 || l.TakeLost() != nil {
		t.Errorf("dropped %d, lost %v", l.Counters.Dropped.Load(), l.TakeLost())
	}
	far.Close()
	l.Detach()
}

// A message that no frame can hold is dropped, told of and counted by itself.
func TestOversized(t *testing.T) {
	near, far := pair(t)
	told := 0
	cfg := config()
	cfg.MaxBody, cfg.Notify = 64<<10, func() { told++ }
	l := New(cfg)
	l.Attach(near)
	defer l.Detach()
	l.Enqueue(1, []pb.Message{app(1, make([]byte, 65<<10)), app(2, nil)})
	l.Flush()
	if got := receive(t, far, 1); got[0].Message.Index != 2 || told != 1 || l.Counters.Oversized.Load() != 1 || l.Counters.Dropped.Load() != 1 {
		t.Errorf("received %v, told %d times, %d are too large", got, told, l.Counters.Oversized.Load())
	}
}

func TestMisuse(t *testing.T) {
	near, _ := pair(t)
	l := New(config())
	l.Attach(near)
	defer l.Detach()
	defer func() {
		if got := fmt.Sprint(recover()); got != "link: a connection is attached before the last one was detached" {
			t.Errorf("a second connection: %s", got)
		}
	}()
	l.Attach(near)
}
