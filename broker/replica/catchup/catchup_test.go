package catchup

import (
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
)

// host is a node's log and clock, by hand.
type host struct {
	now, writes, ns, bytes uint64
}

func (h *host) governor(least int64) *Governor {
	return New(Config{LeastBytesPerSecond: least, Now: func() int64 { return int64(h.now) },
		WAL: func() (uint64, uint64, uint64) { return h.writes, h.ns, h.bytes }})
}

// pass lets time go by, a millisecond at a time, in which the log writes once, taking so many ns, and whoever may send does so.
// It returns the bytes that were sent.
func (h *host) pass(v *Governor, ms int, took uint64, message int) (sent int) {
	for range ms {
		h.now += 1e6
		h.writes, h.ns, h.bytes = h.writes+1, h.ns+took, h.bytes+4096
		for message > 0 && sent < 1<<36 && v.May() {
			v.Spend(message)
			sent += message
		}
	}
	return sent
}

const (
	mib   = 1 << 20
	least = 64 * mib
)

// What is sent in a second follows what users feel: more and more while the log is as fast as ever, no more than the least while it is not.
func TestRateFollowsTheLog(t *testing.T) {
	h := &host{now: 1e9}
	v := h.governor(least)
	h.pass(v, 5000, 100_000, 0) // what is usual
	slow := h.pass(v, 1000, 400_000, mib)
	if slow < least*9/10 || slow > least*12/10 {
		t.Errorf("%d bytes in a second in which the log is slow, want about %d", slow, least)
	}
	fast := h.pass(v, 1000, 110_000, mib)
	if fast < 2*least {
		t.Errorf("%d bytes in a second in which the log is as fast as ever, want more than %d", fast, 2*least)
	}
	if again := h.pass(v, 1000, 400_000, mib); again > fast {
		t.Errorf("%d bytes in the second in which the log became slow, %d in the one before", again, fast)
	}
	if last := h.pass(v, 1000, 400_000, mib); last > least*12/10 {
		t.Errorf("%d bytes in a second in which the log is slow again, want about %d", last, least)
	}
}

// The usual is what the log does while nobody is caught up: being slow for minutes on end does not make it usual.
func TestUsualIsWithoutCatchingUp(t *testing.T) {
	h := &host{now: 1e9}
	v := h.governor(least)
	h.pass(v, 5000, 100_000, 0)
	for range 5 {
		h.pass(v, 10_000, 400_000, mib)
		h.now += restNS + 1
	}
	if slow := h.pass(v, 1000, 400_000, mib); slow > least*12/10 {
		t.Errorf("%d bytes in a second after five times being slow, want about %d", slow, least)
	}
}

// A log that hardly writes says nothing, and nobody waits for it.
func TestNobodyWaits(t *testing.T) {
	h := &host{now: 1e9}
	v := h.governor(least)
	sent := 0
	for range 2000 {
		h.now += 1e6
		for v.May() {
			v.Spend(mib)
			sent += mib
		}
	}
	if sent < 4*least {
		t.Errorf("%d bytes in two seconds", sent)
	}
}

// What is written meanwhile has to be sent as well, or a replica would never catch up.
func TestRateIsAboveWhatIsWritten(t *testing.T) {
	h := &host{now: 1e9}
	v := h.governor(mib)
	sent, written := 0, h.bytes
	for range 2000 {
		h.now += 1e6
		h.writes, h.ns, h.bytes = h.writes+1, h.ns+9e6, h.bytes+200*1024 // 200 MB/s, and slow
		for v.May() {
			v.Spend(mib)
			sent += mib
		}
	}
	if w := h.bytes - written; float64(sent) < 1.2*float64(w) {
		t.Errorf("%d bytes were sent while %d were written", sent, w)
	}
}

func TestWithoutPace(t *testing.T) {
	for _, v := range []*Governor{nil, (&host{}).governor(-1), (&host{}).governor(0)} {
		v.Spend(1 << 40)
		if !v.May() {
			t.Error("somebody must wait")
		}
	}
}

func app(to, prev uint64, entries, bytes int) *pb.Message {
	m := &pb.Message{Type: pb.MsgApp, To: to, Index: prev}
	for i := range entries {
		m.Entries = append(m.Entries, pb.Entry{Index: prev + 1 + uint64(i), Data: make([]byte, bytes)})
	}
	return m
}

func answer(from, index uint64) *pb.Message {
	return &pb.Message{Type: pb.MsgAppResp, From: from, Index: index}
}

// Answers of who is far behind are kept when the pace is spent, come back in order, and only as the pace allows.
func TestGateKeepsAnswersInOrder(t *testing.T) {
	h := &host{now: 1e9}
	g := Gate{Governor: h.governor(10 * mib)}
	for i := range uint64(3) {
		g.Sent(app(2, 100+i*16, 16, 64<<10), 1000) // lacks 56 MiB
	}
	g.Sent(app(3, 990, 1, 64<<10), 1000) // lacks ten entries
	if !g.Far(2) || g.Far(3) {
		t.Fatalf("far behind: 2 %t, 3 %t", g.Far(2), g.Far(3))
	}
	if g.Keeps(answer(3, 991)) {
		t.Error("an answer of who is hardly behind was kept")
	}
	if reject := (&pb.Message{Type: pb.MsgAppResp, From: 2, Index: 100, Reject: true}); g.Keeps(reject) {
		t.Error("a refusal was kept")
	}
	for i := range uint64(3) {
		if !g.Keeps(answer(2, 116+16*i)) {
			t.Fatalf("answer %d was not kept, although the pace is spent", i)
		}
	}
	var got []uint64
	for range 1000 {
		h.now += 1e6
		if m, ok := g.Next(false); ok {
			got = append(got, m.Index)
			g.Sent(app(2, m.Index+32, 16, 64<<10), 1000)
		}
	}
	if len(got) != 3 || got[0] != 116 || got[1] != 132 || got[2] != 148 {
		t.Errorf("answers %v came back", got)
	}
	if g.Keeping() {
		t.Error("an answer is still kept")
	}
}

// Who is needed gets everything at once, and a group that leads no more forgets.
func TestGateLetsAllGo(t *testing.T) {
	h := &host{now: 1e9}
	g := Gate{Governor: h.governor(mib)}
	g.Sent(app(2, 100, 16, 64<<10), 1000)
	g.Keeps(answer(2, 116))
	g.Keeps(answer(2, 132))
	if _, ok := g.Next(false); ok {
		t.Error("an answer came back before its time")
	}
	if m, ok := g.Next(true); !ok || m.Index != 116 {
		t.Errorf("%v, %t", m.Index, ok)
	}
	g.Clear()
	if g.Keeping() || g.Far(2) {
		t.Error("something is remembered")
	}
}

// Once it lacks little, it is like any other.
func TestGateEndsWithTheDistance(t *testing.T) {
	h := &host{now: 1e9}
	g := Gate{Governor: h.governor(mib)}
	g.Sent(app(2, 100, 16, 64<<10), 1000)
	g.Sent(app(2, 950, 16, 64<<10), 1000)
	if g.Far(2) || g.Keeps(answer(2, 966)) {
		t.Error("it still counts as far behind")
	}
}
