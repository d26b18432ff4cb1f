package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// tidy moves records to small segments at once and looks every second whether some can go.
const tidy = `
[storage]
flush_bytes = 65536
retention_interval_s = 1
`

// TestFollowerReturnsBehindTheLogStart: while a node is away, everything that it had last is deleted and overwritten on the others, so
// that only a snapshot brings it back. Then it leads, because it alone has the newest records, and serves all that is left.
func TestFollowerReturnsBehindTheLogStart(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, impatient+tidy)
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	set := func(s string) *string { return &s }
	const topic = "short"
	c.create(topic, 1, 3, map[string]*string{"segment.bytes": set("262144"), "retention.bytes": set("1048576")})
	w := c.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(64), kgo.ProducerBatchMaxBytes(256<<10))
	defer w.Close()
	written := int64(0)
	write := func(records int) {
		t.Helper()
		for range records {
			value := make([]byte, 16<<10)
			copy(value, fmt.Sprintf("record %d.", written))
			written++
			w.Produce(ctx, &kgo.Record{Topic: topic, Value: value}, func(r *kgo.Record, err error) {
				if err != nil {
					t.Errorf("%.20s: %v", r.Value, err)
				}
			})
		}
		if err := w.Flush(ctx); err != nil || t.Failed() {
			t.Fatalf("writing: %v", err)
		}
	}
	write(10)
	away := c.node(3)
	had := written
	away.kill()
	write(2 << 10) // twice as much as the WAL's ring takes
	admin := kadm.NewClient(w)
	until(t, "the log to begin behind all that node 3 has", func() bool { return c.logStart(admin, topic) > had })
	if n := c.behind(); n == 0 {
		t.Error("nobody says that node 3 is behind")
	}

	away.start()
	c.ready()
	until(t, "node 3 to have all", func() bool { return c.behind() == 0 })
	// Without node 1 its copy is needed for every write; what is written now node 1 does not have, and node 2 goes.
	c.node(1).stop()
	write(10)
	c.node(2).stop()
	c.node(1).start()
	c.ready()
	start := int64(-1)
	until(t, "somebody to say where the log begins", func() bool { start = c.logStart(admin, topic); return start >= 0 })
	c.readToEnd(ctx, topic, start, written)
	if leaders := c.leaders(ctx, admin, topic); leaders != 3 {
		t.Errorf("node %d leads, and only node 3 has all records", leaders)
	}
	if old := c.holds(away, fmt.Sprintf("record %d.", had-1)); old != "" {
		t.Errorf("%s of node 3 holds a record that is before the start of the log", old)
	}
}

// behind is how many entries the replica lacks that is furthest behind, by what all nodes that run say in their metrics.
func (c *cluster) behind() (most int64) {
	c.t.Helper()
	for _, n := range c.nodes {
		if n.proc == nil {
			continue
		}
		resp, err := http.Get("http://" + n.http + "/metrics")
		if err != nil {
			c.t.Fatal(err)
		}
		page, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		_, rest, ok := strings.Cut(string(page), "\nackline_raft_behind_entries ")
		number, _, _ := strings.Cut(rest, "\n")
		lacks, err2 := strconv.ParseFloat(number, 64)
		if err = errors.Join(err, err2); err != nil || !ok {
			c.t.Fatalf("the metrics of %v: %v", n, err)
		}
		most = max(most, int64(lacks))
	}
	return most
}

// logStart is where a topic's first partition begins, -1 while nobody says.
func (c *cluster) logStart(admin *kadm.Client, topic string) int64 {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	starts, err := admin.ListStartOffsets(ctx, topic)
	o, ok := starts.Lookup(topic, 0)
	if err != nil || !ok || o.Err != nil {
		return -1
	}
	return o.Offset
}

// leaders is the node that leads a topic's first partition.
func (c *cluster) leaders(ctx context.Context, admin *kadm.Client, topic string) int32 {
	c.t.Helper()
	topics, err := admin.ListTopics(ctx, topic)
	if err != nil {
		c.t.Fatal(err)
	}
	return topics[topic].Partitions[0].Leader
}

// readToEnd reads a topic's first partition, which has to hold each record from start on, up to end.
func (c *cluster) readToEnd(ctx context.Context, topic string, start, end int64) {
	c.t.Helper()
	r := c.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}), kgo.FetchMaxWait(50*time.Millisecond))
	defer r.Close()
	for next := max(start, 0); next < end; {
		fetches := r.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			c.t.Fatalf("at offset %d of %d: %v", next, end, err)
		}
		fetches.EachRecord(func(kr *kgo.Record) {
			if want := fmt.Sprintf("record %d.", kr.Offset); kr.Offset != next || !bytes.HasPrefix(kr.Value, []byte(want)) {
				c.t.Fatalf("at offset %d: offset %d with %.20q, want offset %[1]d with %[4]q", next, kr.Offset, kr.Value, want)
			}
			next++
		})
	}
}

// holds names a segment file of a node in which a text stands, "" if there is none.
func (c *cluster) holds(n *node, text string) (name string) {
	c.t.Helper()
	err := filepath.WalkDir(filepath.Join(n.dir, "groups"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			name = path
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return name
}
