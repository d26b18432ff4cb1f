// Package stages says where the time of requests went: how much of a response time each stage on a request's way took, for the
// requests around the median, for the slowest, and for the ten worst one by one.
//
// The problem: "the p99 is 4 ms" tells nobody what to change. Percentiles of the stages do not either, because they do not add
// up: the request with the slowest sync is not the one with the slowest quorum. So a request's stages are kept together: they
// are summed by how long the request took as a whole. Such a sum adds up for any stretch of percentiles, and it takes the same
// little memory however long a run is.
//
// A system that is asked (frame.Stages) tells durations since it had read the request, never times, so that no two
// clocks need to agree. It cannot tell what comes after its response was encoded, nor what came before the request was
// read. Both are in Network, which is what is left of the time between sent and acked: the wire, the kernels, where a request
// also waits when whoever reads it is busy (a broker may write to its disk on that thread), and, with several requests in
// flight on a connection, an answer's wait for those before it. Therefore the parts add up by construction, as long as the
// system does not tell of more time than there was; that is what AddsUp notices.
package stages

import (
	"fmt"
	"math"

	"ackline/loadgen/frame"
	"ackline/loadgen/hist"
)

// Stage is one part of a response time.
type Stage uint8

// The stages, in the order of a request's way. Together they are what lies between intended and acked.
const (
	ClientQueue Stage = iota // intended → sent: the generator's lag and the wait for room in the window
	Network                  // sent → acked without what the system tells of
	Decode                   // the system has read the request → parsed and checked it
	Propose                  // → handed it to consensus
	BatchWait                // → began the write to its log that took it in
	Sync                     // → that write was durable there
	Quorum                   // → it was committed
	Reply                    // → the response was encoded
	Count       = iota
)

// Names are the stages' names in reports.
var Names = [Count]string{"client queue", "network", "decode", "propose", "batch wait", "sync", "quorum", "reply"}

func (s Stage) String() string { return Names[s] }

// Times holds how long each stage took, in ns.
type Times [Count]int64

// Sum is all of it.
func (t *Times) Sum() (ns int64) {
	for _, v := range t {
		ns += v
	}
	return ns
}

// Split takes a response time apart. A stage that was not passed, or that another overtook (two other copies may make the quorum
// before the local one is durable), took nothing; the next one counts from the last that was.
func Split(intended, sent, acked int64, told frame.Stages) Times {
	t := Times{ClientQueue: sent - intended, Network: max(acked-sent-told.Encode, 0)}
	last := int64(0)
	for i, at := range [...]int64{told.Decode, told.Propose, told.Queue, told.Sync, told.Quorum, told.Encode} {
		if at > last {
			t[int(Decode)+i] = at - last
			last = at
		}
	}
	return t
}

// plausible reports whether a duration that was told can be one.
func plausible(s frame.Stages) bool {
	for _, at := range [...]int64{s.Decode, s.Propose, s.Queue, s.Sync, s.Quorum, s.Encode} {
		if at < -1 || at > hist.HighestNS {
			return false
		}
	}
	return s.Encode >= 0
}

// Tolerance is how far, of the response time, the stages may be from adding up to it.
const Tolerance = 0.05

// AddsUp reports whether stages that take sum ns account for a response time.
func AddsUp(sum, response float64) bool {
	return max(sum, response)-min(sum, response) <= Tolerance*response
}

// Request is one request in full.
type Request struct {
	Stream   uint32
	Base     int64 // offset of its first record
	Intended int64 // CLOCK_MONOTONIC, ns
	Response int64 // ns
	Times    Times
}

// Worst is how many of its slowest requests a Table keeps in full.
const Worst = 10

// Table gathers the stages of requests. Used by one goroutine at a time; Record does not allocate.
type Table struct {
	joined  int64 // those whose stages were told
	apart   int64 // of these, how many do not add up
	buckets []bucket
	stages  [Count]distribution
	worst   [Worst]Request // slowest first; as many as were joined, if these are fewer
}

// bucket is the requests of about one response time. Sums are in ns.
type bucket struct {
	requests int64
	response int64
	times    Times
}

// distribution is a histogram of one stage.
type distribution struct {
	counts []int64 // by bucket
	most   int64
}

// NewTable returns an empty table.
func NewTable() *Table {
	t := &Table{buckets: make([]bucket, bucketOf(hist.HighestNS)+1)}
	for i := range t.stages {
		t.stages[i].counts = make([]int64, len(t.buckets))
	}
	return t
}

// Record adds a request that was acknowledged and whose stages were told. A request that told what cannot be is left out.
// Intended ≤ sent ≤ acked, which is Response later than Intended.
func (t *Table) Record(r Request, sent int64, told frame.Stages) {
	if !plausible(told) || r.Response < 0 || r.Response > hist.HighestNS {
		return
	}
	r.Times = Split(r.Intended, sent, r.Intended+r.Response, told)
	t.joined++
	if !AddsUp(float64(r.Times.Sum()), float64(r.Response)) {
		t.apart++
	}
	b := &t.buckets[bucketOf(r.Response)]
	b.requests++
	b.response += r.Response
	for i, ns := range r.Times {
		b.times[i] += ns
		d := &t.stages[i]
		d.counts[bucketOf(ns)]++
		d.most = max(d.most, ns)
	}
	t.keep(&r)
}

// keep enters r among the worst, if it is one of them.
func (t *Table) keep(r *Request) {
	if r.Response <= t.worst[Worst-1].Response {
		return
	}
	i := Worst - 1
	for ; i > 0 && t.worst[i-1].Response < r.Response; i-- {
		t.worst[i] = t.worst[i-1]
	}
	t.worst[i] = *r
}

// Merge adds o's requests to t.
func (t *Table) Merge(o *Table) {
	t.joined += o.joined
	t.apart += o.apart
	for i := range o.buckets {
		from, to := &o.buckets[i], &t.buckets[i]
		to.requests += from.requests
		to.response += from.response
		for s, ns := range from.times {
			to.times[s] += ns
		}
	}
	for i := range o.stages {
		from, to := &o.stages[i], &t.stages[i]
		for b, n := range from.counts {
			to.counts[b] += n
		}
		to.most = max(to.most, from.most)
	}
	for i := range o.worst {
		t.keep(&o.worst[i])
	}
}

// Joined is how many requests were recorded, and how many of them do not add up.
func (t *Table) Joined() (joined, apart int64) { return t.joined, t.apart }

// Percentile is the p-th percentile of one stage by itself, 0 < p <= 100, to half a bucket; 0 when there are no requests.
func (t *Table) Percentile(s Stage, p float64) int64 {
	d, rank := &t.stages[s], int64(math.Ceil(p/100*float64(t.joined)-1e-9))
	for i, n := range d.counts {
		if rank -= n; n > 0 && rank <= 0 {
			return min((bucketLow(i)+bucketLow(i+1))/2, d.most)
		}
	}
	return 0
}

// Max is the most that a stage took.
func (t *Table) Max(s Stage) int64 { return t.stages[s].most }

// Worst returns the slowest requests, the slowest first.
func (t *Table) Worst() []Request { return t.worst[:min(t.joined, Worst)] }

// Means are averages over a stretch of the requests, in ns.
type Means struct {
	Requests float64 // how many these are; the ends of a stretch may cut a bucket
	From, To int64   // their response times, to the bucket
	Response float64
	Times    [Count]float64
}

// Sum is what the stages add up to.
func (m *Means) Sum() (ns float64) {
	for _, v := range m.Times {
		ns += v
	}
	return ns
}

// Between averages over the requests of which from to to (of 1) took no longer: 0.4 and 0.6 are those around the median, 0.99 and
// 1 the slowest hundredth. It is at least one request, if there is one. A bucket that lies partly within counts for that part.
func (t *Table) Between(from, to float64) Means {
	if !(from >= 0 && from < to && to <= 1) {
		panic(fmt.Sprintf("stages: between %g and %g", from, to))
	}
	var m Means
	if t.joined == 0 {
		return m
	}
	low, high, at := from*float64(t.joined), to*float64(t.joined), 0.0
	if high-low < 1 {
		low = max(high-1, 0)
		high = low + 1
	}
	for i := range t.buckets {
		b := &t.buckets[i]
		n := float64(b.requests)
		part := min(at+n, high) - max(at, low)
		if at += n; part <= 0 {
			continue
		}
		if m.Requests == 0 {
			m.From = bucketLow(i)
		}
		m.To = bucketLow(i + 1)
		m.Requests += part
		m.Response += float64(b.response) * part / n
		for s, ns := range b.times {
			m.Times[s] += float64(ns) * part / n
		}
	}
	m.Response /= m.Requests
	for s := range m.Times {
		m.Times[s] /= m.Requests
	}
	return m
}
