package client

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"

	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
)

// Kgo is the driver that uses franz-go, with one client per connection asked for. An operation is one record. The
// library batches by itself what is waiting when a request may go out.
type Kgo struct {
	cfg     Config
	name    string
	size    int
	workers []*kgoWorker
	streams []Stream
}

// kgoOptions makes franz-go measure the system. Its defaults linger for 10 ms, compress, wait seconds between metadata
// requests and a quarter of one before a retry.
func kgoOptions(cfg Config) []kgo.Opt {
	return []kgo.Opt{
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.MetadataMinAge(10 * time.Millisecond), // the least that the library accepts
		kgo.RetryBackoffFn(func(int) time.Duration { return reconnectEvery }),
		kgo.MaxBufferedRecords(max(100_000, 2*cfg.InFlight)),
	}
}

// OpenKgo opens the franz-go driver. With defaults it leaves the library's settings as users have them.
func OpenKgo(cfg Config, brokers []string, topic cluster.Topic, p *frame.Payloads, defaults bool) (*Kgo, error) {
	cfg = cfg.Normal(runtime.NumCPU())
	if cfg.RecordsPerRequest != 1 {
		return nil, fmt.Errorf("records-per-request %d: franz-go decides by itself how many records a request holds; use 1 and a larger in-flight",
			cfg.RecordsPerRequest)
	}
	k := &Kgo{cfg: cfg, name: "kgo", size: p.Size()}
	opts := []kgo.Opt{
		kgo.SeedBrokers(brokers...),
		kgo.ClientID(frame.ClientID),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RecordDeliveryTimeout(max(cfg.Timeout, time.Second)), // the least that the library accepts
		kgo.AllowIdempotentProduceCancellation(),
		kgo.ConnIdleTimeout(15 * time.Minute), // the most that the library accepts
		kgo.MaxBufferedRecords(max(10_000, 2*cfg.InFlight)),
	}
	if defaults {
		k.name = "kgo-default"
	} else {
		opts = append(opts, kgoOptions(cfg)...)
	}
	clients := make([]*kgoWorker, cfg.Connections)
	for i, share := range deal(cfg.Connections, topic.Partitions) {
		w, err := k.worker(i, share, topic.Name, p, opts)
		if err != nil {
			k.Close()
			return nil, err
		}
		clients[i] = w
	}
	return k, nil
}

func (k *Kgo) worker(i int, share []int32, topic string, p *frame.Payloads, opts []kgo.Opt) (*kgoWorker, error) {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("franz-go: %w", err)
	}
	efd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		cl.Close()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	w := &kgoWorker{cl: cl, topic: topic, payloads: p, timeout: k.cfg.Timeout, efd: efd}
	for _, id := range share {
		w.streams = append(w.streams, produceStream{id: uint32(len(k.streams)), partition: id})
		k.streams = append(k.streams, Stream{Partition: id, Worker: i})
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
func (k *Kgo) Workers() []Worker {
	var out []Worker
	for _, w := range k.workers {
		out = append(out, w)
	}
	return out
}

// Streams returns what the stream numbers mean.
func (k *Kgo) Streams() []Stream { return k.streams }

// Effective describes the clients.
func (k *Kgo) Effective() Effective {
	e := Effective{Driver: k.name, Threads: len(k.workers), InFlight: k.cfg.InFlight, RecordsPerRequest: 1, ValueBytes: k.size,
		Options: map[string]string{"timeout_ms": strconv.FormatInt(k.cfg.Timeout.Milliseconds(), 10), "clients": strconv.Itoa(len(k.workers))}}
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
func (k *Kgo) Close() error {
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
	topic    string
	payloads *frame.Payloads
	timeout  time.Duration
	streams  []produceStream
	turn     int

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
	op      Op
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
	w.turn++
	s := &w.streams[w.turn%len(w.streams)]
	o.flying, o.settled = true, false
	o.use++
	o.op = Op{Intended: intended, Ready: ready, Stream: s.id, Seq: s.seq, Records: 1}
	w.payloads.Put(o.value, s.id, s.seq)
	s.seq++
	w.flying = append(w.flying, flight{o, o.use})
	w.inflight++
	o.op.Sent = pace.Now()
	// The record is the library's until its promise is called, so it cannot be kept in o.
	w.cl.Produce(context.Background(), &kgo.Record{Topic: w.topic, Partition: s.partition, Value: o.value}, o.promise)
}

func (w *kgoWorker) Wait(until int64, done func(*Op)) error {
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
func (w *kgoWorker) collect(done func(*Op)) (int, error) {
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
		if o.op.Err = o.err; o.err == nil {
			o.op.Acked, o.op.Base = o.acked, o.offset
			w.lastAck = o.acked
		} else if o.acked-w.lastAck > w.timeout.Nanoseconds() {
			fatal = fmt.Errorf("nothing was acknowledged for %v: %w", w.timeout, o.err)
		}
		done(&o.op)
	}
	return len(w.spare), fatal
}

// expire hands operations that are unanswered for too long back as failed. Their places stay taken until the library lets go.
func (w *kgoWorker) expire(now int64, done func(*Op)) {
	for len(w.flying) > 0 {
		if f := w.flying[0]; f.unanswered() {
			if now-f.o.op.Sent <= w.timeout.Nanoseconds() {
				return
			}
			w.settle(f.o, ErrTimeout, done)
		}
		w.flying = w.flying[1:]
	}
}

func (w *kgoWorker) settle(o *kgoOp, err error, done func(*Op)) {
	o.settled = true
	o.op.Err = err
	w.inflight--
	done(&o.op)
}

func (w *kgoWorker) Abandon(done func(*Op)) {
	for _, f := range w.flying {
		if f.unanswered() {
			w.settle(f.o, ErrAbandoned, done)
		}
	}
	w.flying = w.flying[:0]
}
