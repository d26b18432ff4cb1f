package target

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// nodes is a broker program that serves what it was told to, answers its health from a file server, and writes down what it was
// called with.
func nodes(t *testing.T, broken string) (Programs, string) {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
echo $$ "$@" >> %s/calls
while [ $# -gt 0 ]; do
	case $1 in --node-id) id=$2;; --listen-addr) kafka=$2;; --data-dir) data=$2;; esac
	shift
done
%s
trap 'exit 0' TERM
echo "broker listens: node $id of 3 kafka $kafka data $data sync direct-dsync recovered 0 bytes in 1ms"
while :; do sleep 0.01; done
`, dir, broken)
	if err := os.WriteFile(filepath.Join(dir, "broker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return Programs{Broker: filepath.Join(dir, "broker"), Floor: filepath.Join(dir, "floor")}, dir
}

func nodeConfig(dir string) BrokerConfig {
	return BrokerConfig{DataDir: filepath.Join(dir, "data"), ListenAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", RingBytes: 4096, SyncMethod: "direct-dsync",
		File: filepath.Join(dir, "broker.toml"), Log: filepath.Join(dir, "broker.log")}
}

// Each node knows the others' addresses, and comes back with its own.
func TestNodesOfOneCluster(t *testing.T) {
	p, dir := nodes(t, "")
	b := &Brokers{programs: p, Nodes: make([]*Broker, 3), starts: make([]int, 3)}
	if err := b.plan(nodeConfig(dir), 3); err != nil {
		t.Fatal(err)
	}
	if err := b.each(func(i int) error { return b.Start(context.Background(), i) }); err != nil {
		t.Fatal(err)
	}
	defer b.Kill()
	seen := map[string]bool{}
	for i, c := range b.configs {
		for _, a := range []string{c.ListenAddr, c.HTTPAddr, c.RaftAddr} {
			if seen[a] {
				t.Errorf("%s is given twice", a)
			}
			seen[a] = true
		}
		args := strings.Join(c.args(), " ")
		for j, other := range b.configs {
			peer := fmt.Sprintf("%d@%s", j+1, other.RaftAddr)
			if strings.Contains(args, peer) == (i == j) {
				t.Errorf("node %d is called with %q", i+1, args)
			}
		}
		if !strings.HasPrefix(args, "cluster ") || !strings.Contains(args, fmt.Sprintf("--node-id %d --raft-addr %s", i+1, c.RaftAddr)) {
			t.Errorf("node %d is called with %q", i+1, args)
		}
		if b.Nodes[i].Addr != c.ListenAddr {
			t.Errorf("node %d serves %s, want %s", i+1, b.Nodes[i].Addr, c.ListenAddr)
		}
	}
	if pids := b.PIDs(1); len(pids) != 3 || pids[0] != b.Nodes[1].PID() {
		t.Errorf("processes %v, want that of node 2 in front", pids)
	}
	if err := b.Err(); err != nil {
		t.Errorf("all run: %v", err)
	}
	addr := b.Nodes[2].Addr
	b.Nodes[2].Kill()
	if err := b.Err(); err == nil {
		t.Error("a node that was killed is not noticed")
	}
	if err := b.Start(context.Background(), 2); err != nil || b.Nodes[2].Addr != addr {
		t.Errorf("a node came back at %s, want %s: %v", b.Nodes[2].Addr, addr, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "broker-3-2.log")); err != nil {
		t.Errorf("the second start has no log of its own: %v", err)
	}
	if got := b.Addrs(); len(got) != 3 || got[2] != addr {
		t.Errorf("addresses %v", got)
	}
	if err := b.Nodes[1].Pause(); err != nil {
		t.Error(err)
	}
	if err := b.Nodes[1].Resume(); err != nil {
		t.Error(err)
	}
	if err := b.Stop(StopTimeout); err != nil {
		t.Error(err)
	}
}

// When one node does not start, the others are gone too.
func TestNodeThatDoesNotStart(t *testing.T) {
	p, dir := nodes(t, "if [ $id = 2 ]; then echo no luck >&2; exit 3; fi")
	if _, err := p.StartBrokers(context.Background(), nodeConfig(dir), 3); err == nil || !strings.Contains(err.Error(), "node 2: ") || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("got %v", err)
	}
	calls := read(t, filepath.Join(dir, "calls"))
	for line := range strings.Lines(calls) {
		pid, _, _ := strings.Cut(line, " ")
		if _, err := os.Stat("/proc/" + pid); err == nil {
			t.Errorf("process %s is still there", pid)
		}
	}
	if strings.Count(calls, "--node-id") != 3 {
		t.Errorf("called with %q", calls)
	}
}

func TestPortsThatAreTaken(t *testing.T) {
	if _, err := free("192.0.2.1", 1); err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("an address of nobody's: %v", err)
	}
}

// A floor of three: two follow, and the third is told where they are.
func TestStartQuorum(t *testing.T) {
	p, dir := programs(t, "")
	script := fmt.Sprintf(`#!/bin/sh
echo "$@" >> %s/calls
trap 'exit 0' TERM
case "$*" in
*--follow\ *|*--follow) echo floor ready addr=127.0.0.1:$$ floor_version=3 method=direct-dsync role=follower;;
*) echo floor ready addr=127.0.0.1:99 floor_version=3 reply_bytes=60 method=direct-dsync role=leader nodes=3;;
esac
while :; do sleep 0.01; done
`, dir)
	if err := os.WriteFile(p.Floor, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	c := FloorConfig{Dir: filepath.Join(dir, "f"), Host: "127.0.0.1", RingBytes: 8, SyncMethod: "direct-dsync", ReplyBytes: 60, Log: filepath.Join(dir, "log")}
	f, err := p.StartQuorum(context.Background(), c, 3)
	if err != nil {
		t.Fatal(err)
	}
	pids := f.PIDs()
	calls := read(t, filepath.Join(dir, "calls"))
	followers := fmt.Sprintf("--followers 127.0.0.1:%d,127.0.0.1:%d --reply-bytes 60", pids[1], pids[2])
	if len(pids) != 3 || strings.Count(calls, "--follow\n") != 2 || !strings.HasSuffix(calls, followers) || f.Addr != "127.0.0.1:99" {
		t.Errorf("processes %v, calls %q", pids, calls)
	}
	if err := f.Err(); err != nil {
		t.Error(err)
	}
	if err := f.Stop(5 * time.Second); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			t.Errorf("process %d is still there", pid)
		}
	}
	c.Straight = true
	if f, err = p.StartQuorum(context.Background(), c, 3); err != nil {
		t.Fatal(err)
	}
	f.Kill()
	if calls := read(t, filepath.Join(dir, "calls")); !strings.HasSuffix(calls, " --straight") {
		t.Errorf("for one request outstanding: %q", calls)
	}
	if _, err := p.StartQuorum(context.Background(), c, 5); err == nil || !strings.Contains(err.Error(), "5 nodes") {
		t.Errorf("another size than asked for: %v", err)
	}
}

// marked are links that say between whom they were asked for.
type marked struct{}

func (marked) Host(i int) string { return fmt.Sprintf("127.77.0.%d", i+1) }
func (marked) Addr(from, to, port int) (string, error) {
	return fmt.Sprintf("127.77.%d.%d:%d", from+1, to+1, port), nil
}

// Over links, each node listens on its own host and finds every other where the links say, on the port that this one listens on.
func TestPlanOverLinks(t *testing.T) {
	b := &Brokers{}
	if err := b.plan(BrokerConfig{ListenAddr: "127.0.0.1:0", File: "f.toml", Log: "l.log", Links: marked{}}, 3); err != nil {
		t.Fatal(err)
	}
	for i, c := range b.configs {
		if host, _, err := net.SplitHostPort(c.RaftAddr); err != nil || host != (marked{}).Host(i) || len(c.Peers) != 2 {
			t.Errorf("node %d listens on %s (%v) and has peers %q", i+1, c.RaftAddr, err, c.Peers)
		}
		for j := range b.configs {
			_, port, _ := net.SplitHostPort(b.configs[j].RaftAddr)
			if want := fmt.Sprintf("%d@127.77.%d.%d:%s", j+1, i+1, j+1, port); j != i && !slices.Contains(c.Peers, want) {
				t.Errorf("node %d has peers %q, want %s among them", i+1, c.Peers, want)
			}
		}
	}
}
