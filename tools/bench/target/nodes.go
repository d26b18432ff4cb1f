package target

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ackline/loadgen/client/sock"
	"ackline/loadgen/cluster"
)

// Nodes are brokers, and a topic whose first partition decides which of them is meant when it is asked who leads. Its methods are what
// happens to nodes that are killed, stopped or paused and return.
type Nodes struct {
	*Brokers
	Topic   string
	Timeout time.Duration // of a question to the cluster
	Way     sock.Way      // to them; nil: as addresses say
}

// Leads is the number of the node that leads.
func (n Nodes) Leads(ctx context.Context) (int, error) {
	if len(n.Nodes) == 1 {
		return 0, nil
	}
	c, err := cluster.New(n.Addrs(), n.Timeout)
	if err != nil {
		return 0, err
	}
	t, err := c.Through(n.Way).Topic(ctx, n.Topic)
	if err != nil {
		return 0, err
	}
	lead := int(t.Partitions[0].Leader) - 1
	if lead < 0 || lead >= len(n.Nodes) {
		return 0, fmt.Errorf("partition 0 is led by node %d, there are %d", lead+1, len(n.Nodes))
	}
	return lead, nil
}

// leaderPoll is how often it is asked who leads.
const leaderPoll = 20 * time.Millisecond

// Leader is Leads, asked until somebody knows: a node that has just come back may not.
func (n Nodes) Leader(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	for {
		lead, err := n.Leads(ctx)
		if !errors.Is(err, cluster.ErrNoLeader) {
			return lead, err
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(leaderPoll):
		}
	}
}

// Led is how many partitions a node leads.
func (n Nodes) Led(ctx context.Context, i int) (int, error) {
	m, err := n.Nodes[i].Metrics(ctx)
	return int(m.Values[RaftLeaders]), err
}

// Behind is how many entries the replica lacks that is furthest behind, of all that a node leads.
func (n Nodes) Behind(ctx context.Context, i int) (int64, error) {
	m, err := n.Nodes[i].Metrics(ctx)
	return int64(m.Values[RaftBehind]), err
}

// Election is the longest election time-out that any node has in force.
func (n Nodes) Election(ctx context.Context) (time.Duration, error) {
	all, err := n.Metrics(ctx)
	longest := 0.0
	for _, m := range all {
		longest = max(longest, m.Values[RaftElection])
	}
	return time.Duration(longest * 1e9), err
}

// Kill is kill -9 of one node.
func (n Nodes) Kill(i int) { n.Nodes[i].Kill() }

// Stop asks one node to end and waits until it has.
func (n Nodes) Stop(i int) error { return n.Nodes[i].Stop(StopTimeout) }

// Await waits until a node does all that clients ask of it.
func (n Nodes) Await(ctx context.Context, i int) error { return n.Nodes[i].AwaitReady(ctx) }

// Settle makes all nodes but one, which is not there, write what they owe the disk.
func (n Nodes) Settle(ctx context.Context, but int) error {
	return n.each(func(i int) error {
		if i == but {
			return nil
		}
		return n.Nodes[i].Checkpoint(ctx)
	})
}
