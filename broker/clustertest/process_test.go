package clustertest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ackline/broker/testaddr"
)

// node is one broker of a cluster, with what stays the same over its restarts.
type node struct {
	t                 *testing.T
	c                 *cluster
	id                int
	dir               string
	kafka, raft, http string
	args              []string

	proc *process // nil: not running
}

// process is one life of a node.
type process struct {
	cmd    *exec.Cmd
	log    *output
	exited chan struct{} // closed when it has ended
}

// output is what a process wrote to its standard error.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// environ is the environment of the program: with the race detector, each end of one takes a second otherwise.
func environ() []string { return append(os.Environ(), "GORACE=atexit_sleep_ms=0") }

// spawn starts the program and returns the process, and the first line of its output once that is there: empty if it ended
// without one.
func spawn(t *testing.T, args ...string) (*process, string) {
	t.Helper()
	bin, err := broker()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(bin, args...), log: new(output), exited: make(chan struct{})}
	p.cmd.Stderr = p.log
	p.cmd.Env = environ()
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.signal(syscall.SIGKILL); <-p.exited })
	lines := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n')
		lines <- line
		io.Copy(io.Discard, r)
		p.cmd.Wait()
		close(p.exited)
	}()
	return p, <-lines
}

// signal sends a signal, unless the process has ended.
func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.exited:
	default:
		p.cmd.Process.Signal(s)
	}
}

// ended waits for the process and returns its exit code.
func (p *process) ended(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatalf("%v runs on; it said:\n%s", p.cmd.Args, p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

// start starts the node and returns once it listens. A port may be taken for a moment by somebody else's search for one.
func (n *node) start() {
	n.t.Helper()
	until(n.t, "node "+strconv.Itoa(n.id)+" to listen", func() bool {
		p, line := spawn(n.t, n.args...)
		if strings.HasPrefix(line, "broker listens: ") {
			n.proc = p
			n.t.Cleanup(func() { // before the one that ends the process
				if n.t.Failed() {
					n.c.diagnose()
				}
			})
			return true
		}
		if code := p.ended(n.t); !strings.Contains(p.log.String(), "address already in use") {
			n.t.Fatalf("node %d said %q and ended with %d: %s", n.id, line, code, p.log)
		}
		return false
	})
}

func (n *node) kill() {
	n.t.Helper()
	n.proc.signal(syscall.SIGKILL)
	n.proc.ended(n.t)
	n.unraced()
	n.proc = nil
}

// stop ends the node gracefully.
func (n *node) stop() {
	n.t.Helper()
	n.proc.signal(syscall.SIGTERM)
	if code := n.proc.ended(n.t); code != 0 {
		n.t.Fatalf("node %d ended with %d after SIGTERM: %s", n.id, code, n.proc.log)
	}
	n.unraced()
	n.proc = nil
}

// unraced fails the test if the race detector of a broker has said something.
func (n *node) unraced() {
	n.t.Helper()
	if said := n.proc.log.String(); strings.Contains(said, "DATA RACE") || strings.Contains(said, "panic:") {
		n.t.Fatalf("node %d: %s", n.id, said)
	}
}

// said tells whether the node has logged something.
func (n *node) said(what string) bool { return strings.Contains(n.proc.log.String(), what) }

// prober keeps no connections, for which a node that stops would wait.
var prober = http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// ready asks /readyz; the reason is the node's, or why it could not be asked.
func (n *node) ready() (bool, string) {
	resp, err := prober.Get("http://" + n.http + "/readyz")
	if err != nil {
		return false, err.Error()
	}
	defer resp.Body.Close()
	var answer struct {
		Ready  bool
		Reason string
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return false, err.Error()
	}
	return answer.Ready && resp.StatusCode == http.StatusOK, answer.Reason
}

// newNode describes a node that has not heard of others yet.
func newNode(c *cluster, id int, config string) *node {
	t := c.t
	n := &node{t: t, c: c, id: id, dir: filepath.Join(c.dir, strconv.Itoa(id)), kafka: testaddr.Next(t), raft: testaddr.Next(t), http: testaddr.Next(t)}
	n.args = []string{"cluster", "--config", config, "--node-id", strconv.Itoa(id), "--data-dir", n.dir,
		"--listen-addr", n.kafka, "--raft-addr", n.raft, "--http-addr", n.http, "--pprof"}
	return n
}
