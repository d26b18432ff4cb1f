package node_test

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/broker/id"
	"ackline/broker/node/config"
	"ackline/broker/transport/secure"
	"ackline/broker/transport/secure/securetest"
)

// lockedLog is a log that several nodes write.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// lines returns those that match.
func (l *lockedLog) lines(re string) (found []string) {
	want := regexp.MustCompile(re)
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if want.MatchString(line) {
			found = append(found, line)
		}
	}
	return found
}

func tlsOf(f secure.Files) config.TLS {
	return config.TLS{CertFile: f.Cert, KeyFile: f.Key, CAFile: f.CA}
}

func filesOf(t config.TLS) secure.Files {
	return secure.Files{Cert: t.CertFile, Key: t.KeyFile, CA: t.CAFile}
}

// Three nodes with TLS form a cluster and take records; then all get certificates of another CA, and nodes that go on running
// use them as soon as a node that was restarted with them connects: with it, and without the third, there is a majority.
func TestClusterOverTLS(t *testing.T) {
	old, next := securetest.NewCA(t), securetest.NewCA(t)
	c, log := loggedCluster(t, tlsOf(old.Node(t, 1)), tlsOf(old.Node(t, 2)), tlsOf(old.Node(t, 3)))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, acked := c.client(), newLedger()
	produce := func(n int) {
		t.Helper()
		for i := range n {
			r := &kgo.Record{Topic: "events", Value: fmt.Appendf(nil, "record %d of %d", i, n)}
			if err := p.ProduceSync(ctx, r).FirstErr(); err != nil {
				t.Fatal(err)
			}
			acked.ack(r)
		}
	}
	produce(20)
	for i := range c.tls {
		securetest.Move(t, next.Node(t, id.NodeID(i+1)), filesOf(c.tls[i]))
	}
	c.stop(2)
	c.start(2)
	c.ready()
	c.stop(0)
	produce(21)
	acked.check(t, c.nodes[1], "events", 1)
	for _, n := range []int{1, 2} {
		if got := log.lines(fmt.Sprintf(`the TLS files are used.* node=%d `, n)); len(got) != 1 {
			t.Errorf("node %d says that it uses other files: %q", n, got)
		}
	}
}

// A node with a certificate of another CA, or without any, is no part of the cluster: the others go on without it, both sides
// say why, and it is one of them once it has the right one, without a restart of anybody.
func TestClusterRefusesAWrongCertificate(t *testing.T) {
	ours, theirs := securetest.NewCA(t), securetest.NewCA(t)
	c, log := loggedCluster(t, tlsOf(ours.Node(t, 1)), tlsOf(ours.Node(t, 2)), tlsOf(ours.Node(t, 3)))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p := c.client()
	produce := func() {
		t.Helper()
		if err := p.ProduceSync(ctx, &kgo.Record{Topic: "events", Value: []byte("record")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	produce()
	right := c.tls[2]
	c.stop(2)
	c.tls[2] = config.TLS{}
	c.start(2)
	said := func(re string) {
		t.Helper()
		until(t, "a line like "+re, func() bool { return len(log.lines(re)) > 0 })
	}
	said(`no connection to a node" node=3 node=1 .*node 3 has no TLS`)
	said(`no connection to a node" node=[12] node=3 .*what listens there has no TLS`)
	produce()
	if ok, why := c.nodes[2].Ready(); ok || !strings.Contains(why, "not reached: 1 at ") {
		t.Errorf("a node that reaches nobody says %v, %q", ok, why)
	}
	c.stop(2)
	c.tls[2] = tlsOf(theirs.Node(t, 3))
	c.start(2)
	said(`no connection to a node" node=[12] node=3 .*the certificate of node 3: it is signed by none of the CAs in `)
	said(`no connection to a node" node=3 node=1 .*the certificate of node 1: it is signed by none of the CAs in `)
	produce()
	if ok, _ := c.nodes[2].Ready(); ok {
		t.Error("a node of another CA is ready")
	}
	securetest.Move(t, filesOf(right), filesOf(c.tls[2]))
	c.ready()
	produce()
}
