package clustertest

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ackline/broker/node/admin"
)

// saying is what "broker admin" ended with.
type saying struct {
	code        int
	out, errOut string
}

// say starts "broker admin" against a node; what it ends with comes later.
func (n *node) say(args ...string) <-chan saying {
	n.t.Helper()
	bin, err := broker()
	if err != nil {
		n.t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(n.t.Context(), bin, append(append([]string{"admin"}, args...), "--http-addr", n.http)...)
	cmd.Stdout, cmd.Stderr, cmd.Env = &stdout, &stderr, environ()
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	said := make(chan saying, 1)
	go func() {
		cmd.Wait()
		said <- saying{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	}()
	return said
}

// admin runs "broker admin" against a node, and returns its exit code and what it said.
func (n *node) admin(args ...string) (code int, out, errOut string) {
	n.t.Helper()
	s := <-n.say(args...)
	return s.code, s.out, s.errOut
}

func (n *node) mustAdmin(args ...string) string {
	n.t.Helper()
	code, out, errOut := n.admin(args...)
	if code != 0 {
		n.t.Fatalf("broker admin %v ended with %d: %s%s", args, code, out, errOut)
	}
	return out
}

func (n *node) status() (s admin.Status, code int) {
	n.t.Helper()
	code, out, errOut := n.admin("status", "--json")
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		n.t.Fatalf("%v: %s%s", err, out, errOut)
	}
	return s, code
}

// join makes the cluster expect one more node, asked at an old one, and starts it. On a relayed cluster what it says to the nodes
// that run now can be lost, and what they say to it cannot: they learn from the metadata where it is, not from their configuration.
func (c *cluster) join(at *node) *node {
	c.t.Helper()
	id := len(c.nodes) + 1
	n := newNode(c, id, filepath.Join(c.dir, "broker.toml"))
	var peers []string
	for _, p := range c.running() {
		addr := p.raft
		if c.net != nil {
			addr = c.net.connect(way{id, p.id}, p.raft)
		}
		peers = append(peers, strconv.Itoa(p.id)+"@"+addr)
	}
	n.args = append(n.args, "--join", "--peers", strings.Join(peers, ","))
	at.mustAdmin("add", strconv.Itoa(id), n.raft)
	c.nodes = append(c.nodes, n)
	n.start()
	return n
}

// TestNodesComeAndGo changes a cluster's nodes under load, with the tools that an operator has: a killed node is replaced by a new
// one, and a node that lives is removed. Nothing that was acknowledged is lost, and nobody who was removed gets in again.
func TestNodesComeAndGo(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, impatient)
	l := startLoad(c)
	l.goesOn(20)
	one, two, three := c.node(1), c.node(2), c.node(3)
	four := c.join(one)
	c.ready()
	three.kill()
	l.goesOn(20)
	if s, code := two.status(); code != 3 || s.Counts.UnderReplicated == 0 {
		t.Errorf("with a dead node the status is %d: %+v", code, s)
	}
	t.Log(two.mustAdmin("replace", "3", "4"))
	l.goesOn(20)
	l.check()
	until(t, "the cluster to be well without node 3", func() bool {
		s, code := four.status()
		return code == 0 && len(s.Nodes) == 3 && len(s.Metadata.Voters) == 3 && s.Counts.Going == 0
	})
	five := c.join(two)
	c.ready()
	two.mustAdmin("transfer", "--all-from", "1")
	t.Log(two.mustAdmin("remove", "1"))
	l.goesOn(20)
	if code := one.proc.ended(t); code != 1 || !one.said("removed") {
		t.Errorf("the removed node ended with %d: %s", code, one.proc.log)
	}
	one.unraced()
	one.proc = nil
	three.start() // with all that it had
	if code := three.proc.ended(t); code != 1 || !three.said("removed, or never added") {
		t.Errorf("a removed node that came back ended with %d: %s", code, three.proc.log)
	}
	three.unraced()
	three.proc = nil
	until(t, "the cluster to be well without node 1", func() bool {
		s, code := five.status()
		return code == 0 && len(s.Nodes) == 3 && len(s.Metadata.Voters) == 3 && s.Counts.Going == 0
	})
	for _, n := range []*node{two, four, five} { // and it stays so when they are started again
		n.kill()
		n.start()
		c.ready()
		l.goesOn(10)
	}
	l.finish()
}

// TestAdminWithoutMajority: what is left says what it knows, and changes nothing.
func TestAdminWithoutMajority(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, impatient)
	c.create(topic, partitions, 3, nil)
	c.nodes[0].kill()
	c.nodes[1].kill()
	last := c.nodes[2]
	until(t, "node 3 to see that it is alone", func() bool {
		s, code := last.status()
		return code == 3 && s.Metadata.Leader == 0 && s.Counts.Leaderless == partitions && len(s.Nodes) == 3 && len(s.Warnings) > 0
	})
	if code, out, errOut := last.admin("status"); code != 3 || !strings.Contains(out, "majority") || !strings.Contains(out, "metadata: led by nobody") {
		t.Errorf("status ends with %d: %s%s", code, out, errOut)
	}
	if code, out, _ := last.admin("leaders"); code != 0 || !strings.Contains(out, topic+"/0") {
		t.Errorf("leaders ends with %d: %s", code, out)
	}
	if code, _, errOut := last.admin("transfer", topic+"/0", "--to", "3"); code != 1 || !strings.Contains(errOut, "has no leader") {
		t.Errorf("transfer ends with %d: %s", code, errOut)
	}
	if code, _, errOut := last.admin("add", "4", "127.0.0.1:1"); code != 1 || !strings.Contains(errOut, "majority") {
		t.Errorf("add ends with %d: %s", code, errOut)
	}
}
