package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/node"
	"ackline/broker/node/config"
	"ackline/broker/vfs"
	"ackline/tools/bench/record"
	"ackline/tools/floor/echo"
	"ackline/tools/floor/quorum"
	"ackline/tools/report/render"
)

// patience is what only a hanging test exceeds, however little of the machine it gets.
const patience = 2 * time.Minute

// free are addresses that nobody listens on.
func free(t *testing.T, n int) (out []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all are held until the last is known
		out = append(out, l.Addr().String())
	}
	return out
}

// brokers starts a cluster of the real thing in this process, each node with a disk in memory.
func brokers(t *testing.T, n int) (kafka, http []string) {
	t.Helper()
	addrs := free(t, 3*n)
	kafka, http = addrs[:n], addrs[n:2*n]
	var nodes []*node.Node
	for i := range n {
		cfg := config.Default()
		cfg.Node.ID, cfg.Node.DataDir, cfg.Node.ListenAddr, cfg.Node.HTTPAddr = int32(i+1), "/data", kafka[i], http[i]
		cfg.WAL.SyncMethod, cfg.WAL.RingBytes, cfg.WAL.BatchBytes = "direct-dsync", 64<<20, 1<<20
		cfg.Cluster.Name, cfg.Cluster.RaftAddr = "test", addrs[2*n+i]
		for j := range n {
			if j != i {
				cfg.Cluster.Peers = append(cfg.Cluster.Peers, config.Peer{ID: int32(j + 1), RaftAddr: addrs[2*n+j]})
			}
		}
		b, err := node.Open(cfg, node.Options{FS: vfs.NewMem(), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, b)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := b.Close(ctx); err != nil {
				t.Errorf("node %d: %v", i+1, err)
			}
		})
	}
	for _, b := range nodes {
		await(t, "a node is not ready", func() bool { ok, _ := b.Ready(); return ok })
	}
	return kafka, http
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// nowhere is a disk that forgets.
type nowhere struct{}

func (nowhere) Append([]byte) error { return nil }

// serve runs a floor until the test ends.
func serve(t *testing.T, f interface {
	Addr() string
	Serve(context.Context) error
}, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f.Addr()
}

// floor starts a floor of so many nodes, and bareEcho an echo, whose answers have so many bytes.
func floor(t *testing.T, nodes, replyBytes int) string {
	t.Helper()
	if nodes == 1 {
		f, err := echo.Listen(echo.Config{ListenAddr: "127.0.0.1:0", ReplyBytes: replyBytes, BatchBytes: echo.DefaultBatchBytes}, nowhere{})
		return serve(t, f, err)
	}
	var followers []string
	for range nodes - 1 {
		f, err := quorum.ListenFollower(quorum.FollowerConfig{ListenAddr: "127.0.0.1:0", BatchBytes: echo.DefaultBatchBytes}, nowhere{})
		followers = append(followers, serve(t, f, err))
	}
	f, err := quorum.Listen(context.Background(), quorum.Config{ListenAddr: "127.0.0.1:0", Followers: followers, ReplyBytes: replyBytes,
		BatchBytes: echo.DefaultBatchBytes, WindowBytes: quorum.DefaultWindowBytes}, nowhere{})
	return serve(t, f, err)
}

func bareEcho(t *testing.T, replyBytes int) string {
	t.Helper()
	f, err := echo.Listen(echo.Config{ListenAddr: "127.0.0.1:0", ReplyBytes: replyBytes, BatchBytes: echo.DefaultBatchBytes}, nil)
	return serve(t, f, err)
}

// scenarios of a suite with tiny slices.
const (
	suiteHead = "note = \"tiny\"\ntopology = \"single\"\ntuning = \"default\"\nlaunches = 1\ndiscard_ms = 10\nwarm_window_ms = 60\nwarm_limit_ms = 1200\ncheck_slice_ms = 40\n"
	latency   = "[[scenarios]]\nname = \"latency-1\"\nworkload = \"latency\"\ncycles = 1\nslice_ms = 120\nlibrary_slice_ms = 60\nstage_slice_ms = 100\n"
	others    = `
[[scenarios]]
name = "dc3-latency-1"
workload = "latency"
topology = "same-dc-3"
cycles = 1
slice_ms = 120
stage_slice_ms = 100
[[scenarios]]
name = "throughput"
workload = "./bulk.toml"
cycles = 1
slice_ms = 100
[[scenarios]]
name = "end-to-end"
workload = "end-to-end"
cycles = 1
slice_ms = 200
[[scenarios]]
name = "fetch-1"
workload = "./few.toml"
cycles = 1
slice_ms = 100
[[scenarios]]
name = "sweep"
workload = "./ladder.toml"
slice_ms = 60
[[scenarios]]
name = "partitions-6"
workload = "./spread.toml"
topology = "same-dc-3"
cycles = 1
slice_ms = 150
[[scenarios]]
name = "recovery-small"
workload = "recovery-small"
[[scenarios]]
name = "failover-small"
workload = "failover-small"
topology = "same-dc-3"
[[scenarios]]
name = "dc5-latency-1"
workload = "latency"
topology = "same-dc-5"
cycles = 1
slice_ms = 100
`
	bulk   = "kind = \"produce\"\nnote = \"batched\"\nconnections = 2\nin_flight = 2\nrecords_per_request = 4\ngated_pairs = [\"rate\"]\n"
	few    = "kind = \"fetch\"\nnote = \"reads\"\npreload_bytes = 262144\nfetch_bytes = 16384\n"
	ladder = "kind = \"sweep\"\nnote = \"rates\"\narrivals = \"poisson\"\nrate_per_second = 20000\nrate_factor = 2\nrate_limit_per_second = 40000\nobjective_p99_us = 2000\nconnections = 2\nin_flight = 64\nrecord_bytes = 200\n"
	spread = "kind = \"spread\"\nnote = \"partitions\"\narrivals = \"poisson\"\nrate_per_second = 2000\npartitions = 6\nin_flight = 64\ngated_pairs = [\"p50\"]\n"
)

// bench is one run on hosts.
type bench struct {
	dir, out  string
	code      int
	said, err string
	results   *record.Results
}

// prepare writes the suite and the hosts file, and returns the command line.
func prepare(t *testing.T, scenarios, hosts string) (*bench, []string) {
	t.Helper()
	b := &bench{dir: t.TempDir()}
	b.out = filepath.Join(b.dir, "out")
	for name, text := range map[string]string{"tiny.toml": suiteHead + scenarios, "bulk.toml": bulk, "few.toml": few, "ladder.toml": ladder, "spread.toml": spread, "hosts.toml": hosts} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return b, []string{"--profile", filepath.Join(b.dir, "tiny.toml"), "--hosts", filepath.Join(b.dir, "hosts.toml"), "--out", b.out}
}

func (b *bench) run(ctx context.Context, t *testing.T, args []string) {
	t.Helper()
	var out, errs bytes.Buffer
	b.code = run(ctx, args, &out, &errs)
	b.said, b.err = out.String(), errs.String()
	r, err := record.Read(filepath.Join(b.out, "latest"))
	if err == nil {
		b.results = r
	} else if !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

// noise are reasons that a busy test machine gives rise to.
var noise = []string{"did not settle", "generator", "host took", "control group", "its cycle", "nothing but the host", "nothing was acknowledged", "too few for a p99"}

// measured fails for all that a busy machine does not explain.
func (b *bench) measured(t *testing.T) {
	t.Helper()
	if b.results == nil || b.code != exitOK && b.code != exitInvalid {
		t.Fatalf("exit %d\n%s\n%s", b.code, b.said, b.err)
	}
	for _, l := range b.results.Launches {
		for _, r := range l.Reasons {
			if !slices.ContainsFunc(noise, func(n string) bool { return strings.Contains(r, n) }) {
				t.Errorf("%s: %s", l.Scenario, r)
			}
		}
		if c := l.Check; c == nil || !c.OK || c.Acknowledged == 0 {
			t.Errorf("%s: data check %+v", l.Scenario, c)
		}
	}
}

// page renders the run as a results file does, and checks that it renders again.
func (b *bench) page(t *testing.T) string {
	t.Helper()
	page, err := render.File(b.results, nil)
	if err == nil {
		err = render.Check(page)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// topics are those of a cluster.
func topics(t *testing.T, addr string) (out []string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range resp.Topics {
		out = append(out, *topic.Topic)
	}
	return out
}

// quoted is a list as TOML writes it.
func quoted(list []string) string { return strings.ReplaceAll(fmt.Sprintf("%q", list), " ", ", ") }
