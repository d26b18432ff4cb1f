package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"ackline/loadgen/client/kcode"
	"ackline/loadgen/client/sock"
	"ackline/loadgen/client/spread"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/place"
)

// FetchOrder is the order in which a fetch workload reads.
type FetchOrder string

// Sequential reads a partition from its start to its end and begins again: the disk's work when the page cache is cold
// or too small. Random reads at random offsets.
const (
	Sequential FetchOrder = "sequential"
	Random     FetchOrder = "random"
)

// Reading is what a fetch workload reads.
type Reading struct {
	Order FetchOrder
	// MaxBytes bounds each answer; a whole batch is answered even when it is larger. Must be above 0.
	MaxBytes int32
	// Seed selects the offsets of Random.
	Seed uint64
}

// OpenFetch opens a wire driver whose operations are Fetch requests of what the topic holds now. Every batch in an
// answer is checked against its CRC, after the answer's time was taken.
func OpenFetch(ctx context.Context, cfg Config, cl *cluster.Cluster, topic cluster.Topic, r Reading) (*Wire, error) {
	cfg = cfg.Normal(runtime.NumCPU())
	if r.MaxBytes <= 0 {
		return nil, fmt.Errorf("fetch: at most %d bytes per answer, want more than 0", r.MaxBytes)
	}
	if r.Order == Sequential && cfg.InFlight != 1 {
		return nil, fmt.Errorf("fetch: %d in flight per connection, want 1: where a sequential read goes on is known from its answer", cfg.InFlight)
	}
	ends, err := cl.EndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	var filled []cluster.Partition
	for _, p := range topic.Partitions {
		if ends[p.ID] > 0 {
			filled = append(filled, p)
		}
	}
	if len(filled) == 0 {
		return nil, fmt.Errorf("topic %q is empty: there is nothing to read; write to it first and keep it", topic.Name)
	}
	w := &Wire{cfg: cfg, cl: cl, topic: topic.Name, name: "wire (fetch, " + string(r.Order) + ")"}
	var codecs []codec
	shares := spread.Deal(cfg.Connections, filled)
	for i, share := range shares {
		c := &fetchCodec{topics: topic.Topics(), requests: frame.NewFetches(topic.Topics(), frame.FetchLimits{MaxBytes: r.MaxBytes}), order: r.Order, rng: r.Seed + uint64(i)}
		for _, id := range share {
			c.streams = append(c.streams, fetchStream{id: uint32(len(w.streams)), partition: id, end: ends[id]})
			w.streams = append(w.streams, Stream{Partition: id, Worker: i % cfg.Threads})
		}
		codecs = append(codecs, c)
	}
	if err := w.open(ctx, codecs, shares); err != nil {
		return nil, err
	}
	return w, nil
}

// fetchCodec sends Fetch requests, each to the next of the connection's partitions.
type fetchCodec struct {
	topics   place.Topics
	requests frame.Fetches
	order    FetchOrder
	rng      uint64
	streams  []fetchStream
	active   []int
	turn     int
}

type fetchStream struct {
	id        uint32
	partition int32
	seq       uint64
	start     int64 // first offset to read; moves up when the log's start does
	end       int64 // as it was when the driver was opened
	next      int64
}

func (f *fetchCodec) frameLen() int { return f.requests.MaxLen() }
func (f *fetchCodec) varies() bool  { return len(f.requests) > 1 }

func (f *fetchCodec) init(frame []byte) {
	if !f.varies() {
		f.requests[0].Init(frame)
	}
}

func (f *fetchCodec) build(b []byte, correlation int32, op *Op) {
	f.turn++
	s := &f.streams[f.active[f.turn%len(f.active)]]
	if f.order == Random {
		f.rng = f.rng*6364136223846793005 + 1442695040888963407 // Knuth's MMIX generator; its high bits are used
		s.next = s.start + int64(f.rng>>11)%(s.end-s.start)
	} else if s.next >= s.end {
		s.next = s.start
	}
	op.Stream, op.Seq, op.Base = s.id, s.seq, s.next
	request := f.requests[f.topics.Index(s.partition)]
	if f.varies() {
		request.Init(b)
		op.Wire = int64(request.Len())
	}
	request.Patch(b, correlation, f.topics.Partition(s.partition), s.next)
	s.seq++
}

var errEmptyFetch = errors.New("nothing was returned below the end of the partition")

func (f *fetchCodec) parse(reply []byte, correlation int32, op *Op) error {
	if got := int32(binary.BigEndian.Uint32(reply)); got != correlation {
		return fmt.Errorf("reply to request %d, want %d", got, correlation)
	}
	r, err := frame.ParseFetched(reply)
	if err != nil {
		return err
	}
	s := f.stream(op.Stream)
	if r.Code != 0 {
		op.Err = kcode.Of("Fetch", f.topics, s.partition, r.Code)
		s.start, s.next = max(s.start, r.LogStart), max(s.next, r.LogStart)
		return nil
	}
	next, records, err := frame.Walk(r.Batches, op.Base)
	switch {
	case err != nil:
		op.Err = fmt.Errorf("%s: %w", f.topics.Name(s.partition), err)
	case records == 0:
		op.Err = fmt.Errorf("%s at offset %d: %w", f.topics.Name(s.partition), op.Base, errEmptyFetch)
	}
	op.Records, op.Bytes, s.next = records, int64(len(r.Batches)), next
	return nil
}

func (f *fetchCodec) stream(id uint32) *fetchStream {
	for i := range f.streams {
		if f.streams[i].id == id {
			return &f.streams[i]
		}
	}
	panic(fmt.Sprintf("client: stream %d on a connection with %+v", id, f.streams))
}

func (f *fetchCodec) route(partitions []int32) {
	f.active = f.active[:0]
	for i, s := range f.streams {
		if slices.Contains(partitions, s.partition) {
			f.active = append(f.active, i)
		}
	}
	if len(f.active) == 0 {
		panic(fmt.Sprintf("client: a connection for partitions %+v was routed to %d", f.streams, partitions))
	}
}

// Reader reads one partition after the other, for the check. It follows the leader and tries again while the partition
// has none, for at most the cluster's time-out without an answer.
type Reader struct {
	cl       *cluster.Cluster
	topics   place.Topics
	requests frame.Fetches
	buf      []byte
	conn     *conn // nil while there is none
	addr     string
	part     int32
	prompt   bool
	known    []cluster.Partition // nil: to be asked for
	lastGood time.Time
}

const readerBytes = 4 << 20

// NewReader returns a reader of a topic, or of several (see place.Parse), whose partitions are told by their places.
func NewReader(cl *cluster.Cluster, topic string) *Reader { return NewWaitingReader(cl, topic, 200) }

// NewWaitingReader is NewReader with a limit of its own to how long a read waits at the end of a partition.
func NewWaitingReader(cl *cluster.Cluster, topic string, waitMS int32) *Reader {
	topics := place.Parse(topic)
	f := frame.NewFetches(topics, frame.FetchLimits{MaxWaitMS: waitMS, MaxBytes: readerBytes})
	return &Reader{cl: cl, topics: topics, requests: f, buf: make([]byte, f.MaxLen())}
}

// Prompt makes the first read of a partition, after one of another, not wait for what is not there: many may be empty.
func (r *Reader) Prompt() *Reader {
	r.prompt = true
	return r
}

// Read returns the batches of a partition from an offset on, perhaps none, and the high watermark. The bytes are good until the
// next call.
func (r *Reader) Read(ctx context.Context, partition int32, from int64) ([]byte, int64, error) {
	r.lastGood = time.Now()
	for {
		f, err := r.read(ctx, partition, from)
		if err == nil && f.Code == 0 {
			return f.Batches, f.HighWatermark, nil
		}
		if err == nil {
			err = kcode.Of("Fetch", r.topics, partition, f.Code)
		}
		r.Close()
		if !passes(err) || time.Since(r.lastGood) > r.cl.Timeout() {
			return nil, 0, err
		}
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-time.After(reconnectEvery):
		}
	}
}

func (r *Reader) read(ctx context.Context, partition int32, from int64) (frame.Fetched, error) {
	first := r.part != partition || r.conn == nil
	if first {
		if err := r.connect(ctx, partition); err != nil {
			return frame.Fetched{}, err
		}
	}
	request := r.requests[r.topics.Index(partition)]
	request.Init(r.buf)
	if first && r.prompt {
		request.AtOnce(r.buf)
	}
	request.Patch(r.buf, 1, r.topics.Partition(partition), from)
	reply, err := r.conn.exchange(ctx, r.buf[:request.Len()], r.cl.Timeout())
	if err != nil {
		return frame.Fetched{}, err
	}
	return frame.ParseFetched(reply)
}

// connect goes to the leader of a partition, unless it is there already. Who leads is asked once for all partitions, and again after
// whatever goes wrong: there may be thousands of them.
func (r *Reader) connect(ctx context.Context, partition int32) error {
	if r.known == nil {
		t, err := r.cl.Topic(ctx, r.topics.String())
		if err != nil {
			return err
		}
		r.known = t.Partitions
	}
	i := slices.IndexFunc(r.known, func(p cluster.Partition) bool { return p.ID == partition })
	if i < 0 {
		return fmt.Errorf("topic %q has no partition %d", r.topics.Topic(partition), r.topics.Partition(partition))
	}
	if at := r.known[i].Addr; r.conn == nil || r.addr != at {
		known := r.known
		r.Close()
		fd, sealed, err := sock.Open(r.cl.Way(), at, sock.DialTimeout(false), sock.UpgradeTimeout, r.cl.Papers().Secure)
		if err != nil {
			return err
		}
		if err := sock.MakeBlocking(fd, time.Duration(tickNS)); err != nil {
			closeFD(fd)
			return err
		}
		r.conn, r.addr, r.known = &conn{fd: fd, sealed: sealed, in: make([]byte, readerBytes+inBytes)}, at, known
	}
	r.part = partition
	return nil
}

// Close closes the reader's connection; the reader can be used again.
func (r *Reader) Close() {
	r.known = nil
	if r.conn != nil {
		closeFD(r.conn.fd)
		r.conn = nil
	}
}
