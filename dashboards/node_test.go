package dashboards

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/node"
	"ackline/broker/node/config"
	"ackline/broker/testaddr"
	"ackline/broker/vfs"
	"ackline/loadgen/hist"
	load "ackline/loadgen/metric"
	"ackline/loadgen/result"
	"ackline/loadgen/soak"
)

// exposed is what a scrape of a node holds.
type exposed struct {
	names  map[string]bool            // of series, so with histograms' suffixes
	labels map[string]map[string]bool // of each name: `label="value"`
}

// scrape lists what a broker and a load generator expose. It opens two nodes, since one alone has no peers to tell of, gives the first
// one Produce and one Fetch request that it must refuse, so that errors have been counted too, and reads its /metrics.
func scrape(t *testing.T) exposed {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var nodes [2]*node.Node
	raft := [2]string{testaddr.Next(t), testaddr.Next(t)}
	for i := range nodes {
		cfg := config.Default()
		cfg.Node.ID, cfg.Node.DataDir, cfg.Node.ListenAddr, cfg.Node.HTTPAddr = int32(i+1), "/data", "127.0.0.1:0", "127.0.0.1:0"
		cfg.WAL.SyncMethod, cfg.WAL.RingBytes, cfg.WAL.BatchBytes = "direct-dsync", 2<<20, 32<<10
		cfg.Cluster.RaftAddr, cfg.Cluster.Peers = raft[i], []config.Peer{{ID: int32(2 - i), RaftAddr: raft[1-i]}}
		n, err := node.Open(cfg, node.Options{FS: vfs.NewMem(), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := n.Close(ctx); err != nil {
				t.Error(err)
			}
		}()
		nodes[i] = n
	}
	if err := nodes[0].AwaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	refused(ctx, t, nodes[0].ListenAddr())
	for { // until a heartbeat was answered
		body := page(t, nodes[0].HTTPAddr())
		if strings.Contains(body, "\nackline_raft_round_trip_seconds{") {
			return parse(body + generated(t))
		}
		if ctx.Err() != nil {
			t.Fatal("the way between two nodes is not measured")
		}
	}
}

// page reads /metrics of an address.
func page(t *testing.T, addr string) string {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v, %s", addr, err, resp.Status)
	}
	return string(body)
}

// generated is what a load generator tells that has sent something, of which something failed, and that checks.
func generated(t *testing.T) string {
	t.Helper()
	l := load.New()
	l.Check(func() soak.Status { return soak.Status{} })
	l.Add(result.Portion{Acked: 1, Failed: map[string]int64{"timeout": 1}, Set: hist.NewSet()})
	s, err := load.Serve("127.0.0.1:0", l)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	return page(t, s.Addr.String())
}

func refused(ctx context.Context, t *testing.T, addr string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	produce := kmsg.NewPtrProduceRequest()
	produce.Acks, produce.TimeoutMillis = 1, 1000
	produce.Topics = []kmsg.ProduceRequestTopic{{Topic: "none", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: []byte{}}}}}
	fetch := kmsg.NewPtrFetchRequest()
	fetch.Topics = []kmsg.FetchRequestTopic{{Topic: "none", TopicID: [16]byte{1}, Partitions: []kmsg.FetchRequestTopicPartition{kmsg.NewFetchRequestTopicPartition()}}}
	for _, req := range []kmsg.Request{produce, fetch} {
		if _, err := client.SeedBrokers()[0].Request(ctx, req); err != nil {
			t.Fatalf("%T: %v", req, err)
		}
	}
}

var sample = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? `)

var matcher = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)("[^"]*")`)

func parse(body string) exposed {
	e := exposed{map[string]bool{}, map[string]map[string]bool{}}
	for line := range strings.Lines(body) {
		m := sample.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		e.names[m[1]] = true
		if e.labels[m[1]] == nil {
			e.labels[m[1]] = map[string]bool{}
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			e.labels[m[1]][l[1]+"="+l[3]] = true
		}
	}
	return e
}
