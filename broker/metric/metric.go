// Package metric shows what the node counts to Prometheus.
//
// The write path takes about a hundred microseconds, so what watches it must not be on it: no label lookup, no lock, no
// allocation. The packages of the write path therefore count in plain atomics and in histograms of package histogram,
// and know nothing of Prometheus; node tells a Set where each metric of the table can be read, as a function, and the
// functions are called when somebody scrapes. A metric that is not in the table does not exist, which keeps names,
// units and help in one place and lets a test hold dashboards to them.
package metric

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"ackline/broker/metric/histogram"
)

// Set is where the metrics of one node are read. Its methods may be called from any goroutine. Adding a source twice,
// or one that does not fit the metric, panics: the wiring is wrong, and a scrape would find it much later.
type Set struct {
	mu      sync.Mutex                // owns sources
	sources [metrics][]source         // of each metric
	descs   [metrics]*prometheus.Desc // made by New, then only read
}

// source reads one metric, or all series of it.
type source struct {
	labels  []string // values, in the order of Def.Labels; nil for one that emits many series
	many    bool
	collect func(emit func(prometheus.Metric))
}

// New returns a set without sources.
func New() *Set {
	s := &Set{}
	for i, d := range table {
		s.descs[i] = prometheus.NewDesc(d.Name, d.Help, d.Labels, nil)
	}
	return s
}

// Counter adds a source of a counter, or of one of its series when label values are given.
func (s *Set) Counter(id ID, read func() uint64, labels ...string) {
	s.add(id, Counter, labels, func(emit func(prometheus.Metric)) {
		emit(s.value(id, prometheus.CounterValue, float64(read()), labels))
	})
}

// Counters adds a source of all series of a counter whose label values are not known beforehand, such as error codes.
// read calls emit once for each series.
func (s *Set) Counters(id ID, read func(emit func(value uint64, labels ...string))) {
	s.addMany(id, Counter, func(emit func(prometheus.Metric)) {
		read(func(v uint64, labels ...string) {
			emit(s.value(id, prometheus.CounterValue, float64(v), labels))
		})
	})
}

// Gauge adds a source of a gauge, or of one of its series.
func (s *Set) Gauge(id ID, read func() int64, labels ...string) {
	if id.Def().Unit == Seconds {
		panic(fmt.Sprintf("metric: %s is in seconds, and the source gives integers: want Duration, or Gauges", id))
	}
	s.add(id, Gauge, labels, func(emit func(prometheus.Metric)) {
		emit(s.value(id, prometheus.GaugeValue, float64(read()), labels))
	})
}

// Duration adds a source of a gauge in seconds, or of one of its series.
func (s *Set) Duration(id ID, read func() time.Duration, labels ...string) {
	if u := id.Def().Unit; u != Seconds {
		panic(fmt.Sprintf("metric: %s is in %v, the source in seconds", id, u))
	}
	s.add(id, Gauge, labels, func(emit func(prometheus.Metric)) {
		emit(s.value(id, prometheus.GaugeValue, read().Seconds(), labels))
	})
}

// Gauges adds a source of all series of a gauge whose label values are not known beforehand, such as nodes. read calls emit once for
// each series, in the metric's unit.
func (s *Set) Gauges(id ID, read func(emit func(value float64, labels ...string))) {
	s.addMany(id, Gauge, func(emit func(prometheus.Metric)) {
		read(func(v float64, labels ...string) { emit(s.value(id, prometheus.GaugeValue, v, labels)) })
	})
}

// Histogram adds a source of a histogram, or of one of its series. The snapshot is in the metric's unit. One that is
// not a histogram (bounds that do not ascend, a count missing) makes the scrape report an error for the metric.
func (s *Set) Histogram(id ID, read func() histogram.Snapshot, labels ...string) {
	s.add(id, Histogram, labels, func(emit func(prometheus.Metric)) {
		emit(s.histogram(id, read(), labels))
	})
}

func (s *Set) add(id ID, kind Kind, labels []string, collect func(func(prometheus.Metric))) {
	d := id.Def()
	if len(labels) != len(d.Labels) {
		panic(fmt.Sprintf("metric: %s has the labels %v, the source gives %v", d.Name, d.Labels, labels))
	}
	s.put(id, kind, source{labels: labels, collect: collect})
}

func (s *Set) addMany(id ID, kind Kind, collect func(func(prometheus.Metric))) {
	if d := id.Def(); len(d.Labels) == 0 {
		panic(fmt.Sprintf("metric: %s has no labels, so it has one series", d.Name))
	}
	s.put(id, kind, source{many: true, collect: collect})
}

func (s *Set) put(id ID, kind Kind, added source) {
	d := id.Def()
	if d.Kind != kind {
		panic(fmt.Sprintf("metric: %s is a %v, the source is a %v's", d.Name, d.Kind, kind))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.sources[id] {
		if old.many || added.many || fmt.Sprint(old.labels) == fmt.Sprint(added.labels) {
			panic(fmt.Sprintf("metric: %s has a source for %q already, another gives %q", d.Name, old.labels, added.labels))
		}
	}
	s.sources[id] = append(s.sources[id], added)
}

func (s *Set) value(id ID, kind prometheus.ValueType, v float64, labels []string) prometheus.Metric {
	m, err := prometheus.NewConstMetric(s.descs[id], kind, v, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(s.descs[id], err)
	}
	return m
}

func (s *Set) histogram(id ID, snapshot histogram.Snapshot, labels []string) prometheus.Metric {
	count, buckets, err := cumulate(snapshot)
	if err != nil {
		return prometheus.NewInvalidMetric(s.descs[id], fmt.Errorf("metric: %s%v: %w", id, labels, err))
	}
	m, err := prometheus.NewConstHistogram(s.descs[id], count, snapshot.Sum, buckets, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(s.descs[id], err)
	}
	return m
}

// cumulate turns counts of buckets into Prometheus's counts of everything up to a bound.
func cumulate(s histogram.Snapshot) (count uint64, buckets map[float64]uint64, err error) {
	if len(s.Counts) != len(s.Bounds)+1 {
		return 0, nil, fmt.Errorf("%d counts for %d bounds, want one more than bounds", len(s.Counts), len(s.Bounds))
	}
	if math.IsNaN(s.Sum) || math.IsInf(s.Sum, 0) {
		return 0, nil, fmt.Errorf("sum is %v", s.Sum)
	}
	buckets = make(map[float64]uint64, len(s.Bounds))
	for i, bound := range s.Bounds {
		if math.IsNaN(bound) || math.IsInf(bound, 0) || (i > 0 && bound <= s.Bounds[i-1]) {
			return 0, nil, fmt.Errorf("bound %d is %v, want ascending and finite: %v", i, bound, s.Bounds)
		}
		count += s.Counts[i]
		buckets[bound] = count
	}
	return count + s.Counts[len(s.Bounds)], buckets, nil
}

// Describe implements prometheus.Collector.
func (s *Set) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range s.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector: it calls every source.
func (s *Set) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	sources := s.sources // the slices only ever grow behind the lengths copied here
	s.mu.Unlock()
	for _, list := range sources {
		for _, source := range list {
			source.collect(func(m prometheus.Metric) { ch <- m })
		}
	}
}

// Missing lists the metrics that have no source, so that a node's test can tell what it forgot to wire.
func (s *Set) Missing() []ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []ID
	for i, sources := range s.sources {
		if len(sources) == 0 {
			list = append(list, ID(i))
		}
	}
	return list
}

// Registry returns a registry that gathers the set, and what Prometheus knows of any process and of Go's runtime.
func (s *Set) Registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(s, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	return r
}
