// Package metric shows a load to Prometheus while it is made.
//
// The problem: who watches a cluster wants to see the load beside it, in the same graphs; but a generator that answers for every
// operation in two places is late for some of them. So workers count what they counted anyway, in what they hand over once a second
// (result.Portion); a Load adds that up in the goroutine that gathers it, and the histograms are put into Prometheus's buckets only
// when somebody scrapes. Names and meanings are those of the result: a bucket's sums are of the same histograms.
//
// What is shown is therefore up to a second and a half old. A check (package soak) is asked when somebody scrapes.
package metric

import (
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"ackline/loadgen/hist"
	"ackline/loadgen/result"
	"ackline/loadgen/soak"
	"ackline/tools/version"
)

// bounds are the upper bounds of the buckets, ns: 1 µs doubled up to 16.8 s, and 1.41 times each, which are the broker's.
var bounds = func() (list []int64) {
	for i := range 24 {
		list = append(list, 1000<<i, 1414<<i)
	}
	return append(list, 1000<<24)
}()

// The values of the label target.
const (
	onBrokers = "brokers"
	onFloor   = "floor"
)

// Load is what all loads of a process have done. It may be used from any goroutine.
type Load struct {
	descs [metrics]*prometheus.Desc

	mu      sync.Mutex // guards the rest
	targets map[string]*target
	workers map[worker]state   // that make a load now
	check   func() soak.Status // nil: there is no check
}

// target is what was done to one.
type target struct {
	acked, records, bytes int64
	failed                map[string]int64
	set                   *hist.Set
}

type worker struct {
	target string
	number int
}

type state struct {
	inFlight int
	overdue  int64
}

// New returns a Load that has done nothing.
func New() *Load {
	l := &Load{targets: map[string]*target{onBrokers: newTarget()}, workers: map[worker]state{}}
	for i, d := range table {
		l.descs[i] = prometheus.NewDesc(d.name, d.help, d.labels, nil)
	}
	return l
}

func newTarget() *target { return &target{failed: map[string]int64{}, set: hist.NewSet()} }

// Add counts a portion; it is a run.Config's Watch.
func (l *Load) Add(p result.Portion) {
	name := onBrokers
	if p.Floor {
		name = onFloor
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.targets[name]
	if t == nil {
		t = newTarget()
		l.targets[name] = t
	}
	t.acked, t.records, t.bytes = t.acked+p.Acked, t.records+p.Records, t.bytes+p.ValueBytes
	for code, n := range p.Failed {
		t.failed[code] += n
	}
	t.set.Merge(p.Set)
	w := worker{name, p.Worker}
	if p.Over {
		delete(l.workers, w)
	} else {
		l.workers[w] = state{p.InFlight, p.OverdueNS}
	}
}

// Check shows a check beside the load, or instead of one; it is a soak.Events' Watch.
func (l *Load) Check(look func() soak.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.check = look
}

// Describe implements prometheus.Collector.
func (l *Load) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range l.descs {
		ch <- d
	}
}

// look is a moment of a target.
type look struct {
	target // without set
	state
	distributions map[ID]hist.Buckets
}

// look copies what there is, so that nothing that a scraper waits for holds up who counts.
func (l *Load) look() (workers int, looks map[string]*look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	looks = map[string]*look{}
	for name, t := range l.targets {
		looks[name] = &look{target: target{acked: t.acked, records: t.records, bytes: t.bytes, failed: maps.Clone(t.failed)},
			distributions: map[ID]hist.Buckets{Response: t.set.Response.Buckets(bounds), Service: t.set.Service.Buckets(bounds),
				Lag: t.set.Lag.Buckets(bounds), Backlog: t.set.Backlog.Buckets(bounds)}}
	}
	for w, s := range l.workers {
		k := looks[w.target]
		k.inFlight, k.overdue = k.inFlight+s.inFlight, max(k.overdue, s.overdue)
	}
	return len(l.workers), looks
}

// Collect implements prometheus.Collector.
func (l *Load) Collect(ch chan<- prometheus.Metric) {
	one := func(id ID, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(l.descs[id], kind, v, labels...)
	}
	l.mu.Lock()
	check := l.check
	l.mu.Unlock()
	if check != nil {
		st := check()
		one(CheckAcked, prometheus.CounterValue, float64(st.Check.Acked))
		one(CheckRead, prometheus.CounterValue, float64(st.Check.Read))
		one(CheckUnread, prometheus.GaugeValue, float64(st.Unread))
		one(CheckOutages, prometheus.CounterValue, float64(st.Outages.Count))
		one(CheckOutageTime, prometheus.CounterValue, float64(st.Outages.TotalMS)/1e3)
		for fault, n := range map[string]int64{"lost": st.Check.Lost, "repeated": st.Check.Duplicated, "out_of_order": st.Check.Reordered,
			"misplaced": st.Check.WrongOffset, "changed": st.Check.WrongBytes} {
			one(CheckFaults, prometheus.CounterValue, float64(n), fault)
		}
	}
	workers, looks := l.look()
	one(BuildInfo, prometheus.GaugeValue, 1, version.String())
	one(Workers, prometheus.GaugeValue, float64(workers))
	for name, k := range looks {
		one(Acked, prometheus.CounterValue, float64(k.acked), name)
		one(Records, prometheus.CounterValue, float64(k.records), name)
		one(ValueBytes, prometheus.CounterValue, float64(k.bytes), name)
		for code, n := range k.failed {
			one(Failed, prometheus.CounterValue, float64(n), name, code)
		}
		one(InFlight, prometheus.GaugeValue, float64(k.inFlight), name)
		one(Overdue, prometheus.GaugeValue, float64(k.overdue)/1e9, name)
		for id, d := range k.distributions {
			buckets := make(map[float64]uint64, len(bounds))
			for i, n := range d.UpTo {
				buckets[float64(bounds[i])/1e9] = n
			}
			ch <- prometheus.MustNewConstHistogram(l.descs[id], d.Total, d.SumNS/1e9, buckets, name)
		}
	}
}

// Registry returns a registry that gathers the load, and what Prometheus knows of any process and of Go's runtime.
func (l *Load) Registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(l, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	return r
}
