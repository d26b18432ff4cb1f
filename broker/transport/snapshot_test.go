package transport

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/transport/snapshot"
)

var snap = pb.Message{Type: pb.MsgSnap, To: 12, From: 11, Term: 3, Snapshot: &pb.Snapshot{Metadata: pb.SnapshotMetadata{Index: 9, Term: 3,
	ConfState: pb.ConfState{Voters: []uint64{11, 12}}}}}

// closer is a reader that notes its closing.

type closer struct {
	io.Reader
	closed atomic.Int32
}

func (s *closer) Close() error { s.closed.Add(1); return nil }

// outcome is what done was told, and how often.
type outcome struct {
	calls atomic.Int32
	ch    chan error
}

func (o *outcome) done(err error) {
	o.calls.Add(1)
	o.ch <- err
}

// sendSnap sends data and waits for the outcome.
func sendSnap(t *testing.T, a *node, to id.NodeID, r io.Reader) error {
	t.Helper()
	o := &outcome{ch: make(chan error, 10)}
	s := &closer{Reader: r}
	a.SendSnapshot(to, 5, snap, s, o.done)
	err := <-o.ch
	if s.closed.Load() != 1 || o.calls.Load() != 1 {
		t.Errorf("the source was closed %d times, the outcome told %d times", s.closed.Load(), o.calls.Load())
	}
	return err
}

// take is a handler that keeps what it gets.
func (n *node) take(f func(from id.NodeID, m GroupMessage, r io.Reader) error) {
	n.mu.Lock()
	n.snapshot = f
	n.mu.Unlock()
}

func TestSnapshots(t *testing.T) {
	a, b := couple(t, nil)
	data := bytes.Repeat([]byte("snapshot "), 100_000)
	var got []byte
	var head GroupMessage
	b.take(func(from id.NodeID, m GroupMessage, r io.Reader) (err error) {
		head = m
		got, err = io.ReadAll(r)
		if from != 1 {
			t.Errorf("from %d", from)
		}
		return err
	})
	sent := 2*a.cfg.MaxSnapshotsIn + 1 // one after the other there is no bound
	for range sent {
		if err := sendSnap(t, a, 2, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, data) || head.Group != 5 || head.Message.Snapshot.Metadata.Index != 9 {
		t.Errorf("%d bytes of %d, head %+v", len(got), len(data), head)
	}
	b.take(func(id.NodeID, GroupMessage, io.Reader) error { return errors.New("disk full") })
	var remote *snapshot.RemoteError
	if err := sendSnap(t, a, 2, bytes.NewReader(data)); !errors.As(err, &remote) || remote.Text != "disk full" {
		t.Errorf("sent %v", err)
	}
	if err := sendSnap(t, a, 9, bytes.NewReader(data)); !errors.Is(err, ErrClosed) {
		t.Errorf("to nobody: %v", err)
	}
	until(t, "both counts", func() bool {
		sa, sb := a.Stats(), b.Stats()
		return sa.SnapshotsSent == uint64(sent) && sa.SnapshotsSendFailed == 2 && sb.SnapshotsTaken == uint64(sent) && sb.SnapshotsTakeFailed == 1 &&
			sb.SnapshotBytesIn >= uint64(len(data)) && sa.SnapshotBytesOut >= uint64(len(data))
	})
	a.Close()
	if err := sendSnap(t, a, 2, bytes.NewReader(data)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Both ways only so many at once; those that are too many are told so, and those that run go on.
func TestSnapshotsAreBounded(t *testing.T) {
	a, b := couple(t, func(c *Config) {
		c.MaxSnapshotsOut, c.MaxSnapshotsIn = 3, 2
	})
	release := make(chan struct{})
	var running atomic.Int32
	b.take(func(_ id.NodeID, _ GroupMessage, r io.Reader) error {
		running.Add(1)
		<-release
		_, err := io.Copy(io.Discard, r)
		return err
	})
	results := make(chan error, 10)
	var wg sync.WaitGroup
	start := func() {
		wg.Go(func() { results <- sendSnap(t, a, 2, strings.NewReader("data")) })
	}
	for range 2 {
		start()
	}
	until(t, "two that run", func() bool { return running.Load() == 2 })
	if err := sendSnap(t, a, 2, strings.NewReader("data")); err == nil || !strings.Contains(err.Error(), "(busy): node 2 takes 2 snapshots already") {
		t.Errorf("the receiver's third: %v", err)
	}
	a.take(func(_ id.NodeID, _ GroupMessage, r io.Reader) error { _, err := io.Copy(io.Discard, r); return err })
	wait, hold := io.Pipe()
	go func() { results <- sendSnap(t, b, 1, wait) }() // the other direction has its own bound
	for range cap(a.snapOut) - len(a.snapOut) {
		a.snapOut <- struct{}{}
	}
	if err := sendSnap(t, a, 2, strings.NewReader("data")); !errors.Is(err, ErrBusy) {
		t.Errorf("one more than may be sent: %v", err)
	}
	close(release)
	hold.Close()
	wg.Wait()
	for range 3 {
		if err := <-results; err != nil {
			t.Errorf("one that ran: %v", err)
		}
	}
}

// A snapshot may be slow, but the links are not: it has its own connection and its own pace.
func TestSnapshotRate(t *testing.T) {
	a, b := couple(t, func(c *Config) { c.SnapshotRate = 400_000 })
	b.take(func(_ id.NodeID, _ GroupMessage, r io.Reader) error { _, err := io.Copy(io.Discard, r); return err })
	began := time.Now()
	results := make(chan error, 2)
	for range 2 {
		go func() { results <- sendSnap(t, a, 2, bytes.NewReader(make([]byte, 100_000))) }()
	}
	until(t, "messages meanwhile", func() bool { a.Send(2, 1, app(1, nil)); return len(b.received()) > 0 })
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	// 200,000 bytes less the burst of 50,000 at 400,000 a second.
	if took := time.Since(began); took < 370*time.Millisecond {
		t.Errorf("two snapshots of 100,000 bytes took %v at 400,000 bytes a second", took)
	}
}

// Whatever ends a snapshot in the midst, each side hears of it once.
func TestSnapshotEndsInTheMidst(t *testing.T) {
	for name, end := range map[string]func(a, b *node){
		"the receiver goes":    func(_, b *node) { b.Close() },
		"the sender goes":      func(a, _ *node) { a.Close() },
		"the peer is removed":  func(a, _ *node) { a.RemovePeer(2) },
		"the other is removed": func(_, b *node) { b.RemovePeer(1) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := couple(t, nil)
			received := make(chan error, 1)
			reading := make(chan struct{})
			b.take(func(_ id.NodeID, _ GroupMessage, r io.Reader) error {
				io.CopyN(io.Discard, r, 10)
				close(reading)
				_, err := io.Copy(io.Discard, r)
				received <- err
				return err
			})
			wait, hold := io.Pipe()
			go hold.Write(make([]byte, 1<<20))
			o := &outcome{ch: make(chan error, 10)}
			a.SendSnapshot(2, 5, snap, wait, o.done)
			<-reading
			end(a, b)
			if err := <-received; err == nil {
				t.Error("the receiver has the whole of a part")
			}
			hold.CloseWithError(errors.New("the test is over"))
			if err := <-o.ch; err == nil || o.calls.Load() != 1 {
				t.Errorf("the sender heard %v, %d times", err, o.calls.Load())
			}
			a.Close()
			b.Close()
			noGoroutines(t)
		})
	}
}
