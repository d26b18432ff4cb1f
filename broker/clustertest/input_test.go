package clustertest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"ackline/broker/testaddr"
)

// double is the command line of a second process under a node's id, with a directory and ports of its own.
func (n *node) double(dir string) []string {
	other := *n
	other.kafka, other.raft, other.http = testaddr.Next(n.t), testaddr.Next(n.t), testaddr.Next(n.t)
	args := append([]string(nil), n.args...)
	for i, a := range args {
		switch a {
		case n.dir:
			args[i] = dir
		case n.kafka:
			args[i] = other.kafka
		case n.raft:
			args[i] = other.raft
		case n.http:
			args[i] = other.http
		}
	}
	return args
}

// TestStrangersAreRefused starts what must not become part of a cluster beside it: each is told so; the cluster goes on as if
// nothing had been. A copy of a node's directory could also be that node itself, restarted before its death was noticed, so it
// does not end, but says what is the matter.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "")
	l, w := startLoad(c), startWatch(c)
	l.goesOn(10)
	two, dir := c.nodes[1], t.TempDir()
	two.kill()
	copied := filepath.Join(dir, "copy")
	if err := os.CopyFS(copied, os.DirFS(two.dir)); err != nil {
		t.Fatal(err)
	}
	two.start()
	c.ready()
	for _, s := range []struct {
		what string
		args []string
		says string
		ends bool
	}{
		{"a node of another cluster", append(two.double(filepath.Join(dir, "other")), "--cluster-name", "other"), "is of cluster", true},
		{"an empty directory under a known id", two.double(filepath.Join(dir, "empty")), "another data directory", true},
		{"a copy of a node's directory beside it", two.double(copied), "on a copy of the data directory", false},
	} {
		p, line := spawn(t, s.args...)
		if !strings.HasPrefix(line, "broker listens: ") {
			t.Errorf("%s: it said %q: %s", s.what, line, p.log)
		}
		until(t, s.what+" to be refused", func() bool { return strings.Contains(p.log.String(), s.says) })
		l.goesOn(10)
		if !s.ends {
			p.signal(syscall.SIGKILL)
		}
		if code := p.ended(t); s.ends && code != 1 {
			t.Errorf("%s: exit %d: %s", s.what, code, p.log)
		}
	}
	c.ready()
	w.finish()
	l.finish()
}

// TestReplicationFactorAboveTheNodes is refused, with the number that would do.
func TestReplicationFactorAboveTheNodes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "")
	cl := c.client()
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 4, nil, "four")
	if !errors.Is(err, kerr.InvalidReplicationFactor) || !strings.Contains(r.ErrMessage, "3") {
		t.Fatalf("four replicas on three nodes: %v, %q", err, r.ErrMessage)
	}
	if topics := c.nodes[0].metadata().Topics; len(topics) != 0 {
		t.Fatalf("there are topics: %v", topics)
	}
}
