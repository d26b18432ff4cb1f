package launch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/loadgen/brokertest"
	"ackline/profiles"
	"ackline/tools/bench/record"
	"ackline/tools/bench/sum"
	"ackline/tools/bench/target"
	"ackline/tools/bench/verdict"
	"ackline/tools/floor/echo"
)

// TestMain lets the test binary be the floor program: the real server, in a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("ACT_AS_FLOOR") != "" {
		if err := actAsFloor(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv("ACT_AS_BROKER") != "" {
		if err := actAsBroker(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func actAsFloor(args []string) error {
	flag := map[string]string{}
	for i := 1; i < len(args); i++ {
		if args[i] == "--follow" || i+1 == len(args) {
			flag[args[i]] = "yes"
			continue
		}
		flag[args[i]] = args[i+1]
		i++
	}
	role := ""
	if followers := flag["--followers"]; followers != "" {
		role = fmt.Sprintf(" role=leader nodes=%d", strings.Count(followers, ",")+2)
	}
	if flag["--follow"] != "" {
		flag["--reply-bytes"] = strconv.Itoa(echo.DefaultReplyBytes)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var disk echo.Appender
	method := "none"
	if args[0] == "serve" {
		method = flag["--method"]
		bytes, err := strconv.ParseInt(flag["--ring-bytes"], 10, 64)
		if err != nil {
			return err
		}
		ring, err := echo.CreateRing(vfs.OS(), filepath.Join(flag["--dir"], "ring"), bytes, syncmethod.Method(method))
		if err != nil {
			return err
		}
		defer ring.Remove()
		disk = ring
	}
	size, err := strconv.Atoi(flag["--reply-bytes"])
	if err != nil {
		return err
	}
	if flag["--follow"] != "" || flag["--followers"] != "" {
		return actAsQuorum(ctx, flag, disk, fmt.Sprintf("floor_version=%d reply_bytes=%d method=%s%s", echo.Version, size, method, role))
	}
	cfg := echo.Config{ListenAddr: flag["--listen-addr"], ReplyBytes: size, BatchBytes: echo.DefaultBatchBytes}
	if text := flag["--pause"]; text != "" {
		length, err := time.ParseDuration(text)
		if err == nil {
			cfg.Pause, err = echo.NewPause(length)
		}
		if err != nil {
			return err
		}
	}
	s, err := echo.Listen(cfg, disk)
	if err != nil {
		return err
	}
	fmt.Printf("floor ready addr=%s floor_version=%d reply_bytes=%d method=%s%s\n", s.Addr(), echo.Version, size, method, role)
	err = s.Serve(ctx)
	if cfg.Pause != nil {
		fmt.Printf("floor done pause_us_p50=%.2f\n", float64(cfg.Pause.Median())/1e3)
	}
	return err
}

// stage sets up a fake cluster with the programs that stand for it, and a plan that uses them. The broker program only
// says where the fake cluster is.
func stage(t *testing.T, workload profiles.Workload) (Plan, *brokertest.Cluster, *atomic.Int64) {
	return stageOf(t, workload, 1)
}

// stageOf is stage with several nodes. A broker program takes the addresses of the fake node whose id it is given.
func stageOf(t *testing.T, workload profiles.Workload, nodes int) (Plan, *brokertest.Cluster, *atomic.Int64) {
	t.Helper()
	cluster := brokertest.Start(t, nodes)
	checkpoints := &atomic.Int64{}
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			checkpoints.Add(1)
			return
		}
		n := 2 * checkpoints.Load() // as if the broker had made one of its own for each that it was asked for
		fmt.Fprintf(w, "ackline_checkpoint_duration_seconds_count %d\nackline_wal_bytes_total{method=\"x\"} %d\nackline_wal_batches_total %d\n"+
			"ackline_produce_duration_seconds_bucket{stage=\"sync\",le=\"0.001\"} %[1]d\n", n, n*workload.RingBytes, n)
	}))
	t.Cleanup(admin.Close)
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"broker": fmt.Sprintf("trap 'exit 0' TERM\nset -- $(echo \"$@\" | sed -n 's/.*--node-id \\([0-9]\\).*/\\1/p')\nset -- ${1:-1} %s\nshift $1\n"+
			"for word in listens ready; do echo broker $word: kafka $1 http %s sync buffered-dsync recovered 0 bytes in 1ms; done\nwhile :; do sleep 0.01; done",
			strings.Join(cluster.Addrs(), " "), strings.TrimPrefix(admin.URL, "http://")),
		"floor": fmt.Sprintf("ACT_AS_FLOOR=1 exec %s \"$@\"", self),
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := &profiles.Suite{Name: "test", Launches: 1, DiscardMs: 10, WarmWindowMs: 10, WarmLimitMs: 60, CheckSliceMs: 40,
		Topology: profiles.Topology{Name: "topology", Nodes: nodes, Host: "127.0.0.1"}, Tuning: profiles.Tuning{Name: "default", SyncMethod: "auto"}}
	sc := profiles.Scenario{Name: "scenario", Cycles: 1, SliceMs: 60, Workload: workload}
	s.Scenarios = []profiles.Scenario{sc}
	return Plan{Suite: s, Scenario: sc, Number: 3, Seed: 42, Dir: t.TempDir(), Out: t.TempDir(), Method: "buffered-dsync",
		Programs: target.Programs{Broker: filepath.Join(bin, "broker"), Floor: filepath.Join(bin, "floor")}}, cluster, checkpoints
}

func produceWorkload() profiles.Workload {
	w := profiles.DefaultWorkload()
	w.Kind, w.RecordBytes, w.RingBytes, w.GatedPairs = profiles.Produce, 100, 8<<20, []string{"p50"}
	return w
}

// noiseOnly drops the reasons that a busy test machine gives rise to.
func noiseOnly(l record.Launch) []string {
	var left []string
	for _, r := range l.Reasons {
		noise := false
		for _, word := range []string{"did not settle", "generator", "host took", "somebody else", "control group", "its cycle", "could not be computed", "nothing but the host",
			"nothing was acknowledged"} {
			noise = noise || strings.Contains(r, word)
		}
		if !noise {
			left = append(left, r)
		}
	}
	return left
}

func TestProduceLaunch(t *testing.T) {
	p, _, checkpoints := stage(t, produceWorkload())
	var steps []string
	p.Progress = func(s string) { steps = append(steps, s) }
	l, err := Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	if left := noiseOnly(l); len(left) > 0 || l.Verdict == record.Failed {
		t.Fatalf("verdict %s: %q", l.Verdict, left)
	}
	var sides []side
	for _, sl := range l.Slices {
		sides = append(sides, sl.Side)
		if sl.Requests > 0 && get(t, sl.Figures, "latency_us_p50") <= 0 || sl.Requests == 0 && sl.Verdict == record.OK {
			t.Errorf("slice %+v", sl)
		}
	}
	if want := slices.Repeat([]side{record.System, record.Floor, record.Floor, record.System}, cycles(l)); !slices.Equal(sides, want) {
		t.Errorf("sides %v, want A B B A", sides)
	}
	if c := l.Check; c == nil || !c.OK || c.Acknowledged == 0 || c.Read < c.Acknowledged {
		t.Errorf("data check %+v", c)
	}
	if n, want := int(checkpoints.Load()), 1+2*cycles(l); n != want { // after the warm-up and after each of the system's slices
		t.Errorf("%d checkpoints, want %d", n, want)
	}
	for _, name := range []string{"system.hlog", "floor.hlog", "broker.log", "floor.log", "echo.log", "paused.log"} {
		if st, err := os.Stat(filepath.Join(p.Out, "launch-03-scenario-"+name)); err != nil || st.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"response", "lag"} {
		if h := l.Hist(record.Floor, name); h == nil || h.Count() == 0 {
			t.Errorf("no histogram of the floor's %s", name)
		}
	}
	if l.Verdict == record.OK {
		if _, ok := l.Get(record.Host, record.FloorCheck); !ok {
			t.Error("the floor did not answer for itself")
		}
		paused, _ := l.Get(record.Host, "paused_echo_us_p50")
		if pause, ok := l.Get(record.Host, "pause_us_p50"); !ok || pause <= 0 || paused <= pause {
			t.Errorf("the paused echo took %v µs, %v of them pauses", paused, pause)
		}
		if p50, ok := l.Pair("p50"); ok && (p50.Ratio <= 0 || !p50.Gated) {
			t.Errorf("p50 %+v", p50)
		}
	} else if l.Pairs != nil {
		t.Errorf("an invalid launch has pairs: %+v", l.Pairs)
	}
	if left, _ := os.ReadDir(p.Dir); len(left) != 0 {
		t.Errorf("left on the disk: %v", left)
	}
	if len(steps) < 8 {
		t.Errorf("told only %q", steps)
	}
}

func TestFetchLaunch(t *testing.T) {
	w := produceWorkload()
	w.Kind, w.PreloadBytes, w.FetchBytes = profiles.Fetch, 1<<16, 4096
	p, _, _ := stage(t, w)
	l, err := Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	if left := noiseOnly(l); len(left) > 0 || len(l.Slices) < 4 || len(l.Slices) > 4*(1+sum.Again) || l.Check == nil || !l.Check.OK {
		t.Errorf("verdict %s: %q, %d slices, check %+v", l.Verdict, left, len(l.Slices), l.Check)
	}
}

// A launch whose data do not survive has a verdict and no pairs.
func TestLostDataFailTheLaunch(t *testing.T) {
	p, cluster, _ := stage(t, produceWorkload())
	cluster.Break(brokertest.Faults{LoseBatch: 5})
	l, err := Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	if l.Verdict != record.Failed || l.Pairs != nil || l.Check == nil || l.Check.Missing != 1 || !strings.Contains(strings.Join(l.Reasons, "\n"), "data check") {
		t.Errorf("verdict %s %q, check %+v", l.Verdict, l.Reasons, l.Check)
	}
}

func TestProgramsThatFailAreReported(t *testing.T) {
	p, _, _ := stage(t, produceWorkload())
	p.Method = "direct-dsync" // the fake broker says buffered-dsync
	if l, err := Run(context.Background(), p); err != nil || l.Verdict != record.Failed || !strings.Contains(l.Reasons[0], "sync method") {
		t.Errorf("another sync method: %s %q, %v", l.Verdict, l.Reasons, err)
	}
	p, _, _ = stage(t, produceWorkload())
	if err := os.WriteFile(p.Programs.Floor, []byte("#!/bin/sh\necho out of luck >&2\nexit 9\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if l, err := Run(context.Background(), p); err != nil || l.Verdict != record.Failed || !strings.Contains(strings.Join(l.Reasons, "\n"), "out of luck") {
		t.Errorf("a floor that does not start: %s %q, %v", l.Verdict, l.Reasons, err)
	}
}

func TestInterruptedLaunchCleansUp(t *testing.T) {
	p, _, _ := stage(t, produceWorkload())
	ctx, cancel := context.WithCancelCause(context.Background())
	told := errors.New("^C")
	p.Progress = func(step string) {
		if strings.HasPrefix(step, "slice 2") {
			cancel(told)
		}
	}
	if _, err := Run(ctx, p); !errors.Is(err, told) {
		t.Errorf("got %v, want the cause", err)
	}
	if left, _ := os.ReadDir(p.Dir); len(left) != 0 {
		t.Errorf("left on the disk: %v", left)
	}
}

func TestTooFewLapsAreInvalid(t *testing.T) {
	p, _, _ := stage(t, produceWorkload())
	rec := record.Launch{Verdict: record.OK}
	c := &contest{launch: &launch{Plan: p, Book: verdict.Book{Rec: &rec}}, all: map[side]int64{record.System: 300}}
	m := target.Metrics{Values: map[string]float64{target.Checkpoints: 3, target.WALBytes: 2 * float64(p.Scenario.Workload.RingBytes), target.WALBatches: 100,
		target.Allocations: 900},
		Stages: map[string]target.Buckets{"sync": {Bounds: []float64{0.0001, 0.0002}, Counts: []float64{0, 10}}}}
	c.inside([]target.Metrics{m})
	if rec.Verdict != record.OK || len(rec.Stages) != 1 || rec.Stages[0].P50Us < 149 || rec.Stages[0].P50Us > 151 {
		t.Errorf("three checkpoints and two laps: %s %q, stages %+v", rec.Verdict, rec.Reasons, rec.Stages)
	}
	if v := get(t, rec.Figures, "allocations_per_request"); v != 3 {
		t.Errorf("%v allocations per request, want 3", v)
	}
	m.Values[target.WALBytes]--
	if c.inside([]target.Metrics{m}); rec.Verdict != record.Invalid || !strings.Contains(rec.Reasons[0], "ring_bytes") {
		t.Errorf("less than two laps: %s %q", rec.Verdict, rec.Reasons)
	}
}
