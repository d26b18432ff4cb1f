package client

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/loadgen/brokertest"
	readback "ackline/loadgen/check"
	"ackline/loadgen/client/spread"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
	"ackline/loadgen/workload"
)

// drawn are payloads whose keys choose their partitions.
func drawn(t *testing.T) *frame.Payloads { return drawnOf(t, 1) }

func drawnOf(t *testing.T, run uint64) *frame.Payloads {
	t.Helper()
	s := workload.Shape{Headers: workload.Headers{Count: 1, Bytes: 9}, Ratio: 2}
	if err := errors.Join(s.Size.UnmarshalText([]byte("32:1,300:3")), s.Key.UnmarshalText([]byte("zipf:200,1.1"))); err != nil {
		t.Fatal(err)
	}
	return frame.NewDrawnPayloads(run, s)
}

// severalTopics starts a cluster with topics of so many partitions each.
func severalTopics(t *testing.T, nodes int, partitions map[string]int, names string) (*brokertest.Cluster, *cluster.Cluster, cluster.Topic) {
	t.Helper()
	b := brokertest.Start(t, nodes)
	for name, n := range partitions {
		b.Create(name, n)
	}
	cl, err := cluster.New([]string{b.Addr()}, patience)
	if err != nil {
		t.Fatal(err)
	}
	top, err := cl.Topic(context.Background(), names)
	if err != nil {
		t.Fatal(err)
	}
	return b, cl, top
}

// readAll reads everything back that ops say.
func readAll(t *testing.T, d Driver, cl *cluster.Cluster, top cluster.Topic, p *frame.Payloads, ops []Op) *readback.Report {
	t.Helper()
	var parts []int32
	for _, s := range d.Streams() {
		parts = append(parts, s.Partition)
	}
	l := readback.NewLedger(parts)
	for _, op := range ops {
		if op.Err != nil {
			t.Fatalf("operation %+v", op)
		}
		l.Acked(op.Stream, op.Seq, op.Records, op.Base)
	}
	r := NewReader(cl, top.Name)
	defer r.Close()
	rep, err := readback.Verify(context.Background(), r, l, p, readback.Options{Topics: top.Topics()})
	if err != nil || !rep.Passed() || rep.Read != rep.Acked || rep.Acked == 0 {
		t.Errorf("%+v, %v", rep, err)
	}
	return rep
}

// Several topics of unequal names and numbers of partitions are written and read back in full, whatever the requests are like.
func TestSeveralTopics(t *testing.T) {
	parts := map[string]int{"a": 2, "longer-name": 1, "b": 3}
	for _, c := range []Config{{}, {InFlight: 3, Connections: 4, Threads: 2, RecordsPerRequest: 5}, {Compression: "lz4", InFlight: 2}, {Resend: true, Connections: 6, InFlight: 2, Threads: 1}} {
		b, cl, top := severalTopics(t, 1, parts, "a,longer-name,b")
		p := frame.NewPayloads(1, 100)
		c.Timeout = patience
		d, err := OpenProduce(context.Background(), c, cl, top, p)
		if err != nil {
			t.Fatal(err)
		}
		var ops []Op
		for _, w := range d.Workers() {
			ops = append(ops, drive(t, w, 60)...)
		}
		rep := readAll(t, d, cl, top, p, ops)
		if rep.Partitions != 6 {
			t.Errorf("%+v: %d partitions were read", c, rep.Partitions)
		}
		for name, n := range parts {
			for i := range n {
				// Whoever answers first is asked again first, so shares are not even.
				if b.Stored(name, i) < int64(max(c.RecordsPerRequest, 1)) {
					t.Errorf("%+v: %s/%d has %d records", c, name, i, b.Stored(name, i))
				}
			}
		}
		if got := d.Effective().Connections[0]; got.Partitions != nil || len(got.Topics) == 0 {
			t.Errorf("connection %+v", got)
		}
		d.Close()
	}
}

// Errors say which topic they are of, and several topics are fetched from.
func TestErrorsNameTheTopic(t *testing.T) {
	b, cl, top := severalTopics(t, 1, map[string]int{"aa": 1, "b": 1}, "aa,b")
	d := openProduce(t, Config{}, cl, top, 100)
	check(t, drive(t, d.Workers()[0], 20), 1)
	f, err := OpenFetch(context.Background(), Config{Timeout: patience}, cl, top, Reading{Order: Sequential, MaxBytes: 2000})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, op := range drive(t, f.Workers()[0], 10) {
		if op.Err != nil || op.Records == 0 {
			t.Errorf("fetch %+v", op)
		}
	}
	b.Break(brokertest.Faults{Topic: "b", Code: kerr.NotEnoughReplicas.Code})
	said := map[string]int{}
	for range 2 { // an error has the connection restored
		waitRoom(t, d.Workers()[0])
		for _, op := range drive(t, d.Workers()[0], 1) {
			if op.Err != nil {
				said[op.Err.Error()]++
			}
		}
	}
	if len(said) != 1 || !strings.HasPrefix(first(said), "Produce on topic b partition 0: NOT_ENOUGH_REPLICAS") {
		t.Errorf("%v", said)
	}
}

func first(m map[string]int) string {
	for k := range m {
		return k
	}
	return ""
}

// Each record lies where another client would put its key, from several threads over several leaders, compressed or not, and the hot keys'
// partitions are hot.
func TestKeysChoosePartitions(t *testing.T) {
	parts := map[string]int{"a": 5, "b": 3}
	for _, c := range []Config{{Connections: 2}, {Connections: 7, Threads: 2, InFlight: 4}, {Connections: 10, Threads: 1, Resend: true, InFlight: 5}, {Connections: 2, Compression: "zstd"},
		{Connections: 4, Idempotence: On, InFlight: 2}} {
		b, cl, top := severalTopics(t, 2, parts, "a,b")
		p := drawn(t)
		c.Timeout, c.PartitionBy = patience, workload.ByKey
		d, err := OpenProduce(context.Background(), c, cl, top, p)
		if err != nil {
			t.Fatal(err)
		}
		var ops []Op
		for _, w := range d.Workers() {
			ops = append(ops, drive(t, w, 400)...)
		}
		if rep := readAll(t, d, cl, top, p, ops); rep.Partitions != 8 {
			t.Errorf("%+v: %d partitions were read", c, rep.Partitions)
		}
		d.Close()
		theirs, least, most := kgo.StickyKeyPartitioner(nil).ForTopic("t"), int64(1<<60), int64(0)
		for name, n := range parts {
			for i := range n {
				least, most = min(least, b.Stored(name, i)), max(most, b.Stored(name, i))
				each(t, b.Batches(name, i), func(r frame.Record) {
					if want := theirs.Partition(&kgo.Record{Key: r.Key}, n); want != i {
						t.Fatalf("%+v: key %q lies in %s/%d, franz-go would put it into %d", c, r.Key, name, i, want)
					}
				})
			}
		}
		if most < 2*least {
			t.Errorf("%+v: %d records in the busiest partition, %d in the least", c, most, least)
		}
	}
}

// each calls f with every record of batches.
func each(t *testing.T, batches [][]byte, f func(frame.Record)) {
	t.Helper()
	unpack := kgo.DefaultDecompressor()
	for _, raw := range batches {
		b, _, err := frame.NextBatch(raw)
		if err == nil {
			b, err = b.Plain(unpack)
		}
		if err == nil {
			err = b.Each(func(r frame.Record) error { f(r); return nil })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// What does not suffice is said at once, with what would.
func TestKeyedNeedsConnections(t *testing.T) {
	_, cl, top := severalTopics(t, 3, map[string]int{"a": 6}, "a")
	for _, c := range []struct {
		cfg  Config
		says string
	}{{Config{}, "want --connections 3 or more"}, {Config{Connections: 5, Resend: true}, "want --connections 6 or more"}} {
		c.cfg.PartitionBy, c.cfg.Timeout = workload.ByKey, patience
		if _, err := OpenProduce(context.Background(), c.cfg, cl, top, drawn(t)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.cfg, err)
		}
	}
	for cfg, says := range map[*Config]string{{PartitionBy: "value"}: "want round-robin or key", {PartitionBy: workload.ByKey, RecordsPerRequest: 2}: "--driver kgo"} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// A record waits for its own partition: while its leader is silent nothing else goes, though the other leader has room.
func TestKeyedRecordWaitsForItsPartition(t *testing.T) {
	b, cl, top := severalTopics(t, 2, map[string]int{"a": 2}, "a")
	d, err := OpenProduce(context.Background(), Config{Connections: 2, Threads: 1, Timeout: patience, PartitionBy: workload.ByKey}, cl, top, drawnOf(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w := d.Workers()[0]
	b.Break(brokertest.Faults{Mute: true})
	sent := 0
	for ; w.Room() > 0; sent++ {
		w.Submit(pace.Now(), pace.Now())
		w.Flush()
	}
	ww := w.(*wireWorker)
	if w.InFlight() != sent || w.Room() != 0 || sent+ww.room != 2 {
		t.Errorf("%d records are on their way, %d connections have room", sent, ww.room)
	}
	if sent == 2 {
		t.Error("the first two records of this run go to both partitions: take another run's")
	}
}

// A record whose partition went over to a node that none of the producer's connections is to is handed back as failed; others go on.
func TestStrayRecordsFail(t *testing.T) {
	b, cl, top := severalTopics(t, 2, map[string]int{"a": 4}, "a") // 0 and 2 are led by one, 1 and 3 by the other
	d, err := OpenProduce(context.Background(), Config{Connections: 2, Threads: 1, Timeout: patience, PartitionBy: workload.ByKey}, cl, top, drawn(t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w := d.Workers()[0]
	if n := failures(drive(t, w, 40)); n != 0 {
		t.Fatalf("%d failures before anything moved", n)
	}
	b.Move("a", 2, 2)
	moved, strays, good := 0, 0, map[int32]int{}
	for _, op := range drive(t, w, 400) {
		switch {
		case op.Err == nil:
			good[d.Streams()[op.Stream].Partition]++
		case errors.Is(op.Err, errStray):
			strays++
			if !strings.HasPrefix(op.Err.Error(), "partition 2: ") {
				t.Errorf("%v", op.Err)
			}
		default:
			moved++ // the answers that told that it moved
		}
	}
	if strays < 10 || moved == 0 || len(good) != 3 || good[2] != 0 {
		t.Errorf("%d strays, %d told that it moved, acknowledged %v", strays, moved, good)
	}
}

// A record whose frame is made stays with its connection, whichever has room meanwhile: another would send it a second time. One that
// failed forgets the frame, and its record goes elsewhere.
func TestPreparedRecordStays(t *testing.T) {
	p := drawn(t)
	top := cluster.Topic{Name: "a", Partitions: []cluster.Partition{{ID: 0, Topic: "a"}}}
	var conns []*conn
	for i := range uint32(2) {
		maker, err := frame.NewShaped("a", frame.Asked{Records: 1, Acks: -1}, p)
		if err != nil {
			t.Fatal(err)
		}
		codec := newShapedCodec(maker, produceCodec{streams: []produceStream{{id: i}}}, false)
		codec.route([]int32{0})
		conns = append(conns, newConn(codec, 1, []int32{0}))
	}
	k := newKeyed(spread.NewDrawer(p, top, 0, 1), top.Topics(), conns)
	conns[1].free = 1
	if c := k.choose(); c != conns[1] || k.room() != 1 {
		t.Fatal("the connection that has room is not chosen")
	}
	conns[1].prepare()
	draw := k.draw
	conns[0].free = 1
	if k.choose() != conns[1] || k.draw != draw {
		t.Error("a record whose frame is made went to another connection")
	}
	conns[1].free = 0
	if k.room() != 0 {
		t.Error("there is room for a record whose connection has none")
	}
	conns[1].fail(ErrTimeout, 1, func(*Op) {})
	if k.choose() != conns[0] || k.draw != draw {
		t.Error("a record whose connection was lost waits for it, though another has room")
	}
	if k.taken(conns[0], 1, 1) || k.choose() == nil || k.draw == draw {
		t.Error("the next record is the same one again")
	}
}
