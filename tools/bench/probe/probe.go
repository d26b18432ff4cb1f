// Package probe watches a broker with single records, before it is killed and after it is back.
//
// The first acknowledgement after a restart is not the end of an outage: for some time the broker also moves what it
// recovered into segments, fills caches, and answers later than users are used to. To see when that is over takes a load that
// is the same before and after, light enough not to be the cause, and counted from when each record was due, so that a stall
// of 100 ms is seen by every record that was due in it and not by the one that was sent.
//
// A Probe sends records of one size at a fixed, even rate over one connection. When the p99 of a second is what it was before
// the kill, times Tolerance, latencies are restored (see Restored).
package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"ackline/loadgen/check"
	"ackline/loadgen/client"
	"ackline/loadgen/client/franz"
	"ackline/loadgen/client/sock"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
)

// Config says where a probe writes, and how.
type Config struct {
	Brokers       []string // to ask first
	Topic         string
	RecordBytes   int
	RatePerSecond float64
	Timeout       time.Duration // after which a record counts as failed, and a connection as lost for good
	RunID         uint64        // tells its records from others in the topic
	Client        Client
	// Connections of a Tuned client. 0: one, which has client.ResendInFlight records unanswered at most: over a distance that is not enough
	// for the rate, see Needed. A Library has as many records unanswered as twice these would.
	Connections int
	Way         sock.Way // how connections get there; nil: as addresses say
}

// Client is the way in which a probe writes.
type Client string

// The clients.
const (
	Plain   Client = ""        // pre-encoded frames; what is unanswered when the connection is lost has failed
	Tuned   Client = "tuned"   // the same, and nothing fails: a client that is set up for failovers
	Library Client = "library" // franz-go as people use it
)

// inFlight bounds what is unanswered at a time. What is due beyond it waits, and its wait counts.
const inFlight = 256

// spinMax is how much of each wait may be spent spinning, so that records are sent when they are due.
const spinMax = 100 * time.Microsecond

// Probe is an open connection and what was acknowledged over it. Used by one goroutine.
type Probe struct {
	cfg      Config
	cluster  *cluster.Cluster
	start    map[int32]int64 // where the partitions ended
	payloads *frame.Payloads
	driver   client.Driver
	ledger   *check.Ledger
	lastSent atomic.Int64 // when the record that was acknowledged last had been sent
}

// Sample is one record. Times are CLOCK_MONOTONIC, ns.
type Sample struct {
	Intended int64
	Acked    int64 // failed: it never was
	Offset   int64 // where it is, if it was
}

// Acknowledged says that it ever was.
func (s Sample) Acknowledged() bool { return s.Acked != failed }

const failed = int64(math.MaxInt64)

// Took is from when the record was due until it was acknowledged; not ok when it never was.
func (s Sample) Took() (d time.Duration, ok bool) {
	return time.Duration(s.Acked - s.Intended), s.Acked != failed
}

// Open connects to the topic, which is there.
func Open(ctx context.Context, cfg Config) (*Probe, error) {
	p := &Probe{cfg: cfg, payloads: frame.NewPayloads(cfg.RunID, cfg.RecordBytes)}
	var err error
	if p.cluster, err = cluster.New(cfg.Brokers, cfg.Timeout); err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	t, err := p.cluster.Through(cfg.Way).Led(ctx, cfg.Topic)
	if err == nil {
		p.start, err = p.cluster.EndOffsets(ctx, t)
	}
	if err == nil {
		err = p.open(ctx, t)
	}
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	var partitions []int32
	for _, s := range p.driver.Streams() {
		partitions = append(partitions, s.Partition)
	}
	p.ledger = check.NewLedger(partitions)
	return p, nil
}

func (p *Probe) open(ctx context.Context, t cluster.Topic) error {
	c := client.Config{Connections: 1, InFlight: inFlight, Timeout: p.cfg.Timeout}
	if p.cfg.Client == Library {
		c.InFlight = max(inFlight, 2*client.ResendInFlight*p.cfg.Connections) // it has one request outstanding: a record waits for the one before, too
		d, err := franz.Open(c, p.cluster, t, p.payloads, true)
		if err == nil {
			p.driver = d
		}
		return err
	}
	if p.cfg.Client == Tuned {
		c.Resend, c.InFlight, c.Connections, c.Threads = true, client.ResendInFlight, max(1, p.cfg.Connections), 1
	}
	d, err := client.OpenProduce(ctx, c, p.cluster, t, p.payloads)
	if err == nil {
		p.driver = d
	}
	return err
}

// Run sends records for limit, or until enough says that they are enough. enough is asked about once a Step, when nothing is
// in flight and nothing due soon, with the samples so far, of which those of several connections are not in order; nil never ends it early.
// The samples that are returned are in the order in which they were due. start is when the first was due.
func (p *Probe) Run(ctx context.Context, limit time.Duration, enough func(start int64, s []Sample) bool) (start int64, samples []Sample, err error) {
	release, err := pace.LockThread()
	if err != nil {
		return 0, nil, fmt.Errorf("probe: %w", err)
	}
	defer release()
	r := &round{p: p, worker: p.driver.Workers()[0], pacer: &pace.Pacer{MaxSpinNS: spinMax.Nanoseconds()},
		arrivals: pace.Spec{Kind: pace.Constant, RatePerSecond: p.cfg.RatePerSecond}.Stream(0, 1),
		start:    pace.Now() + int64(time.Millisecond), samples: make([]Sample, 0, int(limit.Seconds()*p.cfg.RatePerSecond)+inFlight)}
	err = r.run(ctx, limit, enough)
	if p.cfg.Connections > 1 {
		slices.SortStableFunc(r.samples, func(a, b Sample) int { return cmp.Compare(a.Intended, b.Intended) })
	}
	if err != nil {
		return r.start, r.samples, fmt.Errorf("probe: %w", err)
	}
	return r.start, r.samples, nil
}

// Needed is how many connections a Tuned client needs for a rate when an answer takes so long.
func Needed(ratePerSecond float64, answer time.Duration) int {
	return int(math.Ceil(ratePerSecond * answer.Seconds() / client.ResendInFlight))
}

// LastSent is when the record that was acknowledged last had been sent for the first time (CLOCK_MONOTONIC, ns), 0 before the first.
// May be called while Run runs.
func (p *Probe) LastSent() int64 { return p.lastSent.Load() }

// Acked is how many records were acknowledged.
func (p *Probe) Acked() int64 { return p.ledger.Count() }

// Verify reads back what was acknowledged, from wherever the topic is served now. Not while Run runs.
func (p *Probe) Verify(ctx context.Context) (*check.Report, error) {
	r := client.NewReader(p.cluster, p.cfg.Topic)
	defer r.Close()
	found, err := check.Verify(ctx, r, p.ledger, p.payloads, check.Options{Start: p.start})
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	return found, nil
}

// Close closes the connection. What was acknowledged can still be verified.
func (p *Probe) Close() error { return p.driver.Close() }

// round is one Run.
type round struct {
	p        *Probe
	worker   client.Worker
	pacer    *pace.Pacer
	arrivals *pace.Stream
	start    int64
	next     int64 // when the next record is due
	samples  []Sample
}

// run is the loop of one locked thread: send what is due, take what is answered, and look once in a while.
func (r *round) run(ctx context.Context, limit time.Duration, enough func(int64, []Sample) bool) error {
	end := r.start + limit.Nanoseconds()
	look := r.start + Step.Nanoseconds()
	r.next = r.start + r.arrivals.Next()
	for {
		now := pace.Now()
		if enough != nil && now >= look && (r.idle(now) || now >= look+Step.Nanoseconds()/2) {
			look += Step.Nanoseconds()
			if enough(r.start, r.samples) {
				end = min(end, now)
			}
		}
		r.submit(now, end)
		inFlight := r.worker.InFlight()
		switch {
		case r.next >= end && inFlight == 0:
			return nil
		case ctx.Err() != nil || now >= end+r.p.cfg.Timeout.Nanoseconds():
			r.worker.Abandon(r.answered)
			return context.Cause(ctx)
		case inFlight == 0 && r.worker.Room() > 0:
			r.worker.Prepare()
			r.pacer.SleepUntil(min(r.next, end))
		default:
			until := now + Step.Nanoseconds()
			if r.next < end && r.worker.Room() > 0 {
				until = min(until, r.pacer.WakeAt(r.next))
			}
			if err := r.worker.Wait(until, r.answered); err != nil {
				r.worker.Abandon(r.answered)
				return errors.Join(err, context.Cause(ctx))
			}
		}
	}
}

// idle says that there is time to think: a record that waits for that would look like one that waits for the broker.
func (r *round) idle(now int64) bool {
	return r.worker.InFlight() == 0 && r.next-now > 4*spinMax.Nanoseconds()
}

// submit sends every record that is due before end and has room.
func (r *round) submit(now, end int64) {
	any := false
	for r.next <= now && r.next < end && r.worker.Room() > 0 {
		r.worker.Submit(r.next, now)
		r.next = r.start + r.arrivals.Next()
		any = true
	}
	if any {
		r.worker.Flush()
	}
}

// answered notes a record that the driver hands back.
func (r *round) answered(op *client.Op) {
	s := Sample{Intended: op.Intended, Acked: op.Acked, Offset: op.Base}
	if op.Err != nil {
		s.Acked = failed
	} else {
		r.p.ledger.Acked(op.Stream, op.Seq, op.Records, op.Base)
		r.p.lastSent.Store(max(op.Sent, r.p.lastSent.Load())) // one goroutine stores
	}
	r.samples = append(r.samples, s)
}
