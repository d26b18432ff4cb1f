package transport

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/secure"
	"ackline/broker/transport/secure/securetest"
)

func keys(t *testing.T, ca *securetest.CA, n id.NodeID) *secure.Keys {
	t.Helper()
	return load(t, ca.Node(t, n), n, time.Now)
}

func load(t *testing.T, f secure.Files, n id.NodeID, clock func() time.Time) *secure.Keys {
	t.Helper()
	k, err := secure.Load(f, n, clock)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestTLS(t *testing.T) {
	ca := securetest.NewCA(t)
	a, b := couple(t, func(c *Config) { c.TLS = keys(t, ca, c.Node) })
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
	good.TLS, impostor.TLS = keys(t, ca, 1), keys(t, ca, 3)
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

// Nodes that do not trust one another, or are of different minds about TLS, do not come together. Both say why, and once,
// however often they try.
func TestTLSMismatch(t *testing.T) {
	ca, other := securetest.NewCA(t), securetest.NewCA(t)
	long := ca.NodeBetween(t, 1, time.Now().AddDate(-1, 0, 0), time.Now().AddDate(1, 0, 0))
	later := func() time.Time { return time.Now().AddDate(0, 0, 3) }
	const bad = "refuses the connection (bad certificate): "
	for name, tt := range map[string]struct {
		a, b   *secure.Keys
		aSays  []string // in the log, each once and nothing else
		bSays  []string
		events [2]string
	}{
		"another CA": {keys(t, ca, 1), keys(t, other, 2),
			[]string{`no connection to a node\" node=2 [^\n]*the certificate of node 2: it is signed by none of the CAs in `,
				`refused a connection\" from=127.0.0.1 claims_node=-1 [^\n]*TLS with this node's certificate: remote error`},
			[]string{`no connection to a node\" node=1 [^\n]*the certificate of node 1: it is signed by none of the CAs in `,
				`refused a connection\" from=127.0.0.1 claims_node=-1 [^\n]*TLS with this node's certificate: remote error`},
			[2]string{"refused 2 node 1 " + bad + "the certificate of node 2", "refused 1 node 2 " + bad + "the certificate of node 1"}},
		"expired": {load(t, long, 1, later), keys(t, ca, 2),
			[]string{`no connection to a node\" node=2 [^\n]*the certificate of node 2: .{0,3}CN=node-2.{0,3} expired at .*: renew it`,
				`refused a connection\" from=127.0.0.1 claims_node=2 [^\n]*node-2.* expired at `},
			[]string{`no connection to a node\" node=1 [^\n]*TLS with this node's certificate: remote error: tls: expired certificate`,
				`refused a connection\" from=127.0.0.1 claims_node=-1 [^\n]*TLS with this node's certificate: remote error: tls: bad certificate`},
			[2]string{"refused 2 node 1 " + bad, "refused 1 node 1 " + bad + "TLS with this node's certificate"}},
		"no TLS on one side": {keys(t, ca, 1), nil,
			[]string{`no connection to a node\" node=2 [^\n]*where TLS begins: what listens there has no TLS`,
				`refused a connection\" from=127.0.0.1 claims_node=2 [^\n]*node 2 has no TLS, and node 1 takes nothing else`},
			[]string{`no connection to a node\" node=1 [^\n]*node 1 refuses the connection \(TLS on one side\): node 2 has no TLS`,
				`refused a connection\" from=127.0.0.1 claims_node=-1 [^\n]*begins with TLS, and this node has none`},
			[2]string{"refused 2 node 1 refuses the connection (TLS on one side)", "refused 1 node 1 refuses the connection (TLS on one side)"}},
	} {
		t.Run(name, func(t *testing.T) {
			var logs [2]lockedBuffer
			ca, cb := testConfig(1), testConfig(2)
			ca.TLS, cb.TLS = tt.a, tt.b
			ca.Log, cb.Log = slog.New(slog.NewTextHandler(&logs[0], nil)), slog.New(slog.NewTextHandler(&logs[1], nil))
			a, b := newNode(t, ca).start(anywhere), newNode(t, cb).start(anywhere)
			a.AddPeer(2, b.addr)
			b.AddPeer(1, a.addr)
			a.await(tt.events[0])
			b.await(tt.events[1])
			until(t, "both to have tried again and again", func() bool {
				sa, sb := a.Stats(), b.Stats()
				return sa.Dials > 30 && sb.Dials > 30 && sa.Refused > 20 && sb.Refused > 20
			})
			a.Send(2, 1, []pb.Message{{Type: pb.MsgApp}})
			if len(b.received()) > 0 || a.told("up ") != 0 || b.told("up ") != 0 {
				t.Errorf("node 1 was told %v, node 2 %v", a.history(), b.history())
			}
			for i, want := range [][]string{tt.aSays, tt.bSays} {
				text := logs[i].String()
				for _, w := range want {
					if n := len(regexp.MustCompile(w).FindAllString(text, -1)); n != 1 {
						t.Errorf("node %d has %d lines like %s", i+1, n, w)
					}
				}
				if lines := strings.Count(text, "\n"); lines != len(want) {
					t.Errorf("node %d has %d lines, want %d:\n%s", i+1, lines, len(want), text)
				}
			}
		})
	}
}

// What is wrong with a certificate may change, and is said again.
func TestAnotherFaultIsLoggedAgain(t *testing.T) {
	ca, other := securetest.NewCA(t), securetest.NewCA(t)
	days := func(n int) time.Time { return time.Now().AddDate(0, 0, n) }
	files := other.NodeBetween(t, 2, days(-100), days(5))
	var log lockedBuffer
	c1, c2 := testConfig(1), testConfig(2)
	c1.TLS = load(t, ca.NodeBetween(t, 1, days(-100), days(5)), 1, time.Now)
	c2.TLS = load(t, files, 2, func() time.Time { return days(-10) })
	c1.Log = slog.New(slog.NewTextHandler(&log, nil))
	a, b := newNode(t, c1).start(anywhere), newNode(t, c2).start(anywhere)
	a.AddPeer(2, b.addr)
	b.AddPeer(1, a.addr)
	a.await("signed by none of the CAs")
	// Its clock is late, so it takes these for good; they are of the right CA, and expired.
	securetest.Move(t, ca.NodeBetween(t, 2, days(-100), days(-5)), files)
	a.await("expired at")
	// One line each, and at most two more of attempts that were under way when the fault changed.
	if text := log.String(); strings.Count(text, "no connection to a node") > 4 {
		t.Errorf("not one line for each fault:\n%s", text)
	}
	securetest.Move(t, ca.NodeBetween(t, 2, days(-100), days(5)), files)
	until(t, "a connection", func() bool { return a.Stats().Links[frame.Bulk].Connected })
}

// Certificates are replaced in running nodes: the next connection uses the new ones.
func TestTLSReload(t *testing.T) {
	old, next := securetest.NewCA(t), securetest.NewCA(t)
	files := map[id.NodeID]secure.Files{1: old.Node(t, 1), 2: old.Node(t, 2)}
	var log lockedBuffer
	a, b := couple(t, func(c *Config) {
		c.TLS = load(t, files[c.Node], c.Node, time.Now)
		if c.Node == 1 {
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
		}
	})
	for n, f := range files {
		securetest.Move(t, next.Node(t, n), f)
	}
	connects := a.Stats().Links[frame.Bulk].Connects
	a.peer(2).links[frame.Bulk].Break()
	until(t, "a connection with the new certificates", func() bool { return a.Stats().Links[frame.Bulk].Connects > connects })
	if text := log.String(); strings.Count(text, "the TLS files are used") != 1 {
		t.Errorf("not one line that says which files are used now:\n%s", text)
	}
	until(t, "a message over it", func() bool { a.Send(2, 1, app(1, nil)); return len(b.received()) > 0 })
	// Who has only the old ones is a stranger now.
	cfg := testConfig(3)
	cfg.TLS = keys(t, old, 3)
	c := newNode(t, cfg).start(anywhere)
	a.AddPeer(3, c.addr)
	c.AddPeer(1, a.addr)
	c.await("refused 1")
}
