// Package spread says where records go: which connections serve which partitions, and which partition a record's key chooses.
//
// The problem: with keys that choose partitions, a hot key makes a hot partition, and that is what such a load is for. So nothing here may
// even out what the keys do: each producer draws its records one after the other, and a record goes where its key says, with one
// connection or many, whichever partition has room. A producer therefore has to reach every partition, of every leader.
package spread

import (
	"fmt"
	"slices"

	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/workload"
)

// ledBy sorts partitions by who leads them, leaders in the order in which they come.
func ledBy(partitions []cluster.Partition) (byLeader [][]int32) {
	var leaders []int32
	for _, p := range partitions {
		i := slices.Index(leaders, p.Leader)
		if i < 0 {
			i = len(leaders)
			leaders, byLeader = append(leaders, p.Leader), append(byLeader, nil)
		}
		byLeader[i] = append(byLeader[i], p.ID)
	}
	return byLeader
}

// Deal gives each of n connections the partitions that it serves, all of one leader. Leaders are taken in turn; so are a
// leader's partitions by its connections.
func Deal(n int, partitions []cluster.Partition) [][]int32 { return deal(n, 1, ledBy(partitions)) }

// deal deals to the connections of every one of so many threads by themselves; connection i is of thread i modulo threads.
func deal(n, threads int, byLeader [][]int32) [][]int32 {
	out := make([][]int32, n)
	for i := range n {
		c := i / threads // of the thread's own
		own := (n - i%threads + threads - 1) / threads
		l, rank := c%len(byLeader), c/len(byLeader)
		peers := (own - l + len(byLeader) - 1) / len(byLeader) // its connections to this leader
		mine := byLeader[l]
		for j := rank % len(mine); j < len(mine); j += peers {
			out[i] = append(out[i], mine[j])
		}
	}
	return out
}

// DealKeyed is Deal for producers that each reach every partition: a thread is a producer, and connection i is of thread i modulo used. There are
// fewer than so many threads where the connections do not suffice. alone: a connection serves one partition only.
func DealKeyed(n, threads int, alone bool, partitions []cluster.Partition) (shares [][]int32, used int, err error) {
	byLeader := ledBy(partitions)
	each := len(byLeader) // connections that a producer needs
	if alone {
		for _, mine := range byLeader {
			each = max(each, len(mine)*len(byLeader))
		}
	}
	if n < each {
		return nil, 0, fmt.Errorf("partition-by key with %d connections: a producer has to reach every partition, and for %d partitions of %d leaders that takes %d: want --connections %d or more",
			n, len(partitions), len(byLeader), each, each)
	}
	used = min(threads, n/each)
	return deal(n, used, byLeader), used, nil
}

// Drawer draws a producer's records, one after the other. Used by one goroutine.
type Drawer struct {
	payloads   *frame.Payloads
	partitions []int32 // how many each topic has
	places     []int32 // of each topic's first
	next, step uint64
	key        [workload.KeyBytes]byte
}

// NewDrawer returns producer number i of so many, which take turns with the run's draws.
func NewDrawer(p *frame.Payloads, t cluster.Topic, i, producers int) *Drawer {
	d := &Drawer{payloads: p, next: uint64(i), step: uint64(producers)}
	topics := t.Topics()
	d.partitions, d.places = make([]int32, len(topics)), make([]int32, len(topics))
	for _, p := range slices.Backward(t.Partitions) {
		index := topics.Index(p.ID)
		d.partitions[index]++
		d.places[index] = p.ID
	}
	return d
}

// Draw returns the number of the next draw and the place that its record goes to: of several topics each as likely as any other, whatever the
// key, and of that topic's partitions the one that the key chooses.
func (d *Drawer) Draw() (draw uint64, at int32) {
	draw = d.next
	d.next += d.step
	topic := 0
	if n := len(d.partitions); n > 1 {
		topic = int(workload.Mix(draw^workload.Mix(d.payloads.Run())) % uint64(n))
	}
	key := d.payloads.DrawnKey(d.key[:0], draw)
	return draw, d.places[topic] + workload.Partition(key, d.partitions[topic])
}
