package catchup

import (
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
)

// Gate is a group's. The zero value paces nobody. It belongs to who has the group's lock.
type Gate struct {
	Governor *Governor

	far  []uint64 // who lacks more than Config.FarBytes
	held []pb.Message
}

// Sent looks at an append that leaves for another replica, of a group whose commit index is commit.
func (g *Gate) Sent(m *pb.Message, commit id.Index) {
	if g.Governor == nil || len(m.Entries) == 0 {
		return
	}
	bytes := 0
	for i := range m.Entries {
		bytes += len(m.Entries[i].Data)
	}
	// What it lacks is taken to be like what it is sent.
	lacks := 0
	if uint64(commit) > m.Index {
		lacks = int(uint64(commit)-m.Index) * bytes / len(m.Entries)
	}
	far, i := lacks > g.Governor.cfg.FarBytes, slices.Index(g.far, m.To)
	switch {
	case far && i < 0:
		g.far = append(g.far, m.To)
	case !far && i >= 0:
		g.far = slices.Delete(g.far, i, i+1)
	}
	if far {
		g.Governor.Spend(bytes)
	}
}

// Far tells whether a replica is far behind.
func (g *Gate) Far(r uint64) bool { return slices.Contains(g.far, r) }

// Keeps tells whether an answer is kept for later. The message is the gate's then.
func (g *Gate) Keeps(m *pb.Message) bool {
	if m.Type != pb.MsgAppResp || m.Reject || !g.Far(m.From) {
		return false
	}
	if len(g.held) == 0 && g.Governor.May() {
		return false
	}
	g.held = append(g.held, *m)
	return true
}

// Keeping tells whether an answer is kept.
func (g *Gate) Keeping() bool { return len(g.held) > 0 }

// Next takes out the oldest answer, if there is one and more may be sent. all: whether or not it may.
func (g *Gate) Next(all bool) (m pb.Message, ok bool) {
	if len(g.held) == 0 || !all && !g.Governor.May() {
		return m, false
	}
	m = g.held[0]
	g.held = slices.Delete(g.held, 0, 1)
	return m, true
}

// Clear forgets everything, of a group that does not lead.
func (g *Gate) Clear() {
	clear(g.held)
	g.held, g.far = g.held[:0], g.far[:0]
}
