package result

import (
	"cmp"
	"slices"

	"ackline/loadgen/place"
)

// Gap is a stretch in which a partition's operations were due and none was acknowledged. CLOCK_MONOTONIC, ns.
type Gap struct {
	Partition int32
	From, To  int64
	// Open: nothing had been acknowledged by the end of the run.
	Open bool
}

// Outage is a stretch in which at least one partition had a gap: gaps that overlap are one.
type Outage struct {
	StartSeconds float64 `json:"start_seconds"` // from the beginning of the measured window
	Seconds      float64 `json:"seconds"`
	Partitions   []int32 `json:"partitions,omitempty"`
	Places       []Place `json:"topic_partitions,omitempty"` // instead of Partitions, of several topics
	Open         bool    `json:"open,omitempty"`             // it had not ended when the run did
}

// Place is a partition of one of several topics.
type Place struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

// Name makes Places of the Partitions of outages, which are places among several topics. With one topic it does nothing.
func Name(outages []Outage, topics place.Topics) {
	if !topics.Several() {
		return
	}
	for i := range outages {
		o := &outages[i]
		for _, at := range o.Partitions {
			o.Places = append(o.Places, Place{topics.Topic(at), topics.Partition(at)})
		}
		o.Partitions = nil
	}
}

// where says in words which partitions an outage was of.
func (o *Outage) where() string {
	switch n := len(o.Partitions) + len(o.Places); {
	case n > 1:
		return plural(n, "partition")
	case len(o.Places) == 1:
		return place.Name(o.Places[0].Topic, o.Places[0].Partition)
	}
	return place.Name("", o.Partitions[0])
}

// Outages makes outages of gaps: what of them lies within the window and is longer than least (ns), in order of their beginning.
func Outages(gaps []Gap, window Span, least int64) []Outage {
	gaps = slices.Clone(gaps)
	for i := range gaps {
		g := &gaps[i]
		g.From, g.To = max(g.From, window.From), min(g.To, window.To)
	}
	gaps = slices.DeleteFunc(gaps, func(g Gap) bool { return g.To-g.From <= least })
	slices.SortFunc(gaps, func(a, b Gap) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Partition, b.Partition)) })
	var out []Outage
	for i := 0; i < len(gaps); {
		from, to := gaps[i].From, gaps[i].To
		var o Outage
		for ; i < len(gaps) && gaps[i].From <= to; i++ {
			to = max(to, gaps[i].To)
			o.Partitions = append(o.Partitions, gaps[i].Partition)
			o.Open = o.Open || gaps[i].Open
		}
		slices.Sort(o.Partitions)
		o.Partitions = slices.Compact(o.Partitions)
		o.StartSeconds, o.Seconds = float64(from-window.From)/1e9, float64(to-from)/1e9
		out = append(out, o)
	}
	return out
}
