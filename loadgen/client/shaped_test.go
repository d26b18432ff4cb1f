package client

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"ackline/loadgen/brokertest"
	readback "ackline/loadgen/check"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
	"ackline/loadgen/workload"
)

// varied is a shape with all that a shape can have.
func varied(t *testing.T) *frame.Payloads {
	t.Helper()
	s := workload.Shape{Headers: workload.Headers{Count: 2, Bytes: 9}, Ratio: 2}
	if err := errors.Join(s.Size.UnmarshalText([]byte("24:1,200:3,9000:1")), s.Key.UnmarshalText([]byte("zipf:100,1.1"))); err != nil {
		t.Fatal(err)
	}
	return frame.NewShapedPayloads(1, s)
}

// verify drives every worker and reads everything back.
func verify(t *testing.T, d Driver, cl *cluster.Cluster, p *frame.Payloads, n int) *readback.Report {
	t.Helper()
	var parts []int32
	for _, s := range d.Streams() {
		parts = append(parts, s.Partition)
	}
	l := readback.NewLedger(parts)
	for _, w := range d.Workers() {
		for _, op := range drive(t, w, n) {
			if op.Err != nil || op.Acked <= op.Sent || op.Sent < op.Ready || op.Bytes < frame.MinPayload*int64(op.Records) {
				t.Fatalf("operation %+v", op)
			}
			l.Acked(op.Stream, op.Seq, op.Records, op.Base)
		}
	}
	r := NewReader(cl, topic)
	defer r.Close()
	rep, err := readback.Verify(context.Background(), r, l, p, readback.Options{})
	if err != nil || !rep.Passed() || rep.Read != rep.Acked || rep.Acked == 0 {
		t.Errorf("%+v, %v", rep, err)
	}
	return rep
}

// Whatever records look like and however they are sent, every byte of them can be read back.
func TestShapes(t *testing.T) {
	for _, c := range []Config{
		{},
		{Compression: "gzip"},
		{Compression: "snappy", InFlight: 4, Connections: 2, RecordsPerRequest: 20},
		{Compression: "lz4", InFlight: 3, RecordsPerRequest: 7, Resend: true, Connections: 2},
		{Compression: "zstd", Connections: 3, Threads: 2, RecordsPerRequest: 50},
		{Idempotence: On, InFlight: 5, Acks: AcksAll},
		{Acks: AcksLeader, InFlight: 8, Threads: 1, RecordsPerRequest: 300},
	} {
		b, cl, top := setup(t, 1, 2)
		p := varied(t)
		c.Timeout = patience
		d, err := OpenProduce(context.Background(), c, cl, top, p)
		if err != nil {
			t.Fatal(err)
		}
		rep := verify(t, d, cl, p, 60)
		if n := b.Stored(topic, 0) + b.Stored(topic, 1); n != rep.Acked {
			t.Errorf("%+v: %d records stored, %d acknowledged", c, n, rep.Acked)
		}
		e := d.Effective()
		if !strings.Contains(e.Options["records"], "keys zipf:100,1.1, headers 2x9, ratio 2") || e.Options["compression"] != c.Compression || e.RequestBytes != 0 {
			t.Errorf("effective %+v", e)
		}
		if late := e.Options["compressed_late"]; (c.Compression != "") != strings.Contains(late, " of ") {
			t.Errorf("%+v: late %q", c, late)
		}
		d.Close()
	}
}

// Without answers an operation ends when the socket has taken it, one by one and pipelined, plain and not.
func TestAcksNone(t *testing.T) {
	for _, c := range []Config{{}, {InFlight: 4}, {InFlight: 4, RecordsPerRequest: 200}} {
		for _, p := range []*frame.Payloads{frame.NewPayloads(1, 20_000), varied(t)} {
			b, cl, top := setup(t, 1, 1)
			c.Acks, c.Timeout = AcksNone, patience
			d, err := OpenProduce(context.Background(), c, cl, top, p)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, op := range drive(t, d.Workers()[0], 100) {
				if op.Err != nil || op.Acked < op.Sent {
					t.Fatalf("operation %+v", op)
				}
				n += int(op.Records)
			}
			b.AwaitStored(topic, 0, int64(n))
			if d.Effective().ReplyBytes != 0 {
				t.Error("there was an answer")
			}
			d.Close()
		}
	}
}

// A producer whose batch failed is another one from then on: what follows is stored, and its sequence numbers begin at 0.
func TestIdempotenceAfterFailures(t *testing.T) {
	b, cl, top := setup(t, 1, 1)
	d := openProduce(t, Config{Idempotence: On, InFlight: 3}, cl, top, 100)
	w := d.Workers()[0]
	three := func(want int) {
		t.Helper()
		if got := failures(drive(t, w, 3)); got != want {
			t.Fatalf("%d of 3 operations failed, want %d", got, want)
		}
	}
	three(0)
	b.Break(brokertest.Faults{Code: kerr.NotEnoughReplicas.Code})
	three(3)
	b.Break(brokertest.Faults{})
	waitRoom(t, w)
	three(0)
	if n := b.Stored(topic, 0); n != 6 {
		t.Errorf("%d records stored, want 6", n)
	}
	if n := b.Requests(22); n != 2 {
		t.Errorf("%d producer ids, want 2", n)
	}
}

// What is in flight behind a batch that failed is refused, too, and that is no reason to end the run.
func TestBehindABatchThatFailed(t *testing.T) {
	c := newConn(&produceCodec{request: mustRequest(t), streams: []produceStream{{}}}, 2, []int32{0})
	c.tail, c.offered = 2, 2
	var codes []string
	for i, code := range []int16{kerr.NotEnoughReplicas.Code, kerr.OutOfOrderSequenceNumber.Code} {
		if err := c.complete(brokertest.ProduceReply(int32(i), code), 1, func(op *Op) {
			codes = append(codes, ErrorCode(op.Err))
			if !passes(op.Err) {
				t.Errorf("%v ends the run", op.Err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Join(codes, " ") != "NOT_ENOUGH_REPLICAS behind" {
		t.Errorf("codes %q", codes)
	}
}

func mustRequest(t *testing.T) *frame.Produce {
	t.Helper()
	r, err := frame.NewProduce(topic, 1, 1000, frame.NewPayloads(1, 100))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The time that a batch takes to be made is the generator's.
func TestMakingIsLag(t *testing.T) {
	_, cl, top := setup(t, 1, 1)
	p := frame.NewShapedPayloads(1, workload.Shape{Size: workload.Fixed(100_000), Ratio: 2})
	d, err := OpenProduce(context.Background(), Config{RecordsPerRequest: 20, Timeout: patience}, cl, top, p)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w := d.Workers()[0]
	now := pace.Now()
	w.Submit(now, now)
	w.Flush()
	var got Op
	for w.InFlight() > 0 {
		if err := w.Wait(pace.Now()+1e8, func(op *Op) { got = *op }); err != nil {
			t.Fatal(err)
		}
	}
	if lag, backlog := got.Ready-got.Intended, got.Sent-got.Ready; lag < 10_000 || lag < backlog || got.Sent < got.Ready {
		t.Errorf("lag %d ns, backlog %d ns", lag, backlog)
	}
}

func TestRequestsAreValidated(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		says string
	}{
		{Config{Acks: "2"}, `acks "2"`}, {Config{Compression: "lzma"}, "gzip, snappy, lz4, zstd"}, {Config{Idempotence: "yes"}, `idempotence "yes"`},
		{Config{Acks: AcksNone, Idempotence: On}, "acks 0 with idempotence"}, {Config{Acks: AcksLeader, Resend: true}, "acks 1 with"}, {Config{Idempotence: Off, Resend: true}, "stored again"},
	} {
		if err := c.cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.says)
		}
	}
	_, cl, top := setup(t, 1, 1)
	if _, err := OpenProduce(context.Background(), Config{Idempotence: On, InFlight: 6}, cl, top, frame.NewPayloads(1, 100)); err == nil || !strings.Contains(err.Error(), "at most 5") {
		t.Errorf("six in flight: %v", err)
	}
}
