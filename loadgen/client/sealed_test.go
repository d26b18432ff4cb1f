package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/loadgen/brokertest/guarded"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
	"ackline/loadgen/secure"
	"ackline/loadgen/workload"
)

// guardedTopic starts a guarded cluster with a topic.
func guardedTopic(t *testing.T, ask guarded.Ask, partitions int32) (*guarded.Cluster, *cluster.Cluster, cluster.Topic) {
	t.Helper()
	ctx := context.Background()
	b := guarded.Start(t, ask)
	papers, err := b.Config().Open()
	if err != nil {
		t.Fatal(err)
	}
	cl, err := cluster.NewSecure([]string{b.Addr}, patience, papers)
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.CreateTopic(ctx, topic, partitions, -1, nil); err != nil {
		t.Fatal(err)
	}
	top, err := cl.Led(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	return b, cl, top
}

// Frames that no socket's buffer takes at once go through TLS whole and in order, on a thread that waits in a read and on one
// that waits in epoll, and answers that come in many records are put together.
func TestSealedFrames(t *testing.T) {
	for _, inFlight := range []int{1, 8} {
		for _, size := range []int{100, 900_000} {
			_, cl, top := guardedTopic(t, guarded.Ask{TLS: true, Mutual: true, SASL: secure.ScramSHA256}, 1)
			w := openProduce(t, Config{InFlight: inFlight}, cl, top, size)
			if e := w.Effective().Connections[0]; !strings.HasPrefix(e.TLS, "TLS 1.3 ") {
				t.Errorf("encrypted by %q", e.TLS)
			}
			check(t, drive(t, w.Workers()[0], 40), 1)
			r := NewReader(cl, topic)
			defer r.Close()
			payloads := frame.NewPayloads(1, size)
			for next := int64(0); next < 40; {
				batches, _, err := r.Read(context.Background(), 0, next)
				if err != nil {
					t.Fatal(err)
				}
				next = sameAsWritten(t, batches, next, payloads, size)
			}
		}
	}
}

// sameAsWritten compares batches with what was written from an offset on, and returns the offset behind them.
func sameAsWritten(t *testing.T, batches []byte, next int64, payloads *frame.Payloads, size int) int64 {
	t.Helper()
	for len(batches) > 0 {
		b, rest, err := frame.NextBatch(batches)
		if errors.Is(err, frame.ErrTruncated) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, size)
		err = b.Each(func(r frame.Record) error {
			if payloads.Put(want, 0, uint64(r.Offset)); r.Offset != next || string(r.Value) != string(want) {
				return fmt.Errorf("record %d is not what was written at %d", r.Offset, next)
			}
			next++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		batches = rest
	}
	return next
}

// A connection that is lost is restored with all its papers, and an idempotent producer loses nothing by it.
func TestSealedConnectionIsRestored(t *testing.T) {
	for _, ask := range []guarded.Ask{{TLS: true}, {SASL: secure.Plain}, {TLS: true, Mutual: true, SASL: secure.ScramSHA512}} {
		for _, resend := range []bool{false, true} {
			b, cl, top := guardedTopic(t, ask, 1)
			w := openProduce(t, Config{InFlight: 3, Resend: resend}, cl, top, 300).Workers()[0]
			check(t, drive(t, w, 20), 1)
			var cut, shakes atomic.Int64
			b.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
				b.KeepControl()
				switch r.(type) {
				case *kmsg.ProduceRequest:
					if cut.Add(1) == 5 {
						return nil, errors.New("cut"), true
					}
				case *kmsg.SASLHandshakeRequest:
					shakes.Add(1)
				}
				return nil, nil, false
			})
			var lost, good int
			for _, op := range again(t, w, 40) {
				if op.Err != nil {
					lost++
				} else {
					good++
				}
			}
			if resend && lost > 0 || !resend && lost == 0 || good < 36 {
				t.Errorf("%+v, resend %v: %d operations succeeded, %d failed", ask, resend, good, lost)
			}
			// Once to ask who leads and once to send there.
			if n := shakes.Load(); (ask.SASL != "") != (n >= 2) {
				t.Errorf("%+v: %d SASL handshakes", ask, n)
			}
		}
	}
}

// again is drive for operations that may fail.
func again(t *testing.T, w Worker, n int) []Op {
	t.Helper()
	var out []Op
	done := func(op *Op) { out = append(out, *op) }
	deadline := pace.Now() + patience.Nanoseconds()
	for sent := 0; len(out) < n; {
		for w.Room() > 0 && sent < n {
			w.Submit(pace.Now(), pace.Now())
			sent++
		}
		w.Flush()
		if err := w.Wait(pace.Now()+1e8, done); err != nil {
			t.Fatal(err)
		}
		if pace.Now() > deadline {
			t.Fatalf("%d of %d operations", len(out), n)
		}
	}
	return out
}

// Papers that are not accepted any more end the driver, at the first attempt to connect again.
func TestRefusedWhenReconnecting(t *testing.T) {
	b, cl, top := guardedTopic(t, guarded.Ask{SASL: secure.Plain}, 1)
	w := openProduce(t, Config{InFlight: 2}, cl, top, 300).Workers()[0]
	check(t, drive(t, w, 4), 1)
	b.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.KeepControl()
		switch r := r.(type) {
		case *kmsg.ProduceRequest:
			return nil, errors.New("cut"), true
		case *kmsg.SASLAuthenticateRequest:
			no := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
			no.ErrorCode = 58
			return no, nil, true
		}
		return nil, nil, false
	})
	w.Submit(pace.Now(), pace.Now())
	w.Flush()
	begun := pace.Now()
	for {
		err := w.Wait(pace.Now()+1e8, func(*Op) {})
		if err != nil {
			if !secure.Refused(err) || strings.Contains(err.Error(), "no connection for") {
				t.Errorf("it ends with %v", err)
			}
			break
		}
		if pace.Now()-begun > patience.Nanoseconds()/2 {
			t.Fatal("it does not end")
		}
	}
}

// Frames that differ in length are sealed as well: records of any shape, compressed, and of drawn keys.
func TestSealedFramesOfAnyLength(t *testing.T) {
	for _, c := range []struct {
		cfg Config
		p   *frame.Payloads
	}{{Config{}, varied(t)}, {Config{InFlight: 4, Compression: "lz4"}, varied(t)}, {Config{InFlight: 4, PartitionBy: workload.ByKey}, drawn(t)}} {
		_, cl, top := guardedTopic(t, guarded.Ask{TLS: true, Mutual: true, SASL: secure.ScramSHA256}, 2)
		c.cfg.Timeout = patience
		d, err := OpenProduce(context.Background(), c.cfg, cl, top, c.p)
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, d, cl, top, c.p, drive(t, d.Workers()[0], 60))
		d.Close()
	}
}
