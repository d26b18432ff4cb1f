package quorum

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/tools/floor/echo"
	"ackline/tools/floor/link"
	"ackline/tools/stats"
)

// The leader's threads could be cut otherwise. This file has the other cuts, and the benchmark that compares them:
//
//	go test -run '^$' -bench Structures -benchtime 40x ./tools/floor/quorum
//
// Each node is a process of its own (this test binary, started again); all leaders share two followers, which serve any
// number. Slices of all structures alternate, forth and back, and each slice's figure is divided by the mean of the two
// slices of the shipped structure around it. Reported are the medians of those ratios with their 10th and 90th percentile;
// "pair again" is the shipped structure in a second process, and shows what the host can tell apart.

// childVariable makes this binary a node; its value is the role, a colon and the followers' addresses.
const childVariable = "ACKLINE_FLOOR_CHILD"

func TestMain(m *testing.M) {
	if role := os.Getenv(childVariable); role != "" {
		if err := child(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// structures are the cuts by name: given a leader, the loops to run.
var structures = map[string]func(l *Leader) []func() error{
	// Whoever has the event carries it on, into the disk's write too; the other thread waits for events meanwhile.
	"pair": func(l *Leader) []func() error { return []func() error{l.loop, l.loop} },
	// The same in a second process.
	"pair again": func(l *Leader) []func() error { return []func() error{l.loop, l.loop} },
	// The same with goroutines that stay on their threads.
	"pair locked": func(l *Leader) []func() error { return []func() error{locked(l.loop), locked(l.loop)} },
	// One thread does all. It waits for its own disk even when two followers are done.
	"alone": func(l *Leader) []func() error { return []func() error{locked(l.loop)} },
	// One thread for events, one for the disk.
	"handoff": func(l *Leader) []func() error {
		h := &handoff{Leader: l}
		var err error
		if h.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
			return []func() error{func() error { return err }}
		}
		return []func() error{locked(h.events), locked(h.disk)}
	},
}

func locked(loop func() error) func() error {
	return func() error {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return loop()
	}
}

// handoff is a leader whose disk has a thread of its own, which waits in a system call: cheaper to wake than a goroutine.
type handoff struct {
	*Leader
	bell int // eventfd
	next atomic.Pointer[[]byte]
}

func (h *handoff) events() error {
	defer unix.Write(h.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := h.poll.Wait(events, -1)
		if err != nil || woken(events[:n], h.poll.WakeFD) {
			return err
		}
		if block := h.work(events[:n], nil); block != nil {
			h.next.Store(&block)
			unix.Write(h.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		}
	}
}

func (h *handoff) disk() error {
	for {
		unix.Read(h.bell, make([]byte, 8))
		block := h.next.Swap(nil)
		if block == nil {
			return nil
		}
		if err := h.write(*block); err != nil {
			return err
		}
	}
}

// child is a node in a process of its own; its ring is a file in the working directory.
func child(role string) error {
	role, addrs, _ := strings.Cut(role, ":")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(max(4, runtime.GOMAXPROCS(0)))
	if role == "echo" {
		s, err := echo.Listen(echo.Config{ListenAddr: "127.0.0.1:0", ReplyBytes: echo.DefaultReplyBytes, BatchBytes: echo.DefaultBatchBytes}, nil)
		if err != nil {
			return err
		}
		fmt.Println(s.Addr())
		return s.Serve(ctx)
	}
	ring, err := smallRing(".")
	if err != nil {
		return err
	}
	defer ring.Remove()
	if role == "follower" {
		f, err := ListenFollower(FollowerConfig{ListenAddr: "127.0.0.1:0", BatchBytes: echo.DefaultBatchBytes, Alone: true}, ring)
		if err != nil {
			return err
		}
		fmt.Println(f.Addr())
		return f.Serve(ctx)
	}
	cfg := Config{ListenAddr: "127.0.0.1:0", Followers: strings.Split(addrs, ","), ReplyBytes: echo.DefaultReplyBytes,
		BatchBytes: echo.DefaultBatchBytes, WindowBytes: DefaultWindowBytes, Alone: true}
	if role == "straight" {
		s, err := ListenStraight(ctx, cfg, ring)
		if err != nil {
			return err
		}
		fmt.Println(s.Addr())
		return s.Serve(ctx)
	}
	l, err := Listen(ctx, cfg, ring)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return l.serve(ctx, structures[role](l)...)
}

func smallRing(dir string) (*echo.Ring, error) {
	name := filepath.Join(dir, fmt.Sprintf("%d.ring", os.Getpid()))
	ring, err := echo.CreateRing(vfs.OS(), name, 16<<20, syncmethod.DirectDsync)
	if errors.Is(err, syscall.EINVAL) {
		ring, err = echo.CreateRing(vfs.OS(), name, 16<<20, syncmethod.BufferedDsync)
	}
	return ring, err
}

// spawn starts a node and returns its address, its process and a function that kills it.
func spawn(t testing.TB, dir, role string, followers ...string) (addr string, pid int, kill func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe") // whatever the working directory
	cmd.Env = append(os.Environ(), childVariable+"="+role+":"+strings.Join(followers, ","))
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: no address: %v", role, err)
	}
	return strings.TrimSpace(line), cmd.Process.Pid, kill
}

// Killed in the middle of it, a follower leaves a file that verifies, and the others go on.
func TestKilledFollower(t *testing.T) {
	dir := t.TempDir()
	addr, _, kill := spawn(t, dir, "follower")
	before, err := filepath.Glob(filepath.Join(dir, "*.ring"))
	if err != nil || len(before) != 1 {
		t.Fatal(before, err)
	}
	d := &disk{}
	_, other := follow(t, "127.0.0.1:0", 1<<20, d, nil)
	own := &disk{}
	log := &logged{}
	cfg := testConfig([]string{addr, other})
	l, err := Listen(t.Context(), cfg, own)
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, l.Serve)
	conn := dialClient(t, l.Addr())
	for id := range uint32(400) {
		if id == 200 {
			kill()
		}
		ask(t, conn, id)
	}
	f, err := os.Open(before[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum, err := echo.Verify(f, 16<<20, nil)
	if err != nil || sum.Frames < 1 || sum.Frames > 200 {
		t.Errorf("%+v, %v, want a file that verifies with some of the first 200 requests", sum, err)
	}
	if copies([]*disk{own, d}, 399) != 2 || log.has("majority: clients") {
		t.Error("the last request is not on the two copies that are left")
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// caller is a client that blocks in its system calls: its thread wakes up, no scheduler does.
type caller struct {
	fd              int
	request, answer []byte
}

func call(t testing.TB, addr string) *caller {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fd, err := link.Duplicate(conn.(*net.TCPConn))
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return &caller{fd, frame(rand.New(rand.NewPCG(1, 1)), 1, 1100), make([]byte, 64<<10)}
}

// one returns the round trips of n requests, one at a time, in µs; a tenth more goes before and does not count.
func (c *caller) one(t testing.TB, n int) (us []float64) {
	for i := range n + n/10 {
		start := time.Now()
		unix.Write(c.fd, c.request)
		for got := 0; got < echo.DefaultReplyBytes; {
			k, err := unix.Read(c.fd, c.answer)
			if k <= 0 {
				t.Fatalf("no answer: %d, %v", k, err)
			}
			got += k
		}
		if i >= n/10 {
			us = append(us, float64(time.Since(start))/1e3)
		}
	}
	return us
}

// many keeps each requests outstanding until so many are answered.
func (c *caller) many(t testing.TB, each, requests int) {
	out := slices.Repeat(c.request, each)
	unix.Write(c.fd, out)
	part := 0
	for sent, answered := each, 0; answered < requests; {
		k, err := unix.Read(c.fd, c.answer)
		if k <= 0 {
			t.Errorf("no answer: %d, %v", k, err)
			return
		}
		part += k
		n := part / echo.DefaultReplyBytes
		part %= echo.DefaultReplyBytes
		answered += n
		if n = min(n, requests-sent); n > 0 {
			sent += n
			for rest := out[:n*len(c.request)]; len(rest) > 0; {
				w, err := unix.Write(c.fd, rest)
				if err != nil {
					t.Error(err)
					return
				}
				rest = rest[w:]
			}
		}
	}
}

// effort is what a process has cost so far: CPU time, and how often one of its threads had to be woken.
func effort(t testing.TB, pid int) (cpuUs, wakes float64) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatal(tasks, err)
	}
	for _, task := range tasks {
		var ns, n float64
		sched, _ := os.ReadFile(filepath.Join(task, "schedstat"))
		fmt.Sscan(string(sched), &ns)
		status, _ := os.ReadFile(filepath.Join(task, "status"))
		_, rest, _ := strings.Cut(string(status), "\nvoluntary_ctxt_switches:")
		fmt.Sscan(rest, &n)
		cpuUs, wakes = cpuUs+ns/1e3, wakes+n
	}
	return cpuUs, wakes
}

// contender is a structure under a load.
type contender struct {
	name     string
	pid      int
	requests int              // in a slice
	slice    func() []float64 // its latencies, or its one figure
	ratios   []float64        // of its medians to those of the shipped structure around
	pool     []float64        // all latencies of all slices
	cpuUs    float64          // of the leader's process, in all slices
	wakes    float64
}

// run measures a slice and returns its median.
func (c *contender) run(b *testing.B) float64 {
	cpu, wakes := effort(b, c.pid)
	v := c.slice()
	cpuAfter, wakesAfter := effort(b, c.pid)
	c.cpuUs, c.wakes = c.cpuUs+cpuAfter-cpu, c.wakes+wakesAfter-wakes
	c.pool = append(c.pool, v...)
	return stats.Median(v)
}

// about is what a leader's process cost in so many slices.
func (c *contender) about(slices int) string {
	requests := float64(slices * c.requests)
	return fmt.Sprintf("p50 %.0f p99 %.0f us, leader %.1f us of CPU and %.2f wake-ups a request", quantile(c.pool, 0.5), quantile(c.pool, 0.99),
		c.cpuUs/requests, c.wakes/requests)
}

func quantile(v []float64, q float64) float64 {
	return slices.Sorted(slices.Values(v))[int(q*float64(len(v)-1))]
}

func oneOutstanding(b *testing.B, addr string) (requests int, slice func() []float64) {
	c := call(b, addr)
	return 110, func() []float64 { return c.one(b, 100) }
}

// manyOutstanding is 32 requests on each of 8 connections; its figure is µs per request.
func manyOutstanding(b *testing.B, addr string) (requests int, slice func() []float64) {
	const conns, each = 8, 1000
	var all []*caller
	for range conns {
		all = append(all, call(b, addr))
	}
	return conns * each, func() []float64 {
		var wg sync.WaitGroup
		start := time.Now()
		for _, c := range all {
			wg.Go(func() { c.many(b, 32, each) })
		}
		wg.Wait()
		return []float64{float64(time.Since(start)) / 1e3 / (conns * each)}
	}
}

func BenchmarkStructures(b *testing.B) {
	shared := []string{"pair", "pair again", "pair locked", "alone", "handoff"}
	for _, load := range []struct {
		name  string
		open  func(*testing.B, string) (int, func() []float64)
		names []string
	}{
		{"outstanding=1", oneOutstanding, append(slices.Clone(shared), "straight")},
		{"outstanding=256", manyOutstanding, shared},
	} {
		b.Run(load.name, func(b *testing.B) {
			dir := b.TempDir()
			f1, _, _ := spawn(b, dir, "follower")
			f2, _, _ := spawn(b, dir, "follower")
			var all []*contender
			for _, name := range load.names {
				addr, pid, _ := spawn(b, dir, name, f1, f2)
				c := &contender{name: name, pid: pid}
				c.requests, c.slice = load.open(b, addr)
				c.slice() // warm
				all = append(all, c)
			}
			compare(b, all)
		})
	}
}

// compare runs slices of all in turns, forth and back, between slices of the first.
func compare(b *testing.B, all []*contender) {
	base := all[0]
	figures := []float64{base.run(b)}
	for round := range b.N {
		order := slices.Clone(all[1:])
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, c := range order {
			v := c.run(b)
			figures = append(figures, base.run(b))
			c.ratios = append(c.ratios, v/((figures[len(figures)-1]+figures[len(figures)-2])/2))
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(stats.Median(figures), base.name+"-us")
	text := fmt.Sprintf("%-12s %s", base.name, base.about(len(figures)))
	for _, c := range all[1:] {
		r := slices.Sorted(slices.Values(c.ratios))
		b.ReportMetric(stats.Median(r), strings.ReplaceAll(c.name, " ", "-")+"/pair")
		text += fmt.Sprintf("\n%-12s %.2f x pair [%.2f-%.2f], %s", c.name, stats.Median(r), quantile(r, 0.1), quantile(r, 0.9), c.about(b.N))
	}
	if b.N > 1 { // the first round is the testing package's trial
		b.Log(text)
	}
}

// BenchmarkCheck lets the floor answer for itself: its p50 against Straight's, and against Parts.BoundUs. All are measured
// in turns.
func BenchmarkCheck(b *testing.B) {
	dir := b.TempDir()
	f1, _, _ := spawn(b, dir, "follower")
	f2, _, _ := spawn(b, dir, "follower")
	p50 := map[string]func() float64{}
	for _, name := range []string{"pair", "straight", "echo"} {
		addr, _, _ := spawn(b, dir, name, f1, f2)
		c := call(b, addr)
		p50[name] = func() float64 { return stats.Median(c.one(b, 100)) }
	}
	ring, err := smallRing(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ring.Remove() })
	var straight, bound []float64
	values := map[string][]float64{}
	for range b.N {
		before, s, after := p50["pair"](), p50["straight"](), p50["pair"]()
		echoUs := p50["echo"]()
		parts, err := Measure(b.Context(), MeasureConfig{Followers: []string{f1, f2}, Own: ring, BlockBytes: echo.BlockSize,
			Cadence: time.Duration(echoUs) * time.Microsecond, Rounds: 100, Limit: time.Second})
		if err != nil {
			b.Fatal(err)
		}
		again := p50["pair"]()
		straight = append(straight, (before+after)/2/s)
		bound = append(bound, (after+again)/2/parts.BoundUs(echoUs))
		for name, v := range map[string]float64{"floor": after, "straight": s, "client-echo": echoUs, "peer-echo": parts.PeerEchoUs[0],
			"own-sync": parts.SyncUs[0], "peer-sync": parts.SyncUs[1], "commit": parts.CommitUs, "trial": parts.TrialUs} {
			values[name] = append(values[name], v)
		}
	}
	b.ReportMetric(0, "ns/op")
	for name, v := range values {
		b.ReportMetric(stats.Median(v), name+"-us")
	}
	if b.N > 1 {
		b.Logf("floor / straight %.2f [%.2f-%.2f], floor / bound %.2f [%.2f-%.2f], bar %.2f", stats.Median(straight), quantile(straight, 0.1),
			quantile(straight, 0.9), stats.Median(bound), quantile(bound, 0.1), quantile(bound, 0.9), Bar)
	}
}
