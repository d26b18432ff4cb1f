package franz

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/loadgen/brokertest"
	readback "ackline/loadgen/check"
	"ackline/loadgen/client"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
	"ackline/loadgen/workload"
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

// drive submits n operations as fast as the window allows and returns copies of all outcomes.
func drive(t *testing.T, w client.Worker, n int) []client.Op {
	t.Helper()
	var out []client.Op
	done := func(op *client.Op) { out = append(out, *op) }
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

// check looks at the promises about every operation.
func check(t *testing.T, ops []client.Op, records int) {
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

func openKgo(t *testing.T, cfg client.Config, b *brokertest.Cluster, top cluster.Topic, defaults bool) *Driver {
	t.Helper()
	cl, err := cluster.New([]string{b.Addr()}, patience)
	if err != nil {
		t.Fatal(err)
	}
	k, err := Open(cfg, cl, top, frame.NewPayloads(1, 100), defaults)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func TestKgo(t *testing.T) {
	for _, defaults := range []bool{false, true} {
		b, _, top := setup(t, 1, 2)
		k := openKgo(t, client.Config{Connections: 2, InFlight: 4}, b, top, defaults)
		for _, w := range k.Workers() {
			check(t, drive(t, w, 50), 1)
		}
		want := map[bool]string{false: "0s", true: "10ms"}[defaults]
		if got := k.Effective().Options["ProducerLinger"]; got != want {
			t.Errorf("linger %s, want %s", got, want)
		}
		if b.Stored(topic, 0) != 50 || b.Stored(topic, 1) != 50 {
			t.Errorf("%d and %d stored", b.Stored(topic, 0), b.Stored(topic, 1))
		}
	}
	_, cl, top := setup(t, 1, 1)
	if _, err := Open(client.Config{RecordsPerRequest: 2}, cl, top, frame.NewPayloads(1, 100), false); err == nil {
		t.Error("two records per request were accepted")
	}
}

// Every connection goes the cluster's way, to the seed and to where Metadata says.
func TestKgoGoesTheClustersWay(t *testing.T) {
	_, cl, top := setup(t, 1, 1)
	closed := errors.New("no way there")
	for _, want := range []error{nil, closed} {
		var walked atomic.Int32
		cl.Through(func(addr string, connect func(at string) error) error {
			walked.Add(1)
			if want != nil {
				return want
			}
			return connect(addr)
		})
		k, err := Open(client.Config{InFlight: 1, Timeout: time.Second}, cl, top, frame.NewPayloads(1, 100), true)
		if err != nil {
			t.Fatal(err)
		}
		w := k.Workers()[0]
		if want == nil {
			check(t, drive(t, w, 1), 1)
		} else {
			w.Submit(pace.Now(), pace.Now())
			for w.InFlight() > 0 {
				_ = w.Wait(pace.Now()+1e8, func(op *client.Op) {
					if op.Err == nil {
						t.Error("a record got there although no way led there")
					}
				})
			}
		}
		if k.Close(); walked.Load() < 1 {
			t.Error("nobody asked for the way")
		}
	}
}

func TestKgoTimesOutAndGoesOn(t *testing.T) {
	b, _, top := setup(t, 1, 1)
	w := openKgo(t, client.Config{InFlight: 2, Timeout: 300 * time.Millisecond}, b, top, false).Workers()[0]
	goOn(t, w, 3)
	b.Break(brokertest.Faults{Mute: true})
	failed := 0
	for w.Room() > 0 {
		w.Submit(pace.Now(), pace.Now())
	}
	for sent := w.InFlight(); w.InFlight() > 0; {
		_ = w.Wait(pace.Now()+1e8, func(op *client.Op) {
			if op.Err != nil {
				failed++
			}
		})
		if w.InFlight() == 0 && failed != sent {
			t.Errorf("%d of %d failed", failed, sent)
		}
	}
	b.Break(brokertest.Faults{})
	b.Kill(1)
	b.Restart(1)
	goOn(t, w, 5)
}

// goOn puts one operation after the other until n have succeeded and all places are free. Some may fail: with a short
// time-out those that a slow machine holds up, and after a fault those that it took with it.
func goOn(t *testing.T, w client.Worker, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for places := 2; n > 0 || w.Room() < places; {
		if time.Now().After(deadline) {
			t.Fatalf("%d operations and %d places are missing after %v", n, places-w.Room(), patience)
		}
		if n > 0 && w.Room() > 0 {
			w.Submit(pace.Now(), pace.Now())
		}
		// An error that nothing was acknowledged is what a run would end with; here the broker comes back.
		_ = w.Wait(pace.Now()+1e8, func(op *client.Op) {
			if op.Err == nil {
				n--
			}
		})
	}
}

func TestKgoAbandon(t *testing.T) {
	b, _, top := setup(t, 1, 1)
	w := openKgo(t, client.Config{InFlight: 3}, b, top, false).Workers()[0]
	check(t, drive(t, w, 1), 1)
	b.Break(brokertest.Faults{Mute: true})
	w.Submit(1, 1)
	w.Submit(1, 1)
	n := 0
	w.Abandon(func(op *client.Op) { n++ })
	if n != 2 || w.InFlight() != 0 || w.Room() != 1 {
		t.Errorf("%d abandoned, %d in flight, room %d; want 2, 0, 1", n, w.InFlight(), w.Room())
	}
}

// Whatever records look like and however they are sent, every byte of them can be read back.
func TestShapes(t *testing.T) {
	shape := workload.Shape{Headers: workload.Headers{Count: 2, Bytes: 9}, Ratio: 2}
	if err := errors.Join(shape.Size.UnmarshalText([]byte("24:1,200:3,9000:1")), shape.Key.UnmarshalText([]byte("zipf:100,1.1"))); err != nil {
		t.Fatal(err)
	}
	p := frame.NewShapedPayloads(1, shape)
	for _, c := range []client.Config{{}, {Compression: "zstd", InFlight: 8}, {Acks: client.AcksLeader, Connections: 2}, {Idempotence: client.Off, InFlight: 4}} {
		_, cl, top := setup(t, 1, 2)
		k, err := Open(c, cl, top, p, false)
		if err != nil {
			t.Fatal(err)
		}
		l := readback.NewLedger([]int32{k.Streams()[0].Partition, k.Streams()[1].Partition})
		for _, w := range k.Workers() {
			ops := drive(t, w, 60)
			for _, op := range ops {
				if op.Err != nil || op.Ready <= op.Intended || op.Bytes < frame.MinPayload {
					t.Fatalf("operation %+v", op)
				}
				l.Acked(op.Stream, op.Seq, op.Records, op.Base)
			}
		}
		r := client.NewReader(cl, topic)
		if rep, err := readback.Verify(context.Background(), r, l, p, readback.Options{}); err != nil || !rep.Passed() || rep.Read != int64(60*len(k.Workers())) {
			t.Errorf("%+v: %+v, %v", c, rep, err)
		}
		r.Close()
		if idempotent := k.Effective().Options["DisableIdempotentWrite"] == "false"; idempotent != (c.Idempotence != client.Off && c.Acks != client.AcksLeader) {
			t.Errorf("%+v: options %v", c, k.Effective().Options)
		}
		k.Close()
	}
}

// Through the library too a record lies in the partition that its key chooses, among those of several topics, and is read back.
func TestKeysChoosePartitions(t *testing.T) {
	b := brokertest.Start(t, 2)
	parts := map[string]int{"a": 3, "b": 2}
	for name, n := range parts {
		b.Create(name, n)
	}
	cl, err := cluster.New([]string{b.Addr()}, patience)
	if err != nil {
		t.Fatal(err)
	}
	top, err := cl.Topic(context.Background(), "a,b")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := workload.ParseKeys("zipf:200,1.1")
	if err != nil {
		t.Fatal(err)
	}
	p := frame.NewDrawnPayloads(7, workload.Shape{Size: workload.Fixed(64), Key: keys})
	k, err := Open(client.Config{Connections: 2, InFlight: 8, Timeout: patience, PartitionBy: workload.ByKey}, cl, top, p, false)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var places []int32
	for _, s := range k.Streams() {
		places = append(places, s.Partition)
	}
	l := readback.NewLedger(places)
	for _, w := range k.Workers() {
		for _, op := range drive(t, w, 300) {
			if op.Err != nil {
				t.Fatal(op.Err)
			}
			l.Acked(op.Stream, op.Seq, op.Records, op.Base)
		}
	}
	r := client.NewReader(cl, "a,b")
	defer r.Close()
	rep, err := readback.Verify(context.Background(), r, l, p, readback.Options{Topics: top.Topics()})
	if err != nil || !rep.Passed() || rep.Read != 600 || rep.Partitions != 5 {
		t.Errorf("%+v, %v", rep, err)
	}
	theirs := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	for name, n := range parts {
		for i := range n {
			for _, raw := range b.Batches(name, i) {
				batch, _, err := frame.NextBatch(raw)
				if err != nil {
					t.Fatal(err)
				}
				if err := batch.Each(func(r frame.Record) error {
					if want := theirs.Partition(&kgo.Record{Key: r.Key}, n); want != i {
						t.Errorf("key %q lies in %s/%d, the library would put it into %d", r.Key, name, i, want)
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	b.Break(brokertest.Faults{Topic: "b", Code: kerr.InvalidRecord.Code})
	said := false
	for _, op := range drive(t, k.Workers()[0], 40) {
		said = said || op.Err != nil && strings.HasPrefix(op.Err.Error(), "topic b partition ")
	}
	if !said {
		t.Error("no error says that it is of topic b")
	}
}
