package null

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/loadgen/check"
	"ackline/loadgen/client"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
	"ackline/loadgen/workload"
)

// patience is what only a hanging test exceeds.
const patience = time.Minute

// serve runs a responder until the test ends.
func serve(t *testing.T) *Server {
	t.Helper()
	s, err := New("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func readFrame(t *testing.T, c net.Conn) []byte {
	t.Helper()
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// What is answered is what a Kafka library reads, and batches lie one behind the other.
func TestProduceIsAnsweredValidly(t *testing.T) {
	s := serve(t)
	c := dial(t, s.Addr)
	p, err := frame.NewProduce("t", 3, 1000, frame.NewPayloads(7, 100))
	if err != nil {
		t.Fatal(err)
	}
	request := func(correlation, partition int32) []byte {
		f := make([]byte, p.Len())
		p.Init(f)
		p.Patch(f, correlation, partition, 0, 0, 0)
		return f
	}
	all := append(append(request(5, 0), request(6, 0)...), request(7, 9)...)
	// In pieces, so that a request comes in two halves, too.
	for _, piece := range [][]byte{all[:len(all)/2], all[len(all)/2:]} {
		if _, err := c.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []struct {
		correlation, partition int32
		base                   int64
		code                   int16
	}{{5, 0, 0, 0}, {6, 0, 3, 0}, {7, 9, -1, 3}} {
		b := readFrame(t, c)
		if got := int32(binary.BigEndian.Uint32(b)); got != want.correlation || b[4] != 0 {
			t.Errorf("correlation id %d, tags %d; want %d, 0", got, b[4], want.correlation)
		}
		resp := kmsg.NewPtrProduceResponse()
		resp.SetVersion(9)
		if err := resp.ReadFrom(b[5:]); err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		again := resp.AppendTo(nil)
		if string(again) != string(b[5:]) {
			t.Errorf("%x is read as %x", b[5:], again)
		}
		if len(resp.Topics) != 1 || resp.Topics[0].Topic != "t" || len(resp.Topics[0].Partitions) != 1 {
			t.Fatalf("%+v", resp)
		}
		if got := resp.Topics[0].Partitions[0]; got.Partition != want.partition || got.BaseOffset != want.base || got.ErrorCode != want.code || got.LogAppendTime != -1 {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// The wire driver opens, writes and finds its records at the offsets that it expects; and that none is kept does not escape the check.
func TestWireDriver(t *testing.T) {
	s := serve(t)
	ctx := t.Context()
	cl, err := cluster.New([]string{s.Addr}, patience)
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.Check(ctx); err != nil {
		t.Fatal(err)
	}
	topic, err := cl.Topic(ctx, "any")
	if err != nil {
		t.Fatal(err)
	}
	if end, err := cl.EndOffsets(ctx, topic); err != nil || end[0] != 0 {
		t.Errorf("a topic that nobody wrote to ends at %d, %v", end[0], err)
	}
	payloads := frame.NewPayloads(1, 100)
	d, err := client.OpenProduce(ctx, client.Config{InFlight: 4, RecordsPerRequest: 10, Timeout: patience}, cl, topic, payloads)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ledger := check.NewLedger([]int32{0})
	w, acked := d.Workers()[0], int64(0)
	for acked < 100 {
		for range w.Room() {
			w.Submit(pace.Now(), pace.Now())
		}
		w.Flush()
		if err := w.Wait(pace.Now()+1e9, func(op *client.Op) {
			if op.Err != nil || op.Base != acked*10 {
				t.Errorf("request %d: base %d, %v", acked, op.Base, op.Err)
			}
			ledger.Acked(op.Stream, op.Seq, op.Records, op.Base)
			acked++
		}); err != nil {
			t.Fatal(err)
		}
	}
	end, err := cl.EndOffsets(ctx, topic)
	if err != nil || end[0] < acked*10 {
		t.Errorf("end %d, %v; %d records were acknowledged", end[0], err, acked*10)
	}
	r := client.NewReader(cl, "any")
	defer r.Close()
	report, err := check.Verify(ctx, r, ledger, payloads, check.Options{Start: map[int32]int64{0: 0}})
	if report != nil && report.Done && report.Faults() == 0 {
		t.Errorf("the check found records that nobody keeps: %+v, %v", report, err)
	}
}

func TestEcho(t *testing.T) {
	s := serve(t)
	c := dial(t, s.Echo)
	if _, err := c.Write(append(AppendEchoHead(nil, 1000, 60), make([]byte, 2500)...)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 121)
	if _, err := io.ReadFull(c, b[:120]); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, b[:60]); err != nil {
		t.Fatal(err)
	}
	// Nothing more may have been sent: the next bytes are the answers to the next request.
	c.(*net.TCPConn).CloseWrite()
	if n, err := c.Read(b); n != 0 || err != io.EOF {
		t.Errorf("%d bytes more, %v", n, err)
	}
}

// What nobody should send costs its sender the connection, and nothing else.
func TestHostilePeers(t *testing.T) {
	s := serve(t)
	huge := binary.BigEndian.AppendUint32(nil, maxFrame+1)
	for what, send := range map[string][]byte{
		"a huge length":       huge,
		"a tiny length":       {0, 0, 0, 1, 0, 0, 0, 0},
		"InitProducerId":      {0, 0, 0, 16, 0, 22, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1},
		"a cut Produce":       {0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0},
		"a cut Metadata":      {0, 0, 0, 8, 0, 3, 0, 7, 0, 0, 0, 1},
		"an unserved version": {0, 0, 0, 10, 0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff},
	} {
		c := dial(t, s.Addr)
		if _, err := c.Write(send); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: answered", what)
		} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Errorf("%s: the connection stays", what)
		}
	}
	e := dial(t, s.Echo)
	e.Write(AppendEchoHead(nil, 0, 1))
	if _, err := e.Read(make([]byte, 1)); err == nil {
		t.Error("an echo of nothing is served")
	}
	cl, err := cluster.New([]string{s.Addr}, patience)
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.Check(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestMain makes the test's binary a responder when it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "mute" {
		os.Exit(7)
	}
	if len(os.Args) != 2 || os.Args[1] != "responder" {
		os.Exit(m.Run())
	}
	s, err := New("127.0.0.1")
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	os.Stdout.WriteString(s.Announcement())
	if err := s.Serve(ctx); err != nil {
		panic(err)
	}
	os.Exit(0)
}

func TestProcess(t *testing.T) {
	p, err := Start(t.Context(), os.Args[0], "responder")
	if err != nil {
		t.Fatal(err)
	}
	cl, err := cluster.New([]string{p.Addr}, patience)
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if p.PID() == os.Getpid() {
		t.Error("it is this process")
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if err := cl.Check(t.Context()); err == nil {
		t.Error("it answers after its end")
	}
	if _, err := Start(t.Context(), os.Args[0], "mute"); err == nil || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("a responder that does not start: %v", err)
	}
}

// Every topic of several has offsets of its own, wherever keys send the records.
func TestKeyedOverSeveralTopics(t *testing.T) {
	s := serve(t)
	cl, err := cluster.New([]string{s.Addr}, patience)
	if err != nil {
		t.Fatal(err)
	}
	topic, err := cl.Topic(t.Context(), "any,other")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := workload.ParseKeys("uniform:1000")
	if err != nil {
		t.Fatal(err)
	}
	p := frame.NewDrawnPayloads(1, workload.Shape{Size: workload.Fixed(100), Key: keys})
	d, err := client.OpenProduce(t.Context(), client.Config{InFlight: 4, Timeout: patience, PartitionBy: workload.ByKey}, cl, topic, p)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	next := make([]int64, len(d.Streams()))
	w := d.Workers()[0]
	for sent, got := 0, 0; got < 500; {
		for ; w.Room() > 0 && sent < 500; sent++ {
			w.Submit(pace.Now(), pace.Now())
		}
		w.Flush()
		if err := w.Wait(pace.Now()+1e8, func(op *client.Op) {
			if got++; op.Err != nil || op.Base != next[op.Stream] || op.Seq != uint64(op.Base) {
				t.Errorf("%+v, want offset %d", op, next[op.Stream])
			}
			next[op.Stream]++
		}); err != nil {
			t.Fatal(err)
		}
	}
	if i := slices.Index(next, 0); i >= 0 || len(next) != 2*partitions {
		t.Errorf("stream %d of %d had nothing: %v", i, len(next), next)
	}
}
