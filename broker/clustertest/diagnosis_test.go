package clustertest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// tail keeps the end of what is written to it.
type tail struct {
	who string
	mu  sync.Mutex
	b   []byte
}

const tailBytes = 48 << 10

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if len(l.b) > 2*tailBytes {
		l.b = append(l.b[:0], l.b[len(l.b)-tailBytes:]...)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b[max(0, len(l.b)-tailBytes):])
}

// listen makes a client say all that it does, and keeps the end of it.
func (c *cluster) listen(who string) kgo.Opt {
	l := &tail{who: who}
	c.clients = append(c.clients, l)
	return kgo.WithLogger(kgo.BasicLogger(l, kgo.LogLevelDebug, func() string { return time.Now().Format("15:04:05.000 ") }))
}

// diagnose logs, once and while the nodes still run, how a failed test found them: what each tells clients of partitions, and
// where its goroutines are.
func (c *cluster) diagnose() {
	c.diagnosed.Do(func() {
		for _, l := range c.clients {
			c.t.Logf("%s said last:\n%s", l.who, l)
		}
		for _, n := range c.nodes {
			if n.proc == nil {
				c.t.Logf("node %d does not run", n.id)
				continue
			}
			ok, why := n.ready()
			c.t.Logf("node %d: ready %t %s\n%s%s", n.id, ok, why, n.view(), n.get("/debug/pprof/goroutine?debug=1"))
		}
	})
}

// view is what the node says of every partition: leader and epoch, and if it is the leader itself, the high watermark.
func (n *node) view() string {
	var b strings.Builder
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.kafka))
	if err != nil {
		return err.Error()
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	resp, err := cl.SeedBrokers()[0].Request(ctx, kmsg.NewPtrMetadataRequest())
	if err != nil {
		return err.Error() + "\n"
	}
	ends := kmsg.NewPtrListOffsetsRequest()
	ends.ReplicaID = -1
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		ask := kmsg.NewListOffsetsRequestTopic()
		ask.Topic = *t.Topic
		for _, p := range t.Partitions[:min(len(t.Partitions), partitions)] {
			fmt.Fprintf(&b, "%s %d: led by %d in epoch %d, error %d\n", *t.Topic, p.Partition, p.Leader, p.LeaderEpoch, p.ErrorCode)
			q := kmsg.NewListOffsetsRequestTopicPartition()
			q.Partition, q.Timestamp, q.CurrentLeaderEpoch = p.Partition, -1, -1
			ask.Partitions = append(ask.Partitions, q)
		}
		ends.Topics = append(ends.Topics, ask)
	}
	if resp, err = cl.SeedBrokers()[0].Request(ctx, ends); err != nil {
		return b.String() + err.Error() + "\n"
	}
	for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			fmt.Fprintf(&b, "%s %d: high watermark %d, epoch %d, error %d\n", t.Topic, p.Partition, p.Offset, p.LeaderEpoch, p.ErrorCode)
		}
	}
	return b.String()
}

// get is a page of the node's HTTP server.
func (n *node) get(path string) string {
	resp, err := prober.Get("http://" + n.http + path)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("%s: %v", resp.Status, err)
	}
	return string(b)
}
