package replica_test

import (
	"fmt"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica"
)

// The default configuration's times in ticks of 10 ms, and nodes 200 ms from each other, there and back.
const (
	farElection, farHeartbeat = 100, 25
	farTrip                   = 20
)

// farNet is a net whose messages take half of farTrip.
type farNet struct {
	*net
	now   int
	later []parcel
}

type parcel struct {
	pb.Message
	due int
}

func newFarNet(t *testing.T, voters int, far func() int) *farNet {
	n := &net{t: t, tune: func(c *replica.Config) {
		c.ElectionTicks, c.HeartbeatTicks, c.QuietTicks, c.Far = farElection, farHeartbeat, farElection, far
	}}
	return &farNet{net: n.open(voters)}
}

// tick is net.tick, but what is sent is not there at once.
func (f *farNet) tick() {
	f.t.Helper()
	f.now++
	for _, p := range f.all() {
		if !p.asleep && !f.cut[p.id] {
			p.group.Tick()
		}
	}
	for range 1000 {
		for _, p := range f.all() {
			p.wal.Drive()
		}
		for _, m := range f.queue {
			f.later = append(f.later, parcel{m, f.now + farTrip/2})
		}
		f.queue = nil
		if len(f.later) == 0 || f.later[0].due > f.now {
			return
		}
		m := f.later[0].Message
		f.later = f.later[1:]
		f.deliver(m)
	}
	f.t.Fatal("the network does not come to rest")
}

// TestNoElectionFromAfar: as long as its leader lives a group has no other, under load, at rest, and when it wakes.
func TestNoElectionFromAfar(t *testing.T) {
	f := newFarNet(t, 3, func() int { return farTrip })
	p := f.elect(1)
	term := p.group.Status().Term
	for i := range 3000 {
		if i/500%2 == 0 && i%3 == 0 || i == 1700 {
			f.mustPropose(p, "x")
		}
		if f.tick(); p.group.Status().Term != term || !p.group.Status().IsLead {
			t.Fatalf("tick %d: %+v, want the leader of term %d", i, p.group.Status(), term)
		}
	}
}

// TestFailoverFromAfar: a leader that dies is replaced by one election, which takes two round trips from when the last survivor that is
// needed has heard of the death, whoever hears of it first.
func TestFailoverFromAfar(t *testing.T) {
	for _, voters := range []int{3, 5} {
		for old := 1; old <= voters; old++ {
			for first := 1; first <= voters; first++ {
				for _, ahead := range []int{0, farTrip / 2, farTrip * 3 / 4} {
					if first != old {
						t.Run(fmt.Sprintf("%d of %d, %d hears %d ticks before the others", old, voters, first, ahead), func(t *testing.T) {
							f := newFarNet(t, voters, func() int { return farTrip })
							f.failover(id.ReplicaID(old), id.ReplicaID(first), ahead)
						})
					}
				}
			}
		}
	}
}

func (f *farNet) failover(old, first id.ReplicaID, ahead int) {
	p := f.elect(old)
	for range 3 * farTrip {
		f.tick()
	}
	term := p.group.Status().Term
	f.cut[old] = true
	f.peers[first].group.PeersDown([]id.ReplicaID{old})
	for range ahead {
		f.tick()
	}
	for _, q := range f.all() {
		if q.id != old && q.id != first {
			q.group.PeersDown([]id.ReplicaID{old})
		}
	}
	ticks := 0
	for ; f.leader().group.Status().Term == term; ticks++ {
		if ticks > farElection {
			f.t.Fatalf("no new leader after %d ticks", ticks)
		}
		f.tick()
	}
	if got := f.leader().group.Status().Term; got != term+1 {
		f.t.Errorf("term %d, it was %d before: %d elections, want one", got, term, got-term)
	}
	if most := 2*farTrip + 1; ticks > most {
		f.t.Errorf("%d ticks, want at most %d", ticks, most)
	}
	f.t.Logf("%d ticks, %d elections", ticks, f.leader().group.Status().Term-term)
}
