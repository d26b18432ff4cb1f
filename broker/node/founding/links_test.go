package founding_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/node/datadir"
	"ackline/broker/node/founding"
	"ackline/broker/testaddr"
	"ackline/broker/transport"
	"ackline/broker/transport/call"
	"ackline/broker/transport/frame"
	"ackline/broker/vfs"
)

const kindFounding call.Kind = 1

var boots atomic.Uint64

// handler takes nothing: raft is not of this test.
type handler struct{ transport.Handler }

func (handler) Heartbeat(id.NodeID, frame.Identity, *frame.Heartbeat, int64) {}

// node is what a node is before it has a replica.
type node struct {
	dir *datadir.Dir
	f   *founding.Founder
	t   *transport.Transport
}

// start opens a node's directory and its links.
func start(t *testing.T, fs vfs.FS, n id.NodeID, lns map[id.NodeID]net.Listener, addrs map[id.NodeID]string) *node {
	t.Helper()
	d, err := datadir.Open(fs, "/data", n, "c")
	if err != nil {
		t.Fatal(err)
	}
	x := &node{dir: d}
	x.f = founding.New(founding.Config{Name: "c", Self: n, Incarnation: d.Incarnation, Nodes: []id.NodeID{1, 2, 3}, Roster: d.Roster, Cluster: d.Cluster,
		Agree: d.Agree})
	empty, begin := meta.New(nil), time.Now()
	cfg := transport.Config{Node: n, Identity: frame.Identity{Incarnation: d.Incarnation, Boot: boots.Add(1)}, Cluster: "c", RedialMin: 2 * time.Millisecond,
		RedialMax: 20 * time.Millisecond, Now: func() int64 { return int64(time.Since(begin)) + 1 },
		Admit: func(peer id.NodeID, who frame.Identity) error {
			return founding.Admit(empty.Catalog(), true, x.f.Roster(), peer, who.Incarnation)
		}}
	x.t, err = transport.New(cfg, handler{}, transport.Callbacks{Refused: func(_ id.NodeID, err error) {
		var refused *frame.RefusedError
		if errors.As(err, &refused) && refused.Reason == frame.NotAdmitted {
			x.f.Refused(refused.By, refused.Text)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	x.t.Answer(kindFounding, func(_ context.Context, from id.NodeID, b []byte) ([]byte, error) { return x.f.Answer(from, b) })
	x.t.Start(lns[n])
	for peer, addr := range addrs {
		if peer != n {
			x.t.AddPeer(peer, addr)
		}
	}
	t.Cleanup(x.stop)
	return x
}

func (x *node) stop() {
	x.t.Close()
	x.dir.Close()
}

func (x *node) form(ctx context.Context) error {
	call := func(ctx context.Context, to id.NodeID, b []byte) ([]byte, error) {
		return x.t.Call(ctx, to, kindFounding, b)
	}
	return x.f.Run(ctx, call, founding.Pause, func([]id.NodeID, error) {})
}

func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// Three nodes form a cluster over their links; one that comes back with an emptied directory is turned away with the reason,
// and with the directory that it had it is let in.
func TestOverLinks(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	lns, addrs, disks, nodes := map[id.NodeID]net.Listener{}, map[id.NodeID]string{}, map[id.NodeID]vfs.FS{}, map[id.NodeID]*node{}
	for n := id.NodeID(1); n <= 3; n++ {
		addrs[n] = testaddr.Next(t)
		lns[n], disks[n] = listen(t, addrs[n]), vfs.NewMem()
	}
	for n := range addrs {
		nodes[n] = start(t, disks[n], n, lns, addrs)
	}
	var wg sync.WaitGroup
	for _, x := range nodes {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := x.form(ctx); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	cluster, roster, ok := nodes[1].f.Formed()
	for n, x := range nodes {
		if c, r, formed := x.f.Formed(); !ok || !formed || c != cluster || !r.Equal(roster) || r.Incarnation(n) != x.dir.Incarnation {
			t.Fatalf("node %d: %q [%v], node 1: %q [%v]", n, c, r, cluster, roster)
		}
	}

	nodes[3].stop()
	lns[3] = listen(t, addrs[3])
	emptied := start(t, vfs.NewMem(), 3, lns, addrs)
	if err := emptied.form(ctx); !errors.Is(err, founding.ErrEmptied) || !strings.Contains(err.Error(), "known with another data directory") {
		t.Errorf("an emptied directory: %v", err)
	}
	emptied.stop()

	lns[3] = listen(t, addrs[3])
	back := start(t, disks[3], 3, lns, addrs)
	if err := back.form(ctx); err != nil { // it had not written the id yet: it asks again
		t.Errorf("with its directory: %v", err)
	}
	if c, _, _ := back.f.Formed(); c != cluster {
		t.Errorf("cluster %q, it was %q", c, cluster)
	}
}
