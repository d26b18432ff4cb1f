package transport

import (
	"bytes"
	"io"
	"os"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/secure"
	"ackline/broker/transport/secure/securetest"
)

func keys(t *testing.T, f secure.Files) *secure.Keys {
	t.Helper()
	k, err := secure.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestTLS(t *testing.T) {
	ca := securetest.NewCA(t)
	a, b := couple(t, func(c *Config) { c.TLS = keys(t, ca.Node(t, c.Node)) })
	for i := range 20 {
		a.Send(2, 1, app(i, make([]byte, i*10_000)))
	}
	for i, gm := range b.awaitMessages(20) {
		if gm.Message.Index != uint64(i) || len(gm.Message.Entries[0].Data) != i*10_000 {
			t.Fatalf("message %d is %d", i, gm.Message.Index)
		}
	}
	if s := a.Stats().Links[frame.Bulk]; s.InlineWrites != 0 || s.WriterStarts == 0 {
		t.Errorf("TLS writes inline: %+v", s)
	}
	var got []byte
	b.take(func(_ id.NodeID, m GroupMessage, r io.Reader) (err error) { got, err = io.ReadAll(r); return err })
	data := bytes.Repeat([]byte("data"), 100_000)
	if err := sendSnap(t, a, 2, bytes.NewReader(data)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("a snapshot of %d bytes came as %d: %v", len(data), len(got), err)
	}
	b.take(func(id.NodeID, GroupMessage, io.Reader) error { return os.ErrPermission })
	if err := sendSnap(t, a, 2, bytes.NewReader(make([]byte, 10<<20))); err == nil || err.Error() != "node 2 did not take the snapshot: permission denied" {
		t.Errorf("a refused snapshot: %v", err)
	}
	b.Close()
	a.await("down 2 refused")
	a.Close()
	noGoroutines(t)
}

// A certificate of the cluster is not enough: it must be that of the node.
func TestCertificateOfAnotherNode(t *testing.T) {
	ca := securetest.NewCA(t)
	good, impostor := testConfig(1), testConfig(2)
	good.TLS, impostor.TLS = keys(t, ca.Node(t, 1)), keys(t, ca.Node(t, 3))
	a, b := newNode(t, good).start(anywhere), newNode(t, impostor).start(anywhere)
	// Node 2 dials with node 3's certificate.
	b.AddPeer(1, a.addr)
	a.await(`refused 2 node 1 refuses the connection (bad certificate): the certificate of what claims to be node 2 is for the DNS names ["node-3"]: it must have "node-2"`)
	b.await(`refused 1 node 1 refuses the connection (bad certificate)`)
	// Node 2 is dialled.
	a.AddPeer(2, b.addr)
	until(t, "the dial to fail", func() bool { return a.told(`refused 2 node 1 refuses the connection (bad certificate)`) >= 2 })
	if a.told("up ") != 0 || b.told("up ") != 0 {
		t.Errorf("node 1 was told %v, node 2 %v", a.history(), b.history())
	}
}

// Nodes of different CAs, and of different minds about TLS, do not come together, and say why.
func TestTLSMismatch(t *testing.T) {
	ca, other := securetest.NewCA(t), securetest.NewCA(t)
	for name, tt := range map[string]struct {
		b    *secure.Keys
		a, c string
	}{
		"another CA": {keys(t, other.Node(t, 2)), "refused 2 node 1 refuses the connection (bad certificate): the certificate of node 2",
			"refused 1 node 2 refuses the connection (bad certificate): the certificate of node 1"},
		"no TLS": {nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			ca1, cb := testConfig(1), testConfig(2)
			ca1.TLS, cb.TLS = keys(t, ca.Node(t, 1)), tt.b
			a, b := newNode(t, ca1).start(anywhere), newNode(t, cb).start(anywhere)
			a.AddPeer(2, b.addr)
			b.AddPeer(1, a.addr)
			if tt.a != "" {
				a.await(tt.a)
				b.await(tt.c)
			}
			until(t, "both to have tried", func() bool { return a.Stats().Dials > 6 && b.Stats().Dials > 6 && a.Stats().Refused > 3 })
			a.Send(2, 1, []pb.Message{{Type: pb.MsgApp}})
			if len(b.received()) > 0 || a.told("up ") != 0 || b.told("up ") != 0 {
				t.Errorf("node 1 was told %v, node 2 %v", a.history(), b.history())
			}
		})
	}
}

// Certificates are replaced in running nodes: the next connection uses the new ones.
func TestTLSReload(t *testing.T) {
	old, next := securetest.NewCA(t), securetest.NewCA(t)
	files := map[id.NodeID]secure.Files{1: old.Node(t, 1), 2: old.Node(t, 2)}
	a, b := couple(t, func(c *Config) { c.TLS = keys(t, files[c.Node]) })
	for n, f := range files {
		fresh := next.Node(t, n)
		for from, to := range map[string]string{fresh.CA: f.CA, fresh.Cert: f.Cert, fresh.Key: f.Key} {
			content, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(to, content, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	connects := a.Stats().Links[frame.Bulk].Connects
	a.peer(2).links[frame.Bulk].Break()
	until(t, "a connection with the new certificates", func() bool { return a.Stats().Links[frame.Bulk].Connects > connects })
	until(t, "a message over it", func() bool { a.Send(2, 1, app(1, nil)); return len(b.received()) > 0 })
	// Who has only the old ones is a stranger now.
	cfg := testConfig(3)
	cfg.TLS = keys(t, old.Node(t, 3))
	c := newNode(t, cfg).start(anywhere)
	a.AddPeer(3, c.addr)
	c.AddPeer(1, a.addr)
	c.await("refused 1")
}
