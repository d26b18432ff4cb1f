package sim

import (
	"fmt"
	"slices"

	"ackline/broker/id"
	"ackline/broker/replica/membership"
	"ackline/broker/sim/model"
)

// part is what the cluster knows of one partition. hosted and newest are what the metadata group would keep.
type part struct {
	truth  *model.Truth
	hosted []id.ReplicaID // by node: 0 for none
	homes  []int          // by replica: the node it was made for
	confs  map[id.Index]membership.Members
}

func groupID(g int) id.GroupID    { return id.GroupID(100 + g) }
func groupIndex(g id.GroupID) int { return int(g) - 100 }
func groupDir(g int) string       { return fmt.Sprintf("/groups/%d", groupID(g)) }

func newPart(g, nodes int) *part {
	p := &part{truth: model.NewTruth(), hosted: make([]id.ReplicaID, nodes), homes: []int{-1},
		confs: map[id.Index]membership.Members{0: {Voters: []id.ReplicaID{1, 2, 3}}}}
	for i := range 3 {
		p.host((g + i) % nodes)
	}
	return p
}

// host makes a new replica for a node.
func (p *part) host(node int) id.ReplicaID {
	r := id.ReplicaID(len(p.homes))
	p.homes = append(p.homes, node)
	p.hosted[node] = r
	return r
}

// nodeOf is where a replica is, -1 if it is nowhere any more.
func (p *part) nodeOf(r id.ReplicaID) int {
	if int(r) >= len(p.homes) || p.hosted[p.homes[r]] != r {
		return -1
	}
	return p.homes[r]
}

// configured takes a configuration that a replica has from an entry.
func (p *part) configured(r id.ReplicaID, at id.Index, ms membership.Members) error {
	known, ok := p.confs[at]
	if !ok {
		p.confs[at] = ms
		return nil
	}
	if !slices.Equal(known.Voters, ms.Voters) || !slices.Equal(known.Outgoing, ms.Outgoing) || !slices.Equal(known.Learners, ms.Learners) {
		return fmt.Errorf("replica %d has the configuration %+v as of %d, another has %+v", r, ms, at, known)
	}
	return nil
}

func named(ms membership.Members, r id.ReplicaID) bool {
	return slices.Contains(slices.Concat(ms.Voters, ms.Outgoing, ms.Learners, ms.Next), r)
}
