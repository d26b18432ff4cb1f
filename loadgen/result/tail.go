package result

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"ackline/loadgen/hist"
)

// Tail is what is known about the slowest operations, and about what the generator itself went through meanwhile. From it
// follows whether the tail is the system's.
//
// The question is not whether the generator was ever disturbed (on a shared machine it always is) but whether the tail would
// be another without that. So for each cause the judged percentile is computed again without the operations that overlap
// with it, or, for the time that a thread waited for a CPU, without that time. The run is INVALID when the
// percentile falls by more than the lag that would be allowed, and when more of the tail overlaps than chance explains.
type Tail struct {
	Ops   []TailOp // all operations that took at least as long as the shortest of these
	Total int64    // successes in all
	// Percentile that is judged; 0 means 99. A lower one takes its place when there are too few operations for it.
	Percentile float64
	Window     Span
	Garbage    []Span // when garbage was collected, disjoint and in order
	Limited    []Span // when the host or the control group took CPU away, disjoint and in order
	LimitedBy  string // what the latter was
	// TypicalDelayNS is the time that the threads usually wait for a CPU before they see an answer: what a wake-up costs, on
	// either side of a comparison.
	TypicalDelayNS int64
}

// TailOp is one slow operation.
type TailOp struct {
	Intended, Acked int64 // CLOCK_MONOTONIC, ns
	DelayNS         int64 // how long its thread was ready to run and did not, before it saw the answer
}

// Span is a stretch of time.
type Span struct{ From, To int64 }

// mostly is the share of the window above which a cause cannot be told from the rest of the run.
const mostly = 0.5

func (t Tail) judge() []Reason {
	p := t.supported()
	if len(t.Ops) == 0 || p == 0 {
		return nil
	}
	var out []Reason
	if r := t.starved(p); r != "" {
		out = append(out, Reason{Starved, r})
	}
	if r := t.overlapping(p, t.Garbage, "the generator collected garbage"); r != "" {
		out = append(out, Reason{Garbage, r})
	}
	if r := t.overlapping(p, t.Limited, t.LimitedBy); r != "" {
		out = append(out, Reason{CPULimit, r})
	}
	return out
}

// supported is the percentile that can be judged; 0 when there are too few operations for any.
func (t Tail) supported() float64 {
	p := t.Percentile
	if p == 0 {
		p = 99
	}
	if t.Total >= hist.Needed(p) {
		return p
	}
	best := 0.0
	for _, q := range Percentiles {
		if q < p && t.Total >= hist.Needed(q) {
			best = q
		}
	}
	return best
}

// rank is the place of the percentile, counted from the slowest of total operations, but within the n that are known.
func rank(p, total float64, n int) int {
	k := int(math.Ceil((1-p/100)*total - 1e-9))
	return min(max(k, 1), n)
}

// largest returns the k-th largest value.
func largest(v []int64, k int) int64 {
	slices.Sort(v)
	return v[len(v)-k]
}

func (t Tail) responses() []int64 {
	v := make([]int64, len(t.Ops))
	for i, op := range t.Ops {
		v[i] = op.Acked - op.Intended
	}
	return v
}

func (t Tail) starved(p float64) string {
	k := rank(p, float64(t.Total), len(t.Ops))
	v := t.responses()
	least := slices.Min(v)
	with := largest(v, k)
	for i, op := range t.Ops {
		// What falls below the slowest operations that are known joins the others, which took at most as long as least.
		v[i] = max(op.Acked-op.Intended-max(op.DelayNS-t.TypicalDelayNS, 0), least)
	}
	without := largest(v, k)
	if with-without <= Allowed(with) {
		return ""
	}
	return fmt.Sprintf("the generator's threads were ready and got no CPU when the tail happened: the p%g of %v would be at most %v without that; leave the generator a CPU of its own",
		p, hist.Value{NS: with}, hist.Value{NS: without})
}

func (t Tail) overlapping(p float64, spans []Span, what string) string {
	if len(spans) == 0 {
		return ""
	}
	var covered int64
	for _, s := range spans {
		covered += max(min(s.To, t.Window.To)-max(s.From, t.Window.From), 0)
	}
	share := float64(covered) / float64(t.Window.To-t.Window.From)
	if share > mostly {
		return fmt.Sprintf("%s during %.0f%% of the measured time", what, 100*share)
	}
	v := t.responses()
	least := slices.Min(v)
	k := rank(p, float64(t.Total), len(t.Ops))
	with := largest(v, k)
	var clean []cleanOp
	hits, expected, variance := 0.0, 0.0, 0.0
	for _, op := range t.Ops {
		took := op.Acked - op.Intended
		by := share + float64(len(spans))*float64(took)/float64(t.Window.To-t.Window.From) // chance: a long operation meets more spans
		by = min(by, mostOverlap)
		meets := overlaps(spans, op)
		if !meets {
			clean = append(clean, cleanOp{took, 1 / (1 - by)})
		}
		if took >= with {
			expected += by
			variance += by * (1 - by)
			if meets {
				hits++
			}
		}
	}
	without := weighted(clean, float64(k), least)
	if hits <= expected+3*math.Sqrt(variance) || with-without <= Allowed(with) {
		return ""
	}
	return fmt.Sprintf("%s when the tail happened: %.0f%% of the slowest operations fell into %.1f%% of the time; the p%g of %v would be about %v without them",
		what, 100*hits/float64(k), 100*share, p, hist.Value{NS: with}, hist.Value{NS: without})
}

// mostOverlap bounds the chance of an overlap that an operation is believed to have.
const mostOverlap = 0.95

// cleanOp is an operation that met no span, and how many operations it stands for: by chance, one that is as long would have
// met one with probability 1 - 1/stands.
type cleanOp struct {
	took   int64
	stands float64
}

// weighted returns the duration of the k-th slowest of what the clean operations stand for (a Horvitz–Thompson estimate), or
// least when they stand for fewer.
func weighted(clean []cleanOp, k float64, least int64) int64 {
	slices.SortFunc(clean, func(a, b cleanOp) int { return cmp.Compare(b.took, a.took) })
	sum := 0.0
	for _, c := range clean {
		if sum += c.stands; sum >= k {
			return c.took
		}
	}
	return least
}

// overlaps reports whether an operation overlaps with one of the spans, which are disjoint and in order.
func overlaps(spans []Span, op TailOp) bool {
	i, _ := slices.BinarySearchFunc(spans, op.Intended, func(s Span, at int64) int {
		if s.To < at {
			return -1
		}
		return 1
	})
	return i < len(spans) && spans[i].From <= op.Acked
}
