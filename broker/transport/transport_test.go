package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
)

var errRefused = syscall.ECONNREFUSED

func TestMessagesArrive(t *testing.T) {
	a, b := couple(t, nil)
	ms := []pb.Message{
		{Type: pb.MsgApp, To: 12, From: 11, Term: 3, Entries: []pb.Entry{{Term: 3, Index: 4, Data: []byte("data")}}},
		{Type: pb.MsgHeartbeat, To: 12, From: 11, Context: []byte("ctx")},
		{Type: pb.MsgVote, To: 12, From: 11},
		{Type: pb.MsgAppResp, To: 12, From: 11, Reject: true, RejectHint: 9},
	}
	a.Send(2, 77, ms)
	b.Send(1, 78, ms[:1])
	a.Send(3, 77, ms) // no such peer
	got := b.awaitMessages(4)
	var want, have [2][]pb.Message // by class: order is kept within each
	for i := range ms {
		c, _ := frame.ClassOf(ms[i].Type)
		want[c] = append(want[c], ms[i])
		c, _ = frame.ClassOf(got[i].Message.Type)
		have[c] = append(have[c], got[i].Message)
		if got[i].Group != 77 {
			t.Errorf("group %d", got[i].Group)
		}
	}
	if !reflect.DeepEqual(want, have) {
		t.Errorf("received %v, want %v", have, want)
	}
	if back := a.awaitMessages(1); back[0].Group != 78 {
		t.Errorf("received %v", back)
	}
	until(t, "the last write to be counted", func() bool { return a.Stats().Links[1].QueueBytes == 0 })
	s := a.Stats()
	if s.Unroutable != 4 || len(s.Links) != 2 || s.Links[1].Messages != 2 || s.Links[1].WriterStarts != 0 || s.Links[1].InlineWrites != 1 ||
		s.Links[1].QueueBytes != 0 || !s.Peers[0].Up || s.HeartbeatsIn == 0 || s.MessagesIn != 1 {
		t.Errorf("stats are %+v", s)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.who; w != a.cfg.Identity {
		t.Errorf("heartbeats come from %+v, want %+v", w, a.cfg.Identity)
	}
}

// TestMessagesOfOnePeerAreNeverReordered: many groups send at once, through connections that break again and again.
// Messages may be lost; what arrives of a group arrives in its order, and none twice.
func TestMessagesOfOnePeerAreNeverReordered(t *testing.T) {
	a, b := couple(t, nil)
	const groups, each = 6, 400
	var wg sync.WaitGroup
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			a.peer(2).links[frame.Bulk].Break()
			sent := a.Stats().Links[1].Messages
			until(t, "a few more messages", func() bool {
				select {
				case <-stop:
					return true
				default:
				}
				return a.Stats().Links[1].Messages > sent+30
			})
		}
	}()
	for g := range groups {
		wg.Go(func() {
			for i := range each {
				a.Enqueue(2, id.GroupID(g), app(i, make([]byte, i%50)))
				if i%2 == 0 {
					a.FlushAll()
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	for g := range groups { // after the last break something arrives
		until(t, "a last message", func() bool {
			a.Send(2, id.GroupID(g), app(each, nil))
			for _, gm := range b.received() {
				if gm.Group == id.GroupID(g) && gm.Message.Index == each {
					return true
				}
			}
			return false
		})
	}
	last := map[id.GroupID]int{}
	for _, gm := range b.received() {
		i := int(gm.Message.Index) + 1
		if i <= last[gm.Group] && i <= each {
			t.Fatalf("group %d: message %d after %d", gm.Group, i, last[gm.Group])
		}
		last[gm.Group] = i
	}
	if s := a.Stats(); s.Links[1].Connects < 2 || a.told("lost 2 bulk") == 0 {
		t.Errorf("the connection did not break: %+v", s)
	}
}

// Messages that came in one read are handed over in one call.
func TestBurstsAreHandedOverTogether(t *testing.T) {
	a, b := couple(t, nil)
	release := make(chan struct{})
	b.mu.Lock()
	b.onMsgs = func(id.NodeID, []GroupMessage) { <-release }
	b.mu.Unlock()
	a.Send(2, 1, app(0, nil))
	b.awaitMessages(1)
	for i := range 100 { // the reader is busy meanwhile
		a.Send(2, id.GroupID(i), app(i, nil))
	}
	s := a.Stats().Links[1]
	close(release)
	b.awaitMessages(101)
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.InlineWrites < 101 || b.bursts > 3 {
		t.Errorf("%d writes were read in %d bursts", s.InlineWrites, b.bursts)
	}
}

// A connection that takes an older one's place waits until what the older one had read is handled.
func TestANewConnectionWaitsForTheOldReader(t *testing.T) {
	a, b := couple(t, nil)
	release := make(chan struct{})
	b.mu.Lock()
	b.onMsgs = func(_ id.NodeID, ms []GroupMessage) {
		if ms[0].Message.Index == 1 {
			<-release
		}
	}
	b.mu.Unlock()
	a.Send(2, 1, app(1, nil))
	b.awaitMessages(1)
	a.peer(2).links[frame.Bulk].Break()
	until(t, "a new connection", func() bool { s := a.Stats().Links[1]; return s.Connected && s.Connects == 2 })
	a.Send(2, 1, app(2, nil))
	until(t, "the message to be sent", func() bool { return a.Stats().Links[1].QueueBytes == 0 })
	beats := func() int { b.mu.Lock(); defer b.mu.Unlock(); return b.beats }
	for n, more := beats(), 5; more > 0; more-- { // time passes
		until(t, "a heartbeat", func() bool { return beats() > n+5-more })
	}
	if got := b.received(); len(got) != 1 {
		t.Errorf("%d messages were handed over, while the first is still being handled", len(got))
	}
	close(release)
	if got := b.awaitMessages(2); got[1].Message.Index != 2 {
		t.Errorf("received %v", got)
	}
}

// TestQueueThatDropsTellsWhom: a follower that does not read must not stop the leader, and raft must hear what was dropped.
func TestQueueThatDropsTellsWhom(t *testing.T) {
	a, b := couple(t, func(c *Config) {
		c.MaxFrameBytes, c.BulkQueueBytes = 64<<10, 256<<10
		c.SocketSendBytes, c.SocketReceiveBytes = 16<<10, 16<<10
	})
	release := make(chan struct{})
	defer close(release)
	b.mu.Lock()
	b.onMsgs = func(_ id.NodeID, ms []GroupMessage) {
		if ms[0].Message.Type == pb.MsgApp {
			<-release
		}
	}
	b.mu.Unlock()
	dropped := func() (out []string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		for l := range a.lost {
			out = append(out, fmt.Sprint(l.Group, l.Replica, l.Has(pb.MsgApp)))
		}
		return out
	}
	until(t, "a drop", func() bool {
		a.Send(2, 9, app(1, make([]byte, 10_000)))
		return len(dropped()) > 0
	})
	if got := dropped(); len(got) != 1 || got[0] != "9 12 true" {
		t.Errorf("told of %v, want group 9, replica 12, MsgApp", got)
	}
	// The other class is not held up.
	a.Send(2, 10, []pb.Message{{Type: pb.MsgVote}})
	until(t, "a vote past the full queue", func() bool {
		got := b.received()
		return got[len(got)-1].Message.Type == pb.MsgVote
	})
	if s := a.Stats().Links[1]; s.Dropped == 0 || s.QueueBytes == 0 || s.WriterStarts == 0 {
		t.Errorf("stats %+v", s)
	}
}

// What is sent to a node that cannot be reached is dropped and told of, after a first attempt to reach it.
func TestNobodyThere(t *testing.T) {
	d := &dialer{}
	d.refuse.Store(true)
	cfg := testConfig(1)
	cfg.Dial = d.dial
	a := newNode(t, cfg)
	a.AddPeer(2, "127.0.0.1:9")
	a.Send(2, 1, app(1, nil)) // waits for the first dial
	if s := a.Stats().Links[1]; s.Dropped != 0 || s.QueueBytes == 0 {
		t.Errorf("before the first dial: %+v", s)
	}
	a.start(anywhere)
	a.await("lost 2 bulk")
	a.Send(2, 1, app(2, nil))
	until(t, "to be told of the drop", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return len(a.lost) == 1 })
	until(t, "more dials", func() bool { return d.dials.Load() > 10 })
	if s := a.Stats().Links[1]; s.Dropped != 2 || a.told("up ") > 0 || a.told("down") > 0 {
		t.Errorf("stats %+v, events %v", s, a.history())
	}
	// Once it is there, the link is made without anyone's doing.
	b := newNode(t, testConfig(2)).start(anywhere)
	d.refuse.Store(false)
	b.AddPeer(1, a.addr)
	a.SetAddr(2, b.addr)
	a.await("up 2")
	until(t, "messages pass", func() bool { a.Send(2, 1, app(3, nil)); return len(b.received()) > 0 })
}

// The address is resolved at each dial, and all that it stands for are tried.
func TestNamesAreResolvedAgain(t *testing.T) {
	var b *node
	var mu sync.Mutex
	var asked []string
	target := "127.0.0.1:1"
	cfg := testConfig(1)
	cfg.Resolve = func(_ context.Context, addr string) ([]string, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, addr)
		if len(asked) < 4 {
			return nil, errors.New("no such host")
		}
		return []string{"127.0.0.1:1", target}, nil
	}
	a := newNode(t, cfg).start(anywhere)
	a.AddPeer(2, "node2:5001")
	until(t, "a few dials", func() bool { mu.Lock(); defer mu.Unlock(); return len(asked) > 8 })
	b = newNode(t, testConfig(2)).start(anywhere)
	b.AddPeer(1, a.addr)
	mu.Lock()
	target = b.addr
	mu.Unlock()
	a.await("up 2")
	b.await("up 1")
	mu.Lock()
	defer mu.Unlock()
	if asked[0] != "node2:5001" {
		t.Errorf("asked for %q", asked)
	}
}

// An address that changes while the old one is being dialled: the connection with the old one does not stay.
func TestAddressChangesDuringTheDial(t *testing.T) {
	var a, b *node
	var proxied atomic.Int64
	cfg := testConfig(1)
	change := make(chan func(), 1)
	cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		if addr != b.addr {
			proxied.Add(1)
		}
		nc, err := dialTCP(ctx, addr)
		select {
		case f := <-change:
			f()
		default:
		}
		return nc, err
	}
	a = newNode(t, cfg).start(anywhere)
	b = newNode(t, testConfig(2)).start(anywhere)
	b.AddPeer(1, a.addr)
	p := newProxy(t, b.addr)
	change <- func() { a.SetAddr(2, b.addr) }
	a.AddPeer(2, p.ln.Addr().String())
	until(t, "connections with the new address only", func() bool {
		l := a.Stats().Links
		return l[0].Connected && l[1].Connected && proxied.Load() > 0 && p.open.Load() == 0
	})
}

func TestResolve(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:5", "[::1]:5"} {
		if got, err := resolve(t.Context(), addr); err != nil || len(got) != 1 || got[0] != addr {
			t.Errorf("%s: %v, %v", addr, got, err)
		}
	}
	if got, err := resolve(t.Context(), "nowhere"); err == nil {
		t.Errorf("an address without a port resolves to %v", got)
	}
}

// A change of address takes the connections along; a removed peer has none.
func TestPeersChange(t *testing.T) {
	a, b := couple(t, nil)
	p := newProxy(t, b.addr)
	a.SetAddr(2, b.addr) // no change
	if a.told("lost") != 0 {
		t.Error("the same address broke a connection")
	}
	a.AddPeer(2, p.ln.Addr().String())
	a.await("lost 2 bulk")
	until(t, "connections through the new address", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.ncs) == 2*frame.Lasting })
	until(t, "messages pass", func() bool { a.Send(2, 1, app(1, nil)); return len(b.received()) > 0 })
	b.RemovePeer(1)
	b.RemovePeer(1)
	a.await("refused 2 node 2 refuses the connection (unknown node): node 1 is no member that node 2 knows")
	b.Send(1, 1, app(1, nil))
	if s := b.Stats(); len(s.Links) != 0 || len(s.Peers) != 0 || s.Unroutable != 1 {
		t.Errorf("stats %+v", s)
	}
	b.AddPeer(1, a.addr)
	count := len(b.received())
	until(t, "messages pass again", func() bool { a.Send(2, 1, app(2, nil)); return len(b.received()) > count })
	until(t, "node 2 to be connected", func() bool { return b.Stats().Links[frame.Control].Connected })
	a.RemovePeer(2)
	until(t, "node 2 to miss node 1", func() bool { return b.told("lost 1 control") > 0 })
}

// A handler that steps raft answers on its own goroutine: a round trip wakes one goroutine on each side.
func TestRoundTripIsInline(t *testing.T) {
	a, b := couple(t, nil)
	var sent atomic.Int64
	b.mu.Lock()
	b.onMsgs = func(from id.NodeID, ms []GroupMessage) {
		for i := range ms {
			b.Enqueue(from, ms[i].Group, []pb.Message{{Type: pb.MsgAppResp, Index: ms[i].Message.Index}})
		}
		b.FlushAll()
		sent.Add(1)
	}
	b.mu.Unlock()
	for i := range 50 {
		a.Send(2, 1, app(i, []byte("data")))
		a.awaitMessages(i + 1)
	}
	for _, n := range []*node{a, b} {
		until(t, "the last write to be counted", func() bool { return n.Stats().Links[1].QueueBytes == 0 })
		if s := n.Stats().Links[1]; s.InlineWrites != 50 || s.WriterStarts != 0 || s.Frames != 50 {
			t.Errorf("node %d: %+v", n.id, s)
		}
	}
}
