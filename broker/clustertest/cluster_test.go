package clustertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// cluster is several brokers with one topic under load.
type cluster struct {
	t     *testing.T
	dir   string
	nodes []*node  // node i has the id i+1
	net   *network // nil: the nodes reach one another directly, so that a dead one's port refuses

	diagnosed sync.Once
	clients   []*tail // of what they said; appended by the test's goroutine
}

// settings are a node's configuration for these tests: small files, and the shortest times that a loaded machine keeps.
const settings = `
[wal]
ring_bytes = 16777216
sync_method = "buffered-fdatasync"
[cluster]
name = "clustertest"
`

// impatient shortens how long a node that says nothing is believed, for tests that wait until it is not.
const impatient = `
election_ms = 500
dead_after_ms = 400
heartbeat_interval_ms = 50
`

// newCluster starts n nodes and waits until they are one cluster.
func newCluster(t *testing.T, n int, more string) *cluster {
	t.Helper()
	return describe(t, n, more, false).start()
}

// newRelayedCluster is a cluster whose links can be cut.
func newRelayedCluster(t *testing.T, n int, more string) *cluster {
	t.Helper()
	return describe(t, n, more, true).start()
}

func (c *cluster) start() *cluster {
	c.t.Helper()
	for _, n := range c.nodes {
		n.start()
	}
	c.ready()
	return c
}

// describe says what the nodes will be.
func describe(t *testing.T, n int, more string, relayed bool) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir()}
	config := filepath.Join(c.dir, "broker.toml")
	if err := os.WriteFile(config, []byte(settings+more), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= n; i++ {
		c.nodes = append(c.nodes, newNode(c, i, config))
	}
	if relayed {
		c.net = newNetwork(t)
	}
	for _, n := range c.nodes {
		var peers []string
		for _, p := range c.nodes {
			if p == n {
				continue
			}
			addr := p.raft
			if relayed {
				addr = c.net.connect(way{n.id, p.id}, p.raft)
			}
			peers = append(peers, fmt.Sprintf("%d@%s", p.id, addr))
		}
		n.args = append(n.args, "--peers", strings.Join(peers, ","))
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			if t.Failed() && n.proc != nil {
				t.Logf("node %d said:\n%s", n.id, n.proc.log)
			}
		}
	})
	return c
}

// running are the nodes that have a process, but some.
func (c *cluster) running(but ...*node) (list []*node) {
	for _, n := range c.nodes {
		if n.proc != nil && !slices.Contains(but, n) {
			list = append(list, n)
		}
	}
	return list
}

// ready waits until every running node is, but some.
func (c *cluster) ready(but ...*node) {
	c.t.Helper()
	for _, n := range c.running(but...) {
		reason := ""
		deadline := time.Now().Add(patience)
		for ok := false; !ok; time.Sleep(5 * time.Millisecond) {
			if ok, reason = n.ready(); !ok && time.Now().After(deadline) {
				c.t.Fatalf("node %d is not ready after %v: %s", n.id, patience, reason)
			}
			select {
			case <-n.proc.exited:
				c.t.Fatalf("node %d has ended: %s", n.id, n.proc.log)
			default:
			}
		}
	}
}

func (c *cluster) node(id int) *node { return c.nodes[id-1] }

// others are the nodes but one.
func (c *cluster) others(id int) (list []int) {
	for _, n := range c.nodes {
		if n.id != id {
			list = append(list, n.id)
		}
	}
	return list
}

// client returns a client that looks for another leader at once, and is configured as clients of brokers that may be killed are:
// franz-go takes an end of file before a connection's first answer for a wrong protocol, and gives up, unless it is told to try
// again. A broker that stops avoids that; the kernel of one that was killed between a request and its answer does not.
func (c *cluster) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	seeds := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		seeds[i] = n.kafka
	}
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(seeds...), kgo.AlwaysRetryEOF(), kgo.MetadataMinAge(10 * time.Millisecond), kgo.MetadataMaxAge(lookAgain),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }), kgo.RetryTimeout(patience),
		kgo.RequestTimeoutOverhead(500 * time.Millisecond), kgo.DialTimeout(500 * time.Millisecond)}, opts...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	return cl
}

// create makes a topic. Nodes that say they are ready take it; one may lose its leader under way.
func (c *cluster) create(topic string, partitions int32, factor int16, configs map[string]*string) {
	c.t.Helper()
	cl := c.client()
	defer cl.Close()
	until(c.t, "topic "+topic, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := kadm.NewClient(cl).CreateTopic(ctx, partitions, factor, configs, topic)
		var refused *kerr.Error
		switch {
		case err == nil, errors.Is(err, kerr.TopicAlreadyExists): // by an attempt whose answer was lost
			return true
		case errors.As(err, &refused) && !refused.Retriable:
			c.t.Fatalf("topic %s: %v", topic, err)
		}
		c.t.Logf("topic %s: %v", topic, err)
		return false
	})
}

func (n *node) String() string { return "node " + strconv.Itoa(n.id) }
