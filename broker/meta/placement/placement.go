// Package placement decides which nodes hold which replicas. A bad choice is paid for later: replicas that share a zone
// die together, and a node that leads too much is where the latency comes from.
package placement

import (
	"cmp"
	"fmt"
	"slices"

	"ackline/broker/id"
)

// Candidate is a node that may get replicas, with what is on it already.
type Candidate struct {
	Node         id.NodeID
	Region, Zone string // a zone is told by both: two regions may each have a zone "a"
	Replicas     int    // placed on the node
	Leaders      int    // of these, preferred leaders
}

// Place decides which nodes hold the replicas of new partitions: a row per partition, the preferred leader first. It is
// a pure function: equal arguments, in any order, give equal rows.
//
// Partitions are placed one after another. The leader goes to the node that leads least; each further replica to a
// region with the fewest replicas of this partition, there to the zone with the fewest, there to the node that holds
// least. Failure domains come before balance: the one node of a small zone gets a replica of every partition, because
// a partition whose replicas share a zone dies with it.
func Place(candidates []Candidate, partitions, replication int) ([][]id.NodeID, error) {
	if replication < 1 || replication > len(candidates) {
		return nil, fmt.Errorf("replication factor %d, want 1 to %d, the number of nodes", replication, len(candidates))
	}
	nodes := slices.Clone(candidates)
	slices.SortFunc(nodes, func(a, b Candidate) int { return cmp.Compare(a.Node, b.Node) })
	rows := make([][]id.NodeID, partitions)
	for i := range rows {
		rows[i] = placeOne(nodes, replication)
	}
	return rows, nil
}

type zone struct{ region, zone string }

// placeOne places one partition and adds it to what the nodes hold.
func placeOne(nodes []Candidate, replication int) []id.NodeID {
	inRegion, inZone, taken := map[string]int{}, map[zone]int{}, map[id.NodeID]bool{}
	row := make([]id.NodeID, 0, replication)
	for len(row) < replication {
		best := -1
		for i := range nodes {
			n := &nodes[i]
			if taken[n.Node] {
				continue
			}
			if best < 0 {
				best = i
				continue
			}
			b := &nodes[best]
			var order int
			if len(row) == 0 {
				order = cmp.Or(cmp.Compare(n.Leaders, b.Leaders), cmp.Compare(n.Replicas, b.Replicas))
			} else {
				order = cmp.Or(
					cmp.Compare(inRegion[n.Region], inRegion[b.Region]),
					cmp.Compare(inZone[zone{n.Region, n.Zone}], inZone[zone{b.Region, b.Zone}]),
					cmp.Compare(n.Replicas, b.Replicas),
					cmp.Compare(n.Leaders, b.Leaders))
			}
			if order < 0 { // nodes ascend, so that a tie goes to the lower id
				best = i
			}
		}
		n := &nodes[best]
		if len(row) == 0 {
			n.Leaders++
		}
		n.Replicas++
		inRegion[n.Region]++
		inZone[zone{n.Region, n.Zone}]++
		taken[n.Node] = true
		row = append(row, n.Node)
	}
	return row
}

// Lead returns rows whose first node, which is meant to lead, is in a region or zone, as far as a row has such a node; the rest keep
// their order. Without a region rows are as they were. Rows that are passed in are not changed.
func Lead(rows [][]id.NodeID, candidates []Candidate, region string) [][]id.NodeID {
	if region == "" {
		return rows
	}
	out := make([][]id.NodeID, len(rows))
	for i, row := range rows {
		at := slices.IndexFunc(row, func(n id.NodeID) bool {
			return slices.ContainsFunc(candidates, func(c Candidate) bool { return c.Node == n && (c.Region == region || c.Zone == region) })
		})
		out[i] = slices.Clone(row)
		if at > 0 {
			out[i] = slices.Insert(slices.Delete(out[i], at, at+1), 0, row[at])
		}
	}
	return out
}
