package client

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"

	"ackline/loadgen/client/sock"
	"ackline/loadgen/client/spread"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/place"
	"ackline/loadgen/workload"
)

// Wire is the driver that sends pre-encoded frames over raw sockets, to a cluster or to a floor.
type Wire struct {
	cfg     Config
	cl      *cluster.Cluster // nil towards a floor
	topic   string           // or several, as place.Parse reads them
	floor   string           // the floor's address
	records int
	size    int
	shape   *workload.Shape // nil: plain
	workers []*wireWorker
	streams []Stream
	name    string
	drawer  func(worker int) *spread.Drawer // nil unless keys choose the partitions
}

// maxRingBytes bounds the memory for frames of all windows together.
const maxRingBytes = 2 << 30

// OpenProduce opens a wire driver that writes to a topic. Connections are dealt over the partitions' leaders; each cycles
// over its share of the leader's partitions, or with Config.PartitionBy key takes what the keys of its thread's records have for it.
func OpenProduce(ctx context.Context, cfg Config, cl *cluster.Cluster, topic cluster.Topic, p *frame.Payloads) (*Wire, error) {
	cfg = cfg.Normal(runtime.NumCPU())
	if cfg.Idempotence == On && cfg.InFlight > ResendInFlight {
		return nil, fmt.Errorf("in-flight %d with idempotence: want at most %d, which is how many of a producer's batches brokers know again", cfg.InFlight, ResendInFlight)
	}
	w := &Wire{cfg: cfg, cl: cl, topic: topic.Name, name: "wire", records: cfg.RecordsPerRequest, size: p.Size(), shape: p.Shape()}
	codecFor, err := w.producers(topic.Name, p)
	if err != nil {
		return nil, err
	}
	var codecs []codec
	shares := spread.Deal(cfg.Connections, topic.Partitions)
	if p.Drawn() {
		if shares, w.cfg.Threads, err = spread.DealKeyed(cfg.Connections, cfg.Threads, cfg.Resend, topic.Partitions); err != nil {
			return nil, err
		}
		w.drawer = func(i int) *spread.Drawer { return spread.NewDrawer(p, topic, i, w.cfg.Threads) }
	}
	for i, share := range shares {
		c := w.producer(i, share)
		if cfg.Resend {
			if len(share) != 1 {
				return nil, fmt.Errorf("resend: %d connections for %d partitions: want one for each, or more", cfg.Connections, len(topic.Partitions))
			}
			who, err := cl.ProducerID(ctx)
			if err != nil {
				return nil, err
			}
			c.who = &who
		}
		one, err := codecFor(c)
		if err != nil {
			return nil, err
		}
		codecs = append(codecs, one)
	}
	if err := w.open(ctx, codecs, shares); err != nil {
		return nil, err
	}
	return w, nil
}

// OpenFloor opens a wire driver that sends the same frames to a floor server, which makes them durable and
// answers each with a frame that holds its correlation id. topic only fills the frames.
func OpenFloor(ctx context.Context, cfg Config, addr, topic string, p *frame.Payloads) (*Wire, error) {
	if err := cluster.CheckAddress(addr); err != nil {
		return nil, fmt.Errorf("floor: %w", err)
	}
	cfg = cfg.Normal(runtime.NumCPU())
	w := &Wire{cfg: cfg, floor: addr, topic: topic, name: "floor", records: cfg.RecordsPerRequest, size: p.Size(), shape: p.Shape()}
	codecFor, err := w.producers(topic, p)
	if err != nil {
		return nil, err
	}
	var codecs []codec
	var shares [][]int32
	for i := range cfg.Connections {
		c := w.producer(i, []int32{0})
		c.floor = true
		one, err := codecFor(c)
		if err != nil {
			return nil, err
		}
		codecs = append(codecs, one)
		shares = append(shares, []int32{0})
	}
	if err := w.open(ctx, codecs, shares); err != nil {
		return nil, err
	}
	return w, nil
}

// producers returns what makes the codec of a connection that writes to a topic.
func (w *Wire) producers(topic string, p *frame.Payloads) (func(produceCodec) (codec, error), error) {
	timeoutMS := int32(w.cfg.Timeout.Milliseconds())
	if p.Plain() && w.cfg.Codec() == frame.None && w.cfg.Idempotence != On && !place.Parse(topic).Several() {
		r, err := frame.NewProduce(topic, w.cfg.RecordsPerRequest, timeoutMS, p)
		if err != nil {
			return nil, err
		}
		r.From(w.cfg.Place)
		r.SetAcks(w.cfg.RequiredAcks())
		if w.cfg.Stages {
			r.AskStages()
		}
		return func(c produceCodec) (codec, error) {
			c.request = r
			return &c, nil
		}, w.fits(r.Len())
	}
	asked := frame.Asked{Records: w.cfg.RecordsPerRequest, TimeoutMS: timeoutMS, Acks: w.cfg.RequiredAcks(), Codec: w.cfg.Codec(),
		Stages: w.cfg.Stages, Place: w.cfg.Place}
	first, err := frame.NewShaped(topic, asked, p)
	if err != nil {
		return nil, err
	}
	return func(c produceCodec) (codec, error) {
		maker, err := frame.NewShaped(topic, asked, p)
		if err != nil {
			return nil, err
		}
		return newShapedCodec(maker, c, asked.Codec != frame.None && !p.Drawn()), nil // which stream's batch comes next is not known ahead where keys say it
	}, w.fits(first.MaxLen())
}

// fits says whether the frames of all windows fit into the memory that they may take.
func (w *Wire) fits(frameLen int) error {
	if n := int64(frameLen) * int64(w.cfg.InFlight) * int64(w.cfg.Connections); n > maxRingBytes {
		return fmt.Errorf("%d connections × %d in flight × %d bytes a request = %d bytes of frames, want at most %d",
			w.cfg.Connections, w.cfg.InFlight, frameLen, n, int64(maxRingBytes))
	}
	return nil
}

// producer makes what connection i's codec has in any case: a stream for each of its partitions.
func (w *Wire) producer(i int, share []int32) (c produceCodec) {
	c.firstStream, c.topics = w.cfg.FirstStream, place.Parse(w.topic)
	for _, id := range share {
		c.streams = append(c.streams, produceStream{id: uint32(len(w.streams)), partition: id})
		w.streams = append(w.streams, Stream{Partition: id, Worker: i % w.cfg.Threads})
	}
	return c
}

// open connects everything.
func (w *Wire) open(ctx context.Context, codecs []codec, shares [][]int32) error {
	groups := make([][]*conn, w.cfg.Threads)
	for i, c := range codecs {
		g := i % w.cfg.Threads
		conn := newConn(c, w.cfg.InFlight, shares[i])
		conn.resend, conn.mute = w.cfg.Resend, w.cfg.Acks == AcksNone
		groups[g] = append(groups[g], conn)
	}
	for _, g := range groups {
		ww, err := newWireWorker(w, g)
		if err == nil {
			if w.drawer != nil {
				ww.keyed = newKeyed(w.drawer(len(w.workers)), place.Parse(w.topic), g)
			}
			w.workers = append(w.workers, ww)
			err = w.connectAll(ctx, ww)
		}
		if err != nil {
			w.Close()
			return err
		}
	}
	return nil
}

func (w *Wire) connectAll(ctx context.Context, ww *wireWorker) error {
	for _, c := range ww.conns {
		d := w.dial(ctx, c.assigned, noNode)
		if d.err != nil {
			return d.err
		}
		if err := ww.attach(c, d); err != nil {
			return err
		}
	}
	return nil
}

// restore reconnects on a goroutine of its own, so that the other connections of the worker go on.
func (w *Wire) restore(assigned []int32, but int32, out chan<- dialed) {
	limit := 2 * sock.DialTimeout(false)
	if w.cl != nil && w.cl.Papers() != nil {
		limit += sock.UpgradeTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	out <- w.dial(ctx, assigned, but)
}

// noNode is the id of none.
const noNode = -1

// dial connects to whoever leads the first of the assigned partitions now, unless that is node but.
func (w *Wire) dial(ctx context.Context, assigned []int32, but int32) dialed {
	if w.cl == nil {
		fd, err := w.cfg.Way.Dial(w.floor, sock.DialTimeout(false))
		if err != nil {
			err = fmt.Errorf("floor: %w: is tools/floor listening there?", err)
		}
		return dialed{fd: fd, partitions: assigned, err: err}
	}
	t, err := w.cl.Topic(ctx, w.topic)
	if err != nil {
		return dialed{fd: -1, err: err}
	}
	find := func(id int32) *cluster.Partition {
		i := slices.IndexFunc(t.Partitions, func(p cluster.Partition) bool { return p.ID == id })
		if i < 0 {
			return nil
		}
		return &t.Partitions[i]
	}
	first := find(assigned[0])
	if first == nil {
		return dialed{fd: -1, err: fmt.Errorf("topic %q has no partition %d any more", t.Topics().Topic(assigned[0]), t.Topics().Partition(assigned[0]))}
	}
	d := dialed{node: first.Leader}
	if first.Leader == but {
		return dialed{fd: -1, err: errStillLeads}
	}
	for _, id := range assigned {
		if p := find(id); p != nil && p.Leader == first.Leader {
			d.partitions = append(d.partitions, id)
		}
	}
	if w.cfg.Idempotence == On && !w.cfg.Resend {
		who, err := w.cl.ProducerID(ctx)
		if err != nil {
			return dialed{fd: -1, err: err}
		}
		d.who = &who
	}
	d.fd, d.sealed, d.err = sock.Open(w.cl.Way(), first.Addr, sock.DialTimeout(w.cfg.Resend), sock.UpgradeTimeout, w.cl.Papers().Secure)
	return d
}

// Workers returns the driver's workers.
func (w *Wire) Workers() []Worker {
	var out []Worker
	for _, ww := range w.workers {
		out = append(out, ww)
	}
	return out
}

// Streams returns what the stream numbers mean.
func (w *Wire) Streams() []Stream { return w.streams }

// Effective describes the open connections. Call it while no worker runs.
func (w *Wire) Effective() Effective {
	e := Effective{Driver: w.name, Threads: len(w.workers), InFlight: w.cfg.InFlight, RecordsPerRequest: w.records, ValueBytes: w.size,
		Options: map[string]string{"timeout_ms": strconv.FormatInt(w.cfg.Timeout.Milliseconds(), 10)}}
	DescribeShape(e.Options, w.cfg, w.shape)
	late, taken := int64(0), int64(0)
	for _, ww := range w.workers {
		e.Options["wait"] = "epoll"
		if ww.alone {
			e.Options["wait"] = "blocking read"
		}
		for _, c := range ww.conns {
			if !c.varies {
				e.RequestBytes = c.frameLen
			} else if s, ok := c.codec.(*shapedCodec); ok && s.ahead != nil {
				l, t := s.ahead.Counts()
				late, taken = late+l, taken+t
			}
			if c.lastReply > 0 {
				e.ReplyBytes = c.lastReply
			}
			if c.fd >= 0 {
				d := Connection{Description: sock.Describe(c.fd), Node: c.node, Partitions: c.assigned}
				if topics := place.Parse(w.topic); topics.Several() {
					d.Partitions, d.Topics = nil, topics.ByName(c.assigned)
				}
				if c.sealed != nil {
					d.TLS = c.sealed.State()
				}
				e.Connections = append(e.Connections, d)
			}
		}
	}
	if taken > 0 {
		e.Options["compressed_late"] = fmt.Sprintf("%d of %d batches", late, taken)
	}
	return e
}

// Close closes every connection. No worker may be in use.
func (w *Wire) Close() error {
	for _, ww := range w.workers {
		ww.close()
	}
	w.workers = nil
	return nil
}
