package run

import (
	"context"
	"errors"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"ackline/loadgen/hist"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
	"ackline/loadgen/run/strain"
	"ackline/loadgen/stages"
)

// Slice is what one stretch of load gave.
type Slice struct {
	Set         *hist.Set // of the operations whose intended time lies in the window
	Counts      result.Counts
	Series      []result.Second
	Outages     []result.Outage
	ByPartition []result.PartitionCount
	WarmUp      *result.WarmUp
	Generator   result.Generator
	Tail        result.Tail
	Stages      *result.Stages // nil when they were not asked for
	TimeoutNS   int64

	EndToEnd   *hist.Hist // nil without a consumer
	Delivery   *hist.Hist
	EarlyReads int64
	Unread     int64
	Consumers  *result.Consumers // nil without consumers that are not timed

	// Ended says why the slice ended before its time, "" when it did not. Interrupted: it was the context.
	Ended       string
	Interrupted bool
	cause       error // of Ended
	percentile  float64
	unanswered  bool
}

// Verdict judges the slice by itself, without a check of the data.
func (s *Slice) Verdict() result.Verdict { return result.Judge(s.Evidence()) }

// Evidence is what the slice contributes to a verdict.
func (s *Slice) Evidence() result.Evidence {
	return result.Evidence{Set: s.Set, TimeoutNS: s.TimeoutNS, Percentile: s.percentile, Tail: s.Tail, WarmUp: s.WarmUp, Ended: s.Ended, Unanswered: s.unanswered}
}

// Latency is the slice's distributions with their summaries.
func (s *Slice) Latency() *result.Latency {
	l := &result.Latency{TimeoutNS: s.TimeoutNS, Set: s.Set, EndToEnd: s.EndToEnd, Delivery: s.Delivery, EarlyReads: s.EarlyReads, Unread: s.Unread}
	l.Summarize()
	return l
}

// Slice puts load on the system as spec says and waits for its end. It ends early when ctx does, with what was measured until
// then, and when the system cannot be reached any more, which Slice.Ended says. The error is one of the caller's.
func (s *Session) Slice(ctx context.Context, spec Spec) (*Slice, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if len(s.driver.Workers()) == 0 {
		return nil, errors.New("the session is closed")
	}
	if s.join != nil {
		s.join.reset()
	}
	ws := s.crew(spec)
	runtime.GC() // what was allocated here and before is collected now, not under load
	mon, err := strain.Start("/")
	if err != nil {
		return nil, err
	}
	win := s.window(spec)
	recs := make([]*recorder, len(ws))
	for i, w := range ws {
		w.win, recs[i] = win, w.rec
	}
	col := startCollector(spec, win, recs, s.watcher())
	cause, interrupted := drive(ctx, ws, win)
	col.finish()
	end := pace.Now()
	out := &Slice{Set: hist.NewSet(), Series: col.series, WarmUp: col.warm, TimeoutNS: s.cfg.Client.Timeout.Nanoseconds(), Interrupted: interrupted,
		percentile: spec.Percentile, unanswered: !s.cfg.answered(), cause: cause}
	if cause != nil {
		out.Ended = cause.Error()
	}
	if w := out.WarmUp; w != nil && !w.Settled && w.Why == "" {
		w.Why = "the load ended before it could"
	}
	from, to := win.from.Load(), min(win.to.Load(), win.stop.Load(), end)
	if from == never || to < from {
		from = to // nothing was measured
	}
	s.sum(out, recs, float64(to-from)/1e9)
	s.stages(out, recs, from)
	s.partitions(out, recs, result.Span{From: from, To: to}, spec.gap())
	if err := s.circumstances(out, mon, result.Span{From: from, To: to}, ws); err != nil {
		return nil, err
	}
	s.readers(out)
	if s.fan != nil {
		out.Consumers = s.fan.Sum(out.Counts.AllRecords)
	}
	return out, nil
}

// watcher passes portions on to whoever watches; nil when nobody does.
func (s *Session) watcher() func(result.Portion) {
	watch := s.cfg.Watch
	if watch == nil {
		return nil
	}
	return func(p result.Portion) {
		if p.Floor = s.cfg.Floor != ""; s.cfg.Workload == Produce && p.ValueBytes == 0 {
			p.ValueBytes = p.Records * int64(s.cfg.ValueBytes)
		}
		watch(p)
	}
}

// crew makes a worker for each of the driver's.
func (s *Session) crew(spec Spec) []*worker {
	drivers := s.driver.Workers()
	ws := make([]*worker, len(drivers))
	for i, d := range drivers {
		ws[i] = &worker{driver: d, stream: spec.Arrivals.Stream(i, len(drivers)), open: spec.Arrivals.Open(), realtime: spec.Arrivals.Open() && !s.cfg.NoRealtime, ledger: s.ledger, join: s.join,
			pacer: &pace.Pacer{MaxSpinNS: max(s.cfg.SpinMax.Nanoseconds(), 0)}, rec: newRecorder(len(s.driver.Streams()), spec.gap().Nanoseconds()), quota: share(spec.Count, i, len(drivers))}
		if s.tells() {
			ws[i].rec.stages = stages.NewTable()
		}
	}
	return ws
}

// tells reports whether stages are asked for of a system that could tell them.
func (s *Session) tells() bool { return s.cfg.Client.Stages && s.cfg.Floor == "" }

// stages fills in where the time of the requests went.
func (s *Session) stages(out *Slice, recs []*recorder, from int64) {
	if !s.tells() {
		return
	}
	all, streams := stages.NewTable(), s.driver.Streams()
	for _, r := range recs {
		all.Merge(r.stages)
	}
	out.Stages = result.NewStages(all, out.Counts.Acked, from, func(stream uint32) (string, int32) {
		topics, at := s.topic.Topics(), streams[stream].Partition
		return topics.Named(at), topics.Partition(at)
	})
}

// window lays out the times of a slice. The schedule begins a little later than now, so that every thread is there.
func (s *Session) window(spec Spec) *window {
	win := &window{start: pace.Now() + 5e6}
	win.drain.Store(s.cfg.Client.Timeout.Nanoseconds())
	win.from.Store(never)
	win.to.Store(never)
	win.stop.Store(never)
	if spec.WarmUp == 0 {
		from := win.start + spec.Discard.Nanoseconds()
		win.from.Store(from)
		win.to.Store(from + spec.For.Nanoseconds())
		win.stop.Store(from + spec.For.Nanoseconds())
	}
	return win
}

// share splits a count over workers.
func share(count int64, i, n int) int64 {
	if count == 0 {
		return math.MaxInt64
	}
	return count/int64(n) + min(1, max(0, count%int64(n)-int64(i)))
}

// interruptDrain is how long answers are waited for after an interruption.
const interruptDrain = time.Second

// drive runs the workers to their end.
func drive(ctx context.Context, ws []*worker, win *window) (cause error, interrupted bool) {
	var wg sync.WaitGroup
	errs := make([]error, len(ws))
	for i, w := range ws {
		wg.Go(func() { errs[i] = w.run() })
	}
	cancelled := context.AfterFunc(ctx, func() {
		win.drain.Store(interruptDrain.Nanoseconds())
		win.end(pace.Now())
	})
	wg.Wait()
	interrupted = !cancelled()
	for _, err := range errs {
		if err != nil {
			return err, interrupted
		}
	}
	return nil, interrupted
}

// sum merges the workers' records.
func (s *Session) sum(out *Slice, recs []*recorder, seconds float64) {
	c := &out.Counts
	c.WindowSeconds = seconds
	for _, r := range recs {
		out.Set.Merge(r.set)
		c.Arrivals += r.arrivals
		c.Acked += r.acked
		c.Failed += r.failed
		c.Unsent += r.unsent
		c.Records += r.records
		c.ValueBytes += r.bytes
		c.WireBytes += r.wire
		c.AllAcked += r.allAcked
		c.AllRecords += r.allRecords
		c.AllFailed += r.allFailed
		for _, e := range r.errors {
			if len(c.Errors) < maxErrors && !slices.Contains(c.Errors, e) {
				c.Errors = append(c.Errors, e)
			}
		}
		for code, n := range r.codes {
			if c.ByCode == nil {
				c.ByCode = map[string]int64{}
			}
			c.ByCode[code] += n
		}
		if r.unsent > 0 {
			if c.ByCode == nil {
				c.ByCode = map[string]int64{}
			}
			c.ByCode[unsentCode] += r.unsent
		}
		out.Tail.Ops = append(out.Tail.Ops, r.slow.Ops()...)
	}
	if s.cfg.Workload == Produce && c.ValueBytes == 0 { // operations that differ in it say it themselves
		c.ValueBytes = c.Records * int64(s.cfg.ValueBytes)
		c.WireBytes = c.Acked * int64(s.effective.RequestBytes)
	}
	out.Tail.Total = out.Set.Response.Count()
	out.Tail.Percentile = out.percentile
	out.Tail.Ops = complete(out.Tail.Ops, recs)
}

// partitions fills in what came to each partition, and when nothing came from it.
func (s *Session) partitions(out *Slice, recs []*recorder, window result.Span, least time.Duration) {
	streams, topics := s.driver.Streams(), s.topic.Topics()
	counts := map[int32]int64{}
	if topics.Several() || s.cfg.byKey() { // that one had nothing is worth knowing
		for _, p := range s.topic.Partitions {
			counts[p.ID] = 0
		}
	}
	var gaps []result.Gap
	for _, r := range recs {
		for i := range r.streams {
			x := &r.streams[i]
			counts[streams[i].Partition] += x.measured
			if x.failing != 0 {
				gaps = append(gaps, result.Gap{Partition: streams[i].Partition, From: max(x.failing, x.acked), To: window.To, Open: true})
			}
		}
		for _, g := range r.gaps {
			gaps = append(gaps, result.Gap{Partition: streams[g.stream].Partition, From: g.from, To: g.to})
		}
	}
	out.Outages = result.Outages(gaps, window, least.Nanoseconds())
	result.Name(out.Outages, topics)
	for _, at := range slices.Sorted(maps.Keys(counts)) {
		out.ByPartition = append(out.ByPartition, result.PartitionCount{Topic: topics.Named(at), Partition: topics.Partition(at), Acked: counts[at]})
	}
}

// complete drops operations that are faster than the slowest one that some worker had to forget, so that the rest is all there is.
func complete(ops []result.TailOp, recs []*recorder) []result.TailOp {
	least := int64(0)
	for _, r := range recs {
		least = max(least, r.slow.Forgot())
	}
	return slices.DeleteFunc(ops, func(o result.TailOp) bool { return o.Acked-o.Intended < least })
}

// circumstances fills in what happened to the generator meanwhile.
func (s *Session) circumstances(out *Slice, mon *strain.Monitor, span result.Span, ws []*worker) error {
	var err error
	if out.Generator, err = mon.Finish(); err != nil {
		return err
	}
	typical := hist.NewDelay()
	for _, w := range ws {
		typical.Merge(w.rec.delays)
		out.Generator.RunDelaySeconds += float64(w.delayed) / 1e9
		out.Generator.Realtime = out.Generator.Realtime || w.realtime
		out.Generator.SpinUS = max(out.Generator.SpinUS, float64(w.pacer.MarginNS())/1e3)
	}
	out.Generator.CPUsAwake = s.asleep != nil
	out.Tail.Window = span
	out.Tail.Garbage = mon.Garbage()
	out.Tail.Limited, out.Tail.LimitedBy = mon.Limited()
	out.Tail.TypicalDelayNS = typical.Percentile(50, 0).NS
	return nil
}

// catchUp is how long the consumer may take for what was acknowledged before the end of a slice.
const catchUp = 3 * time.Second

// readers fills in the consumer's side.
func (s *Session) readers(out *Slice) {
	if s.join == nil {
		return
	}
	for deadline := time.Now().Add(catchUp); ; time.Sleep(5 * time.Millisecond) {
		out.EndToEnd, out.Delivery, out.EarlyReads, out.Unread = s.join.sum()
		if out.Unread == 0 || time.Now().After(deadline) {
			return
		}
	}
}
