package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/transport"
)

// A replica that comes when its leader's log does not begin at the beginning gets a snapshot, in one piece or streamed, and
// then what followed. One that cannot be stored is reported and sent again (failure 8: sent again and again until elections
// start; the pause is replica's).
func TestSnapshotToAFollowerBehindTheLogsStart(t *testing.T) {
	for _, c := range []struct {
		name           string
		stream, refuse bool
	}{{"whole", false, false}, {"streamed", true, false}, {"refused once", true, true}} {
		t.Run(c.name, func(t *testing.T) { snapshotTo(t, c.stream, c.refuse) })
	}
}

func snapshotTo(t *testing.T, stream, refuse bool) {
	c := newCluster(t, options{})
	change := func(m *machine) { m.stream, m.refuse = stream, refuse && m.node.id == 3 }
	for _, n := range c.nodes[:2] {
		n.addAs(1, change)
	}
	c.elect(1, 0)
	for i := range 20 {
		c.propose(1, fmt.Sprint(i))
	}
	c.same(1, 20, 0, 1)
	for _, n := range c.nodes[:2] {
		n.machines[1].checkpoint()
	}
	z := c.nodes[2].addAs(1, change)
	c.same(1, 20, 0, 1, 2)
	for i := range 5 {
		c.propose(1, fmt.Sprint(20+i))
	}
	c.same(1, 25, 0, 1, 2)
	z.group.Lock()
	restored := z.restored
	z.group.Unlock()
	if restored == 0 {
		t.Error("the replica has everything, and not by a snapshot")
	}
	if stored := z.stored.Load(); stream != (stored > 0) || refuse && stored < 2 {
		t.Errorf("%d snapshots were stored, streamed: %v, the first refused: %v", stored, stream, refuse)
	}
	var sent, failed uint64
	for _, n := range c.nodes {
		s := n.tr.Stats()
		sent, failed = sent+s.SnapshotsSent, failed+s.SnapshotsSendFailed
	}
	if sent == 0 || refuse && failed == 0 {
		t.Errorf("%d snapshots were sent, %d in vain", sent, failed)
	}
	until(t, "everybody to be quiet", func() bool { // the leader counts on the replica again
		for _, n := range c.nodes {
			if n.e.Stats().Ticking != 0 {
				return false
			}
		}
		return true
	})
}

// What cannot be taken is refused in words, before its data is read if that tells.
func TestSnapshotThatCannotBeTakenIsRefused(t *testing.T) {
	n := soloNode(t, New(Config{Node: 1}))
	n.add(1)
	snap := func(from, to uint64) pb.Message {
		return pb.Message{Type: pb.MsgSnap, From: from, To: to, Term: 5, Snapshot: &pb.Snapshot{Metadata: pb.SnapshotMetadata{
			Index: 10, Term: 4, ConfState: pb.ConfState{Voters: []uint64{11, 12, 13}}}}}
	}
	headless := snap(12, 11)
	headless.Snapshot = nil
	most := n.w.LargestBatch() / 2
	for _, c := range []struct {
		what  string
		from  id.NodeID
		group id.GroupID
		m     pb.Message
		bytes int64
		want  string
	}{
		{"of a group that is not here", 2, 9, snap(92, 91), 0, "is not here"},
		{"for another replica", 2, 1, snap(12, 10), 0, "is not here"},
		{"from where it cannot come from", 3, 1, snap(12, 11), 0, "is not on node 3"},
		{"without a snapshot", 2, 1, headless, 0, "without a snapshot"},
		{"too large", 2, 1, snap(12, 11), most + 1, "the WAL takes no more"},
	} {
		data := bytes.NewReader(make([]byte, c.bytes))
		err := n.e.Snapshot(c.from, transport.GroupMessage{Group: c.group, Message: c.m}, data)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		}
	}
	if term := n.e.Group(1).Status().Term; term != 0 {
		t.Errorf("the group is in term %d, of a snapshot that was refused", term)
	}
}

// The two ends of a snapshot's source may meet: the link goes while it is read, or before.
func TestSnapshotSourceIsOpenedOnceAndClosed(t *testing.T) {
	opened, closed := 0, 0
	open := func() (io.ReadCloser, error) {
		opened++
		return &closer{strings.NewReader("data"), &closed}, nil
	}
	s := &source{open: open}
	if b, err := io.ReadAll(s); string(b) != "data" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if opened != 1 || closed != 1 {
		t.Errorf("opened %d times and closed %d times", opened, closed)
	}
	unread := &source{open: open}
	if err := unread.Close(); err != nil {
		t.Error(err)
	}
	if _, err := unread.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) || opened != 1 {
		t.Errorf("read after it was closed: %v, opened %d times", err, opened)
	}
}

type closer struct {
	io.Reader
	closed *int
}

func (c *closer) Close() error { *c.closed++; return nil }
