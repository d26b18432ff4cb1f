// Package franz is the driver that reaches a cluster as applications do: through franz-go.
//
// The problem: the wire driver shows what the system takes, and nobody's application is made of pre-encoded frames. What a client library adds
// is only seen by the same load through it, with the same clock at the same places.
package franz

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"

	"ackline/loadgen/client"
	"ackline/loadgen/client/spread"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
	"ackline/loadgen/place"
	"ackline/loadgen/secure"
	"ackline/loadgen/workload"
)

// Driver uses franz-go, with one client per connection asked for. An operation is one record. The
// library batches by itself what is waiting when a request may go out.
type Driver struct {
	cfg     client.Config
	name    string
	size    int
	shape   *workload.Shape // nil: plain
	workers []*kgoWorker
	streams []client.Stream
}

// kgoOptions makes franz-go measure the system. Its defaults linger for 10 ms, compress, wait seconds between metadata
// requests and a quarter of one before a retry.
func kgoOptions(cfg client.Config) []kgo.Opt {
	return []kgo.Opt{
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.MetadataMinAge(10 * time.Millisecond), // the least that the library accepts
		kgo.RetryBackoffFn(func(int) time.Duration { return retryEvery }),
		kgo.MaxBufferedRecords(max(100_000, 2*cfg.InFlight)),
	}
}

// kgoRequests is what was asked for of requests. franz-go takes the last one of several options.
func kgoRequests(cfg client.Config) (opts []kgo.Opt) {
	if cfg.Compression != "" {
		opts = append(opts, kgo.ProducerBatchCompression(cfg.Codec().Kgo()))
	}
	switch cfg.Acks {
	case client.AcksAll:
		opts = append(opts, kgo.RequiredAcks(kgo.AllISRAcks()))
	case client.AcksLeader:
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()))
	case client.AcksNone:
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()))
	}
	if cfg.Idempotence == client.Off || cfg.RequiredAcks() != -1 {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	return opts
}

// Open opens the franz-go driver. With defaults it leaves the library's settings as users have them.
func Open(cfg client.Config, cl *cluster.Cluster, topic cluster.Topic, p *frame.Payloads, defaults bool) (*Driver, error) {
	cfg = cfg.Normal(runtime.NumCPU())
	if cfg.RecordsPerRequest != 1 {
		return nil, fmt.Errorf("records-per-request %d: franz-go decides by itself how many records a request holds; use 1 and a larger in-flight",
			cfg.RecordsPerRequest)
	}
	k := &Driver{cfg: cfg, name: "kgo", size: p.Size(), shape: p.Shape()}
	opts := []kgo.Opt{
		kgo.SeedBrokers(cl.Seeds()...),
		kgo.ClientID(frame.ClientOf(cfg.Place)),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RecordDeliveryTimeout(max(cfg.Timeout, time.Second)), // the least that the library accepts
		kgo.AllowIdempotentProduceCancellation(),
		kgo.ConnIdleTimeout(15 * time.Minute), // the most that the library accepts
		kgo.MaxBufferedRecords(max(10_000, 2*cfg.InFlight)),
	}
	opts = append(opts, cl.Papers().Options()...)
	if way := cl.Way(); way != nil { // not with TLS, which the library refuses to set up on somebody else's connection
		opts = append(opts, kgo.Dialer(func(ctx context.Context, _, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			return way.Conn(ctx, addr)
		}))
	}
	if defaults {
		k.name = "kgo-default"
	} else {
		opts = append(opts, kgoOptions(cfg)...)
	}
	opts = append(opts, kgoRequests(cfg)...)
	shares := spread.Deal(cfg.Connections, topic.Partitions)
	for i := range shares {
		if p.Drawn() { // the library has connections to all leaders
			shares[i] = places(topic)
		}
		w, err := k.worker(i, shares[i], topic, p, opts)
		if err != nil {
			k.Close()
			return nil, err
		}
		if p.Drawn() {
			w.drawer = spread.NewDrawer(p, topic, i, cfg.Connections)
		}
	}
	return k, nil
}

// places are where all of a topic's records go.
func places(t cluster.Topic) (out []int32) {
	for _, p := range t.Partitions {
		out = append(out, p.ID)
	}
	return out
}

func (k *Driver) worker(i int, share []int32, topic cluster.Topic, p *frame.Payloads, opts []kgo.Opt) (*kgoWorker, error) {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("franz-go: %w", err)
	}
	efd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		cl.Close()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	w := &kgoWorker{cl: cl, topics: topic.Topics(), payloads: p, timeout: k.cfg.Timeout, efd: efd, at: map[int32]int{}}
	for _, id := range share {
		w.at[id] = len(w.streams)
		w.streams = append(w.streams, stream{id: uint32(len(k.streams)), partition: w.topics.Partition(id), topic: w.topics.Topic(id)})
		k.streams = append(k.streams, client.Stream{Partition: id, Worker: i})
	}
	for range k.cfg.InFlight {
		o := &kgoOp{w: w, value: make([]byte, p.Size())}
		o.promise = o.done
		w.free = append(w.free, o)
	}
	k.workers = append(k.workers, w)
	return w, nil
}

// Workers returns the driver's workers.
func (k *Driver) Workers() []client.Worker {
	var out []client.Worker
	for _, w := range k.workers {
		out = append(out, w)
	}
	return out
}

// Streams returns what the stream numbers mean.
func (k *Driver) Streams() []client.Stream { return k.streams }

// client.Effective describes the clients.
func (k *Driver) Effective() client.Effective {
	e := client.Effective{Driver: k.name, Threads: len(k.workers), InFlight: k.cfg.InFlight, RecordsPerRequest: 1, ValueBytes: k.size,
		Options: map[string]string{"timeout_ms": strconv.FormatInt(k.cfg.Timeout.Milliseconds(), 10), "clients": strconv.Itoa(len(k.workers))}}
	client.DescribeShape(e.Options, k.cfg, k.shape)
	if len(k.workers) == 0 {
		return e
	}
	cl := k.workers[0].cl
	for _, o := range []string{"ProducerLinger", "RequiredAcks", "MetadataMinAge", "MaxBufferedRecords", "ConnIdleTimeout",
		"RecordDeliveryTimeout", "DisableIdempotentWrite", "ProducerBatchMaxBytes", "ProducerBatchCompression"} {
		e.Options[o] = fmt.Sprint(cl.OptValue(o))
	}
	return e
}

// Close closes the clients; what they still hold fails.
func (k *Driver) Close() error {
	for _, w := range k.workers {
		w.cl.Close()
		unix.Close(w.efd)
	}
	k.workers = nil
	return nil
}

// kgoWorker is one client and the thread that feeds it. The library answers on a goroutine of its own, which takes the
// time and leaves the operation in finished.
type kgoWorker struct {
	cl       *kgo.Client
	topics   place.Topics
	payloads *frame.Payloads
	timeout  time.Duration
	streams  []stream
	at       map[int32]int // by place, the index into streams
	turn     int
	drawer   *spread.Drawer // nil unless keys choose the partitions

	free     []*kgoOp // the window's unused operations
	flying   []flight // in order of submission; those that were answered are dropped from its head
	inflight int
	lastAck  int64 // when anything last succeeded, or the run began
	efd      int

	mu       sync.Mutex // guards finished and asleep
	finished []*kgoOp
	asleep   bool // the worker waits on efd
	spare    []*kgoOp
}

// flight is one use of a place of the window.
type flight struct {
	o   *kgoOp
	use uint64
}

func (f flight) unanswered() bool { return f.o.flying && f.o.use == f.use && !f.o.settled }

// kgoOp is one place of the window.
type kgoOp struct {
	w       *kgoWorker
	op      client.Op
	value   []byte
	promise func(*kgo.Record, error)
	use     uint64 // how often the place was used; this, flying and settled are the worker's thread's own
	flying  bool
	settled bool // it was handed back as failed; a late answer only frees the place

	err    error // err, offset and acked are written by done, before it puts the operation into finished
	offset int64
	acked  int64
}

// done is called by the library.
func (o *kgoOp) done(r *kgo.Record, err error) {
	o.acked = pace.Now()
	o.err, o.offset = err, r.Offset
	w := o.w
	w.mu.Lock()
	w.finished = append(w.finished, o)
	wake := w.asleep
	w.asleep = false
	w.mu.Unlock()
	if wake {
		one := [8]byte{7: 1}
		if _, err := unix.Write(w.efd, one[:]); err != nil && !errors.Is(err, unix.EAGAIN) {
			panic(fmt.Sprintf("client: eventfd: %v", err))
		}
	}
}

func (w *kgoWorker) Room() int     { return len(w.free) }
func (w *kgoWorker) InFlight() int { return w.inflight }
func (w *kgoWorker) Prepare()      {}
func (w *kgoWorker) Flush()        {}

func (w *kgoWorker) Submit(intended, ready int64) {
	o := w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	s, draw := w.next()
	o.flying, o.settled = true, false
	o.use++
	o.op = client.Op{Intended: intended, Ready: ready, Stream: s.id, Seq: s.seq, Records: 1}
	r := w.record(o, s, draw)
	s.seq++
	w.flying = append(w.flying, flight{o, o.use})
	w.inflight++
	o.op.Sent = pace.Now()
	w.cl.Produce(context.Background(), r, o.promise)
}

// next is the stream of the next record, and the draw of its key where it is that which chooses.
func (w *kgoWorker) next() (s *stream, draw uint64) {
	if w.drawer != nil {
		draw, at := w.drawer.Draw()
		return &w.streams[w.at[at]], draw
	}
	w.turn++
	return &w.streams[w.turn%len(w.streams)], 0
}

// record makes a stream's next one. It is the library's until its promise is called, so it cannot be kept in o.
func (w *kgoWorker) record(o *kgoOp, s *stream, draw uint64) *kgo.Record {
	r := &kgo.Record{Topic: s.topic, Partition: s.partition, Value: o.value}
	shape := w.payloads.Shape()
	if shape == nil {
		w.payloads.Put(o.value, s.id, s.seq)
		return r
	}
	began, run := pace.Now(), w.payloads.Run()
	r.Value = o.value[:w.payloads.Bytes(s.id, s.seq)]
	w.payloads.PutDrawn(r.Value, s.id, s.seq, draw)
	if w.drawer != nil {
		r.Key = w.payloads.DrawnKey(nil, draw)
	} else {
		r.Key = w.payloads.Key(nil, s.id, s.seq)
	}
	for i := range shape.Headers.Count {
		h := kgo.RecordHeader{Key: workload.HeaderName(i), Value: make([]byte, shape.Headers.Bytes)}
		shape.HeaderValue(h.Value, run, s.id, s.seq, i)
		r.Headers = append(r.Headers, h)
	}
	o.op.Bytes = int64(len(r.Value))
	o.op.Ready += pace.Now() - began // that took the generator so long, not the system
	return r
}

func (w *kgoWorker) Wait(until int64, done func(*client.Op)) error {
	now := pace.Now()
	if w.lastAck == 0 || w.inflight == 0 {
		w.lastAck = now
	}
	until = min(until, now+tickNS)
	n, err := w.collect(done)
	if n == 0 && err == nil && w.doze(until) {
		_, err = w.collect(done)
	}
	w.expire(pace.Now(), done)
	return err
}

// doze waits for an answer until the given time. True: there is one.
func (w *kgoWorker) doze(until int64) bool {
	w.mu.Lock()
	if len(w.finished) > 0 || pace.Now() >= until {
		w.mu.Unlock()
		return false
	}
	w.asleep = true
	w.mu.Unlock()
	ts := unix.NsecToTimespec(max(until-pace.Now(), 0))
	fds := []unix.PollFd{{Fd: int32(w.efd), Events: unix.POLLIN}}
	n, err := unix.Ppoll(fds, &ts, nil)
	if n == 1 && err == nil {
		var b [8]byte
		_, _ = unix.Read(w.efd, b[:]) // only empties it
	}
	w.mu.Lock()
	w.asleep = false
	any := len(w.finished) > 0
	w.mu.Unlock()
	return any
}

// collect hands the finished operations on, and says how many there were.
func (w *kgoWorker) collect(done func(*client.Op)) (int, error) {
	w.mu.Lock()
	w.finished, w.spare = w.spare[:0], w.finished
	w.mu.Unlock()
	var fatal error
	for _, o := range w.spare {
		o.flying = false
		w.free = append(w.free, o)
		if o.settled {
			continue
		}
		w.inflight--
		if o.op.Err = w.named(o); o.err == nil {
			o.op.Acked, o.op.Base = o.acked, o.offset
			w.lastAck = o.acked
		} else if secure.Refused(o.err) {
			fatal = o.err
		} else if o.acked-w.lastAck > w.timeout.Nanoseconds() {
			fatal = fmt.Errorf("nothing was acknowledged for %v: %w", w.timeout, o.err)
		}
		done(&o.op)
	}
	return len(w.spare), fatal
}

// named is an operation's error, with its place where there are several topics: the library's own words have none.
func (w *kgoWorker) named(o *kgoOp) error {
	if o.err == nil || !w.topics.Several() {
		return o.err
	}
	s := w.streams[o.op.Stream-w.streams[0].id]
	return fmt.Errorf("%s: %w", place.Name(s.topic, s.partition), o.err)
}

// expire hands operations that are unanswered for too long back as failed. Their places stay taken until the library lets go.
func (w *kgoWorker) expire(now int64, done func(*client.Op)) {
	for len(w.flying) > 0 {
		if f := w.flying[0]; f.unanswered() {
			if now-f.o.op.Sent <= w.timeout.Nanoseconds() {
				return
			}
			w.settle(f.o, client.ErrTimeout, done)
		}
		w.flying = w.flying[1:]
	}
}

func (w *kgoWorker) settle(o *kgoOp, err error, done func(*client.Op)) {
	o.settled = true
	o.op.Err = err
	w.inflight--
	done(&o.op)
}

func (w *kgoWorker) Abandon(done func(*client.Op)) {
	for _, f := range w.flying {
		if f.unanswered() {
			w.settle(f.o, client.ErrAbandoned, done)
		}
	}
	w.flying = w.flying[:0]
}

// stream is a row of records into one partition.
type stream struct {
	id        uint32
	topic     string
	partition int32 // Kafka's number
	seq       uint64
}

const (
	// tickNS bounds every wait, so that time-outs and the end of a run are noticed by a thread that hears nothing.
	tickNS = int64(50 * time.Millisecond)
	// retryEvery is the pause between two attempts.
	retryEvery = 10 * time.Millisecond
	// dialTimeout is the library's own, which it leaves to whoever connects for it.
	dialTimeout = 10 * time.Second
)
