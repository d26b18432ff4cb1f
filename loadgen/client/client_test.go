package client

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
)

const topic = "t"

// patience is what only a hanging test exceeds, however little of the machine it gets.
const patience = 2 * time.Minute

// setup starts a cluster with a topic.
func setup(t *testing.T, nodes, partitions int) (*brokertest.Cluster, *cluster.Cluster, cluster.Topic) {
	t.Helper()
	b := brokertest.Start(t, nodes)
	b.Create(topic, partitions)
	cl, err := cluster.New([]string{b.Addr()}, patience)
	if err != nil {
		t.Fatal(err)
	}
	top, err := cl.Topic(context.Background(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return b, cl, top
}

// openProduce opens the wire driver. Without a time-out of its own an operation may take as long as a test is waited for.
func openProduce(t *testing.T, cfg Config, cl *cluster.Cluster, top cluster.Topic, size int) *Wire {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = patience
	}
	w, err := OpenProduce(context.Background(), cfg, cl, top, frame.NewPayloads(1, size))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// drive submits n operations as fast as the window allows and returns copies of all outcomes.
func drive(t *testing.T, w Worker, n int) []Op {
	t.Helper()
	var out []Op
	done := func(op *Op) { out = append(out, *op) }
	deadline := time.Now().Add(patience)
	for sent := 0; len(out) < n; {
		for w.Room() > 0 && sent < n {
			w.Submit(pace.Now(), pace.Now())
			sent++
		}
		w.Flush()
		if err := w.Wait(pace.Now()+1e8, done); err != nil {
			t.Fatalf("after %d of %d: %v", len(out), n, err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d operations after %v", len(out), n, patience)
		}
	}
	if w.InFlight() != 0 {
		t.Fatalf("%d in flight after everything was answered", w.InFlight())
	}
	return out
}

func failures(ops []Op) (n int) {
	for _, op := range ops {
		if op.Err != nil {
			n++
		}
	}
	return n
}

// check looks at the promises about every operation.
func check(t *testing.T, ops []Op, records int) {
	t.Helper()
	next := map[uint32]uint64{}
	for i, op := range ops {
		if op.Err != nil {
			t.Fatalf("operation %d: %v", i, op.Err)
		}
		if op.Intended > op.Ready || op.Ready > op.Sent || op.Sent >= op.Acked {
			t.Fatalf("operation %d: intended %d, ready %d, sent %d, acked %d", i, op.Intended, op.Ready, op.Sent, op.Acked)
		}
		if op.Seq != next[op.Stream] {
			t.Fatalf("operation %d: stream %d seq %d, want %d", i, op.Stream, op.Seq, next[op.Stream])
		}
		next[op.Stream] += uint64(records)
	}
}

func TestOneInFlight(t *testing.T) {
	b, cl, top := setup(t, 1, 1)
	d := openProduce(t, Config{}, cl, top, 1024)
	w := d.Workers()[0]
	ops := drive(t, w, 200)
	check(t, ops, 1)
	for i, op := range ops {
		if op.Base != int64(i) {
			t.Fatalf("operation %d got offset %d", i, op.Base)
		}
	}
	e := d.Effective()
	if b.Stored(topic, 0) != 200 || e.Options["wait"] != "blocking read" || len(e.Connections) != 1 || !e.Connections[0].NoDelay ||
		e.ReplyBytes == 0 || e.RequestBytes < 1024 || e.Connections[0].Remote != b.Addr() {
		t.Errorf("stored %d, effective %+v", b.Stored(topic, 0), e)
	}
}

func TestPipelined(t *testing.T) {
	b, cl, top := setup(t, 1, 3)
	d := openProduce(t, Config{Connections: 4, InFlight: 8, Threads: 2, RecordsPerRequest: 5}, cl, top, 200)
	if len(d.Workers()) != 2 || len(d.Streams()) != 4 {
		t.Fatalf("%d workers, %d streams", len(d.Workers()), len(d.Streams()))
	}
	for _, w := range d.Workers() {
		if w.Room() != 16 {
			t.Fatalf("room for %d operations, want 16", w.Room())
		}
		check(t, drive(t, w, 400), 5)
	}
	if n := b.Stored(topic, 0) + b.Stored(topic, 1) + b.Stored(topic, 2); n != 4000 {
		t.Errorf("%d records stored, want 4000", n)
	}
}

// Requests larger than the socket's buffer are sent in pieces, in both ways of waiting.
func TestLargeRequests(t *testing.T) {
	for _, inFlight := range []int{1, 4} {
		_, cl, top := setup(t, 1, 1)
		d := openProduce(t, Config{InFlight: inFlight, RecordsPerRequest: 300}, cl, top, 30_000)
		check(t, drive(t, d.Workers()[0], 6), 300)
	}
}

func TestPrepareChangesNothing(t *testing.T) {
	b, cl, top := setup(t, 1, 1)
	w := openProduce(t, Config{}, cl, top, 100).Workers()[0]
	var out []Op
	for range 10 {
		w.Prepare()
		w.Prepare()
		out = append(out, drive(t, w, 1)...)
	}
	check(t, out, 1)
	if b.Stored(topic, 0) != 10 {
		t.Errorf("%d stored", b.Stored(topic, 0))
	}
}

func TestWaitKeepsItsDeadline(t *testing.T) {
	b, cl, top := setup(t, 1, 1)
	answer := make(chan struct{})
	b.Break(brokertest.Faults{Until: answer})
	w := openProduce(t, Config{InFlight: 2}, cl, top, 100).Workers()[0]
	w.Submit(pace.Now(), pace.Now())
	w.Flush()
	until := pace.Now() + 5_000_000
	if err := w.Wait(until, func(*Op) { t.Error("answered at once") }); err != nil { // returns at all: nothing else ends it
		t.Fatal(err)
	}
	if early := until - pace.Now(); early > 0 {
		t.Errorf("returned %d ns before its deadline", early)
	}
	close(answer)
	answered := 0
	for answered == 0 {
		if err := w.Wait(pace.Now()+1e8, func(*Op) { answered++ }); err != nil {
			t.Fatal(err)
		}
	}
}

// A connection that ends in the middle of a frame leaves nothing of that frame for the next one.
func TestPeerGoesInTheMiddleOfAFrame(t *testing.T) {
	for _, inFlight := range []int{1, 3} {
		deaf := make(chan net.Conn, 1)
		addr := floorBehind(t, func(c net.Conn) bool {
			select {
			case deaf <- c: // the first connection: nothing is read from it
				return true
			default:
				return false
			}
		}, 60, func([]byte) {})
		fl, err := OpenFloor(context.Background(), Config{InFlight: inFlight, RecordsPerRequest: 12, Timeout: patience}, addr, topic, frame.NewPayloads(1, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		w := fl.Workers()[0]
		for w.Room() > 0 {
			w.Submit(1, 1)
		}
		w.Flush()
		c := fl.workers[0].conns[0]
		if c.written == 0 || c.written >= uint64(c.frameLen) {
			t.Errorf("%d in flight: %d of %d bytes were taken by a peer that does not read", inFlight, c.written, c.frameLen)
		}
		(<-deaf).Close()
		deaf <- nil // keep the place taken
		failed := 0
		for failed < inFlight {
			if err := w.Wait(pace.Now()+1e8, func(*Op) { failed++ }); err != nil {
				t.Fatal(err)
			}
		}
		waitRoom(t, w)
		if ops := drive(t, w, 4); failures(ops) != 0 {
			t.Errorf("%d in flight: %d failures on the next connection: %v", inFlight, failures(ops), ops[0].Err)
		}
		fl.Close()
	}
}

// A broker that dies fails what is in flight; when it is back the worker goes on, and the sequence has no holes in it
// that would be taken for lost records.
func TestBrokerComesBack(t *testing.T) {
	for _, inFlight := range []int{1, 6} {
		b, cl, top := setup(t, 1, 1)
		w := openProduce(t, Config{InFlight: inFlight}, cl, top, 100).Workers()[0]
		check(t, drive(t, w, 20), 1)
		b.Break(brokertest.Faults{Mute: true})
		for w.Room() > 0 {
			w.Submit(pace.Now(), pace.Now())
		}
		w.Flush()
		b.AwaitStored(topic, 0, int64(20+inFlight))
		b.Break(brokertest.Faults{})
		b.Kill(1)
		b.Restart(1)
		ops := drive(t, w, inFlight) // the ones in flight fail
		if failures(ops) != inFlight {
			t.Errorf("%d in flight: %d failed", inFlight, failures(ops))
		}
		waitRoom(t, w)
		ops = drive(t, w, 20)
		if failures(ops) != 0 || ops[0].Base != int64(20+inFlight) {
			t.Errorf("%d in flight: %d failures after the restart, first offset %d", inFlight, failures(ops), ops[0].Base)
		}
	}
}

func waitRoom(t *testing.T, w Worker) {
	t.Helper()
	for deadline := time.Now().Add(patience); w.Room() == 0; {
		if err := w.Wait(pace.Now()+10_000_000, func(*Op) {}); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("the connection did not come back")
		}
	}
}

func TestBrokerStaysAway(t *testing.T) {
	for _, inFlight := range []int{1, 3} {
		b, cl, top := setup(t, 1, 1)
		w := openProduce(t, Config{InFlight: inFlight, Timeout: 300 * time.Millisecond}, cl, top, 100).Workers()[0]
		drive(t, w, 5)
		b.Kill(1)
		err := waitForError(w)
		if err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "no connection for 300ms") {
			t.Errorf("%d in flight: %v", inFlight, err)
		}
	}
}

// waitForError waits until the worker gives up.
func waitForError(w Worker) (err error) {
	for deadline := time.Now().Add(patience); err == nil && time.Now().Before(deadline); {
		err = w.Wait(pace.Now()+1e8, func(*Op) {})
	}
	return err
}

func TestSilenceTimesOut(t *testing.T) {
	for _, inFlight := range []int{1, 3} {
		b, cl, top := setup(t, 1, 1)
		w := openProduce(t, Config{InFlight: inFlight, Timeout: 200 * time.Millisecond}, cl, top, 100).Workers()[0]
		b.Break(brokertest.Faults{Mute: true})
		ops := drive(t, w, 1)
		if !errors.Is(ops[0].Err, ErrTimeout) || ops[0].Acked != 0 {
			t.Errorf("%d in flight: %+v", inFlight, ops[0])
		}
	}
}

// A leader that moved costs one failed operation; the connection follows.
func TestFollowsTheLeader(t *testing.T) {
	b, cl, top := setup(t, 2, 1)
	w := openProduce(t, Config{}, cl, top, 100).Workers()[0]
	drive(t, w, 5)
	b.Move(topic, 0, 2)
	ops := drive(t, w, 1)
	if !errors.Is(ops[0].Err, kerr.NotLeaderForPartition) {
		t.Fatalf("%+v", ops[0])
	}
	waitRoom(t, w)
	if ops := drive(t, w, 5); failures(ops) != 0 {
		t.Errorf("%d failures at the new leader", failures(ops))
	}
}

func TestRefusalThatStaysIsFatal(t *testing.T) {
	b, cl, top := setup(t, 1, 1)
	w := openProduce(t, Config{}, cl, top, 100).Workers()[0]
	b.Break(brokertest.Faults{Code: kerr.MessageTooLarge.Code})
	w.Submit(pace.Now(), pace.Now())
	w.Flush()
	if err := waitForError(w); !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestUnreadableReplyFailsTheOperation(t *testing.T) {
	b, cl, top := setup(t, 1, 1)
	w := openProduce(t, Config{}, cl, top, 100).Workers()[0]
	b.Break(brokertest.Faults{ShortReply: true})
	ops := drive(t, w, 1)
	if ops[0].Err == nil || !strings.Contains(ops[0].Err.Error(), "produce response") {
		t.Errorf("%+v", ops[0])
	}
}

func TestAbandon(t *testing.T) {
	b, cl, top := setup(t, 1, 1)
	w := openProduce(t, Config{InFlight: 4}, cl, top, 100).Workers()[0]
	b.Break(brokertest.Faults{Mute: true})
	w.Submit(1, 1)
	w.Submit(1, 1)
	w.Flush()
	var got []error
	w.Abandon(func(op *Op) { got = append(got, op.Err) })
	if len(got) != 2 || got[0] != ErrAbandoned || w.InFlight() != 0 {
		t.Errorf("%v, %d in flight", got, w.InFlight())
	}
	b.Break(brokertest.Faults{})
	waitRoom(t, w)
	if ops := drive(t, w, 5); failures(ops) != 0 {
		t.Errorf("%d failures afterwards", failures(ops))
	}
}

// floorServer answers every frame with size bytes that hold its correlation id.
func floorServer(t *testing.T, size int, tamper func(reply []byte)) string {
	return floorBehind(t, func(net.Conn) bool { return false }, size, tamper)
}

// floorBehind is a floorServer that first offers each connection to take, which may keep it.
func floorBehind(t *testing.T, take func(net.Conn) bool, size int, tamper func(reply []byte)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if take(c) {
				continue
			}
			go func() {
				defer c.Close()
				request, reply := make([]byte, 16<<20), make([]byte, size)
				for {
					if _, err := io.ReadFull(c, request[:4]); err != nil {
						return
					}
					if _, err := io.ReadFull(c, request[4:4+binary.BigEndian.Uint32(request)]); err != nil {
						return
					}
					binary.BigEndian.PutUint32(reply, uint32(size-4))
					copy(reply[frame.ReplyCorrelationAt:], request[frame.CorrelationAt:frame.CorrelationAt+4])
					tamper(reply)
					if _, err := c.Write(reply); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// The floor must cost the client what the system costs: the same frames, in the same order, from the same code.
func TestFloorSendsTheSameFrames(t *testing.T) {
	_, cl, top := setup(t, 1, 1)
	sys := openProduce(t, Config{}, cl, top, 1024)
	addr := floorServer(t, 60, func([]byte) {})
	fl, err := OpenFloor(context.Background(), Config{}, addr, topic, frame.NewPayloads(1, 1024))
	if err != nil {
		t.Fatal(err)
	}
	defer fl.Close()
	check(t, drive(t, fl.Workers()[0], 100), 1)
	a, b := sys.workers[0].conns[0].out, fl.workers[0].conns[0].out
	if len(a) != len(b) {
		t.Fatalf("frames of %d and %d bytes", len(a), len(b))
	}
	if got, want := fl.Effective().RequestBytes, sys.Effective().RequestBytes; got != want || fl.Effective().ReplyBytes != 60 {
		t.Errorf("request of %d bytes, want %d; reply %d", got, want, fl.Effective().ReplyBytes)
	}
}

func TestFloorOutOfStepIsNoticed(t *testing.T) {
	addr := floorServer(t, 40, func(r []byte) { r[frame.ReplyCorrelationAt+3]++ })
	fl, err := OpenFloor(context.Background(), Config{}, addr, topic, frame.NewPayloads(1, 100))
	if err != nil {
		t.Fatal(err)
	}
	defer fl.Close()
	ops := drive(t, fl.Workers()[0], 1)
	if ops[0].Err == nil || !strings.Contains(ops[0].Err.Error(), "reply to request") {
		t.Errorf("%+v", ops[0])
	}
}

func TestFloorThatIsNotThere(t *testing.T) {
	_, err := OpenFloor(context.Background(), Config{}, brokertest.Refused(t), topic, frame.NewPayloads(1, 100))
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
	if _, err := OpenFloor(context.Background(), Config{}, "nowhere", topic, frame.NewPayloads(1, 100)); err == nil {
		t.Error("an address without a port was accepted")
	}
}
