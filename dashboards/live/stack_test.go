package live

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ackline/broker/testaddr"
	"ackline/loadgen/brokertest"
)

// patience is what only a hanging test exceeds.
const patience = 2 * time.Minute

// programs builds broker and loadgen once. Without the race detector: their own tests have it, and here they share the CPUs with
// Prometheus.
var programs = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "ackline-live-"); err != nil {
		return "", err
	}
	built = dir
	out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", dir, "ackline/broker/cmd/broker", "ackline/loadgen").CombinedOutput()
	if err != nil {
		return dir, fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

var built string // by programs

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// process is a program that runs until the test ends or kills it.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}

	mu  sync.Mutex // guards log
	log bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// forks starts processes on one thread that never ends: the kernel kills a child with Pdeathsig when the thread ends that forked it.
var forks = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for call := range calls {
			call()
		}
	}()
	return calls
})

// start runs a program. What it says is shown when the test fails.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(args[0], args[1:]...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when the tests run out of time
	failed := make(chan error)
	forks() <- func() { failed <- p.cmd.Start() }
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if said := p.said(); t.Failed() {
			t.Logf("%s said:\n%s", strings.Join(args, " "), said[max(0, len(said)-4000):])
		}
	})
	return p
}

func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.exited:
	default:
		p.cmd.Process.Signal(s)
	}
}

// kill ends it, also when it is stopped, and waits for that.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// until waits for ok.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// get reads a page; an error is one of the connection, or a status that is not 200.
func get(url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}

// node is one broker.
type node struct {
	id                     int
	dir, kafka, raft, http string
	args                   []string
	proc                   *process
}

// settings: a ring that fills in seconds, and room for few requests, so that limits can be reached.
const settings = `
[wal]
ring_bytes = 16777216
sync_method = "buffered-fdatasync"
[limits]
inflight_bytes = 2097152
frame_bytes = 1048576
[cluster]
name = "live"
`

// descriptors is how many files node 1 may have open.
const descriptors = 400

// stack is everything that runs.
type stack struct {
	t       *testing.T
	dir     string
	nodes   []*node
	load    *process
	loadAt  string
	fake    *brokertest.Cluster // what the check is of
	checkAt string
	machine *machine
	prom    *prometheus
}

// fakeTopic has one partition, on brokers for tests.
const fakeTopic = "checked"

// newStack starts a cluster, a load and Prometheus. disk: the third node has a small file system of its own.
func newStack(t *testing.T, disk bool) *stack {
	t.Helper()
	for _, name := range []string{"prometheus", "promtool", "prometheus-node-exporter"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("needs " + name + ": a real Prometheus is asked for every panel and alert (Debian: prometheus, prometheus-node-exporter)")
		}
	}
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{t: t, dir: t.TempDir(), loadAt: testaddr.Next(t), checkAt: testaddr.Next(t), fake: brokertest.Start(t, 1)}
	config := filepath.Join(s.dir, "broker.toml")
	if err := os.WriteFile(config, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	for id := 1; id <= 3; id++ {
		s.nodes = append(s.nodes, &node{id: id, dir: filepath.Join(s.dir, fmt.Sprint("node", id)), kafka: testaddr.Next(t), raft: testaddr.Next(t), http: testaddr.Next(t)})
	}
	if disk {
		mount(t, s.nodes[2].dir)
	}
	var brokers []string
	for _, n := range s.nodes {
		brokers = append(brokers, n.kafka)
		var peers []string
		for _, p := range s.nodes {
			if p != n {
				peers = append(peers, fmt.Sprintf("%d@%s", p.id, p.raft))
			}
		}
		n.args = []string{filepath.Join(bin, "broker"), "cluster", "--config", config, "--data-dir", n.dir, "--node-id", fmt.Sprint(n.id), "--listen-addr", n.kafka,
			"--raft-addr", n.raft, "--http-addr", n.http, "--peers", strings.Join(peers, ",")}
		if n.id == 1 {
			n.args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$@"`, descriptors), "sh"}, n.args...)
		}
		n.proc = start(t, n.args...)
	}
	s.machine = newMachine(t)
	s.prom = newPrometheus(t, s)
	s.ready(s.nodes...)
	s.load = start(t, filepath.Join(bin, "loadgen"), "run", "--brokers", strings.Join(brokers, ","), "--topic", "live", "--partitions", "3", "--connections", "3", "--in-flight", "16",
		"--threads", "1", "--replication", "3", "--rate", "300", "--consumers", "1", "--for", "1h", "--warm-up", "0s", "--judge", "0", "--no-realtime", "--timeout", "2m", "--metrics-addr", s.loadAt)
	s.fake.Create(fakeTopic, 1)
	start(t, filepath.Join(bin, "loadgen"), "check", "--brokers", s.fake.Addr(), "--topic", fakeTopic, "--existing", "--rate", "50", "--for", "1h", "--metrics-addr", s.checkAt)
	return s
}

// ready waits until nodes serve clients.
func (s *stack) ready(nodes ...*node) {
	s.t.Helper()
	for _, n := range nodes {
		until(s.t, fmt.Sprintf("node %d to be ready", n.id), func() bool {
			_, err := get("http://" + n.http + "/readyz")
			return err == nil
		})
	}
}

// machine is node_exporter, with the two collectors that the rules ask for, behind a relay that tells the time: what the clock of this
// machine does is not the test's to change (that takes CAP_SYS_TIME, and comes to everybody on it). The relay insists that the
// exporter tells both figures, and puts the test's in their place.
type machine struct {
	t      *testing.T
	addr   string // of the relay
	at     string // of the exporter
	proc   *process
	synced atomic.Int64
	offset atomic.Int64 // ns
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, addr: testaddr.Next(t), at: testaddr.Next(t)}
	m.synced.Store(1)
	m.start()
	ln, err := net.Listen("tcp", m.addr)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(m.relay)}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	return m
}

func (m *machine) start() {
	m.t.Helper()
	m.proc = start(m.t, "prometheus-node-exporter", "--collector.disable-defaults", "--collector.filesystem", "--collector.timex", "--web.listen-address="+m.at)
	until(m.t, "node_exporter", func() bool {
		_, err := get("http://" + m.at + "/metrics")
		return err == nil
	})
}

var clock = regexp.MustCompile(`(?m)^(node_timex_sync_status|node_timex_offset_seconds) .*$`)

func (m *machine) relay(w http.ResponseWriter, _ *http.Request) {
	body, err := get("http://" + m.at + "/metrics")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	told := 0
	body = clock.ReplaceAllStringFunc(body, func(line string) string {
		told++
		name, _, _ := strings.Cut(line, " ")
		if name == "node_timex_sync_status" {
			return fmt.Sprintf("%s %d", name, m.synced.Load())
		}
		return fmt.Sprintf("%s %g", name, float64(m.offset.Load())/1e9)
	})
	if told != 2 {
		m.t.Errorf("node_exporter tells %d of the two figures of the clock that rules ask for", told)
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	out := bufio.NewWriter(w)
	out.WriteString(body)
	out.Flush()
}

// decode reads JSON from a page.
func decode(url string, v any) error {
	body, err := get(url)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(body), v)
}
