package clustertest

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// TestNoTopicIsForgottenAtAColdStart powers all nodes off and starts them one by one. The first knows little of what was
// committed, and nobody to ask: it must not call the topic unknown. When all are there, they agree.
func TestNoTopicIsForgottenAtAColdStart(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, impatient)
	l := startLoad(c)
	l.goesOn(10)
	c.nodes[0].createOn("late")
	before := c.nodes[0].catalog()
	for _, n := range c.nodes {
		n.proc.cmd.Process.Kill()
	}
	for _, n := range c.nodes {
		n.kill()
	}
	for _, n := range c.nodes {
		n.start()
		for _, topic := range n.metadata("late", topic).Topics {
			if code := topic.ErrorCode; code != 0 && code != kerr.LeaderNotAvailable.Code {
				t.Errorf("node %d, just started, says of %s: %v", n.id, *topic.Topic, kerr.ErrorForCode(code))
			}
		}
	}
	c.ready()
	c.agree("late")
	if after := c.nodes[0].catalog(); after != before {
		t.Errorf("the catalog was\n%s\nand is\n%s", before, after)
	}
	l.finish()
}

// TestNothingRunsOnBehindTheLoad: nodes log nothing for a produce, and when the load ends, clients having hung up in all ways
// that there are, they rest: no socket that is closed keeps anything busy, nor does a partition.
func TestNothingRunsOnBehindTheLoad(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "")
	c.create("many", 100, 3, nil)
	l := startLoad(c)
	l.goesOn(20)
	said := make([]int, len(c.nodes))
	for i, n := range c.nodes {
		said[i] = strings.Count(n.proc.log.String(), "\n")
	}
	l.goesOn(200)
	for i, n := range c.nodes {
		if lines := strings.Count(n.proc.log.String(), "\n") - said[i]; lines > 20 {
			t.Errorf("node %d logged %d lines during 800 records:\n%s", n.id, lines, n.proc.log)
		}
	}
	l.finish()
	for _, n := range c.nodes {
		for _, end := range []func(*net.TCPConn){
			func(s *net.TCPConn) { s.CloseWrite() },
			func(s *net.TCPConn) { s.SetLinger(0); s.Close() },
			func(s *net.TCPConn) { s.Close() },
		} {
			s, err := net.Dial("tcp", n.kafka)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Write([]byte{0, 0, 1}); err != nil { // the beginning of a frame
				t.Fatal(err)
			}
			end(s.(*net.TCPConn))
		}
	}
	for _, n := range c.nodes {
		const most = 10 // percent of a processor; what spins takes a hundred
		used := 0
		until(t, fmt.Sprintf("node %d to use less than %d%% of a processor, it is %d%%", n.id, most, used), func() bool {
			start, at := n.cpu(), time.Now()
			<-time.After(300 * time.Millisecond) // what is measured is a time
			used = int(100 * (n.cpu() - start) / time.Since(at))
			return used < most
		})
	}
}

// cpu is the processor time that the node has used.
func (n *node) cpu() time.Duration {
	n.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.proc.cmd.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	ticks := 0
	for _, field := range f[11:13] { // user and system time, in hundredths of a second
		v, err := strconv.Atoi(field)
		if err != nil {
			n.t.Fatal(err)
		}
		ticks += v
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
