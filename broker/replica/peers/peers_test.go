package peers_test

import (
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/replica/peers"
)

func book() *peers.Book {
	var b peers.Book
	b.Reset([]uint64{1, 2, 3}, 1)
	return &b
}

func empty(commit uint64) *pb.Message { return &pb.Message{Type: pb.MsgApp, To: 2, Commit: commit} }

func full(commit uint64) *pb.Message {
	m := empty(commit)
	m.Entries = []pb.Entry{{Index: commit + 1}}
	return m
}

// due is the commit indexes that must go alone within n ticks, at a bound of two.
func due(b *peers.Book, n int) (commits []uint64) {
	for range n {
		for _, m := range b.Tick(2, nil) {
			commits = append(commits, m.Commit)
		}
	}
	return commits
}

func TestCommitIndexWaitsForARide(t *testing.T) {
	for _, c := range []struct {
		name  string
		ride  func(p *peers.Peer)
		alone int
	}{
		{"nothing comes", func(*peers.Peer) {}, 1},
		{"an append comes", func(p *peers.Peer) {
			if !p.Appends(full(7)) {
				t.Error("an append with entries was held back")
			}
		}, 0},
		{"a heartbeat comes", func(p *peers.Peer) { p.Beats(&pb.Message{Commit: 7}) }, 0},
		{"a heartbeat that knows less comes", func(p *peers.Peer) { p.Beats(&pb.Message{Commit: 6}) }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := book()
			p := b.Of(2)
			if p.Appends(empty(7)) {
				t.Fatal("an append without entries was not held back")
			}
			if got := due(b, 1); len(got) != 0 {
				t.Fatalf("%v went after one tick of two", got)
			}
			c.ride(p)
			if got := due(b, 5); len(got) != c.alone || c.alone == 1 && got[0] != 7 {
				t.Fatalf("commit indexes %v went alone, want %d", got, c.alone)
			}
		})
	}
}

func TestNewestCommitIndexIsHeld(t *testing.T) {
	b := book()
	b.Of(2).Appends(empty(7))
	b.Of(2).Appends(empty(9))
	if got := due(b, 5); len(got) != 1 || got[0] != 9 {
		t.Fatalf("%v went alone, want 9 only", got)
	}
}

// TestAnswersGoAtOnce: appends without entries that find out what was lost. Only one, only to who asked, only now.
func TestAnswersGoAtOnce(t *testing.T) {
	for _, asked := range []pb.Message{{Type: pb.MsgHeartbeatResp, From: 2}, {Type: pb.MsgAppResp, From: 2, Reject: true}} {
		b := book()
		b.Received(&asked)
		if b.Of(3).Appends(empty(7)) {
			t.Fatalf("%v from 2: an append to 3 went at once", asked.Type)
		}
		if !b.Of(2).Appends(empty(7)) {
			t.Fatalf("%v from 2: the answer was held back", asked.Type)
		}
		if b.Of(2).Appends(empty(8)) {
			t.Fatalf("%v from 2: a second append went at once", asked.Type)
		}
		b.Received(&asked)
		b.Answered()
		if b.Of(2).Appends(empty(8)) {
			t.Fatalf("%v from 2: an append went at once when all was answered", asked.Type)
		}
	}
	b := book()
	b.Received(&pb.Message{Type: pb.MsgAppResp, From: 2})
	if b.Of(2).Appends(empty(7)) {
		t.Fatal("an acknowledgement was answered with a commit index alone")
	}
}

func TestResetForgets(t *testing.T) {
	b := book()
	b.Of(2).Appends(empty(7))
	b.Of(2).Knows = 5
	b.Reset([]uint64{1, 2, 4}, 1)
	if got := due(b, 5); len(got) != 0 || b.Of(2).Knows != 0 || b.Of(3) != nil || b.Of(1) != nil || b.Of(4) == nil {
		t.Fatalf("after a reset %v went and the peers are %+v", got, b.All())
	}
}

func TestPaceOfSnapshots(t *testing.T) {
	wait := func(p *peers.Pace) (n int) {
		for !p.May() {
			p.Tick()
			n++
		}
		return n
	}
	var p peers.Pace
	if got := wait(&p); got != 0 {
		t.Fatalf("the first snapshot waits %d ticks", got)
	}
	for i, want := range []int{10, 20, 40, 80, 160, 320, 640, 1000, 1000} {
		p.Sent(i > 0)
		if got := wait(&p); got != want {
			t.Fatalf("snapshot %d, in vain, is followed by %d ticks, want %d", i, got, want)
		}
	}
	p.Sent(false)
	p.Tick()
	p.Failed()
	if got := wait(&p); got != 10 {
		t.Fatalf("one that helped and failed on the way is followed by %d ticks, want 10", got)
	}
}
