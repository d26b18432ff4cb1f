// Package timeline condenses what probes saw into what a record keeps and a report draws: latency over time, with what happened to whom.
//
// A failover's probe sends half a million records; a plot is some hundred points wide. A median alone would hide the stall of 300 ms that all of it is
// about, so that each step keeps its slowest record too, and no step is dropped: the bound on their number makes them longer instead.
package timeline

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"ackline/tools/bench/probe"
	"ackline/tools/bench/record"
)

// Event is something that happened. Times are CLOCK_MONOTONIC, ns.
type Event struct {
	What     string
	From, To int64
}

// shortest is the least that a step takes: less would be a plot of single records.
const shortest = 100 * time.Millisecond

// Of makes a timeline from a moment to another (CLOCK_MONOTONIC, ns). Samples may be of several runs of probes in any order.
func Of(from, to int64, samples []probe.Sample, events ...Event) *record.Timeline {
	step := shortest.Nanoseconds()
	if longest := step * record.MaxSteps; to-from > longest {
		step *= (to - from + longest - 1) / longest
	}
	steps := make([][]int64, max(1, (to-from+step-1)/step))
	for _, s := range samples {
		at := (s.Intended - from) / step
		if took, ok := s.Took(); ok && s.Intended >= from && at < int64(len(steps)) {
			steps[at] = append(steps[at], took.Nanoseconds())
		}
	}
	t := &record.Timeline{StepMs: float64(step) / 1e6}
	for _, took := range steps {
		p50, slowest := 0.0, 0.0
		if len(took) > 0 {
			slices.Sort(took)
			p50, slowest = round(float64(took[(len(took)-1)/2])/1e3), round(float64(took[len(took)-1])/1e3)
		}
		t.P50Us, t.WorstUs = append(t.P50Us, p50), append(t.WorstUs, slowest)
	}
	for _, e := range events {
		t.Spans = append(t.Spans, record.Span{What: e.What, FromMs: math.Round(float64(e.From-from) / 1e6), ToMs: math.Round(float64(e.To-from) / 1e6), WorstUs: worst(samples, e)})
	}
	slices.SortStableFunc(t.Spans, func(a, b record.Span) int { return cmp.Compare(a.FromMs, b.FromMs) })
	return t
}

// worst is the slowest record that was due in an event, µs.
func worst(samples []probe.Sample, e Event) float64 {
	slowest := time.Duration(0)
	for _, s := range samples {
		if took, ok := s.Took(); ok && s.Intended >= e.From && s.Intended < e.To {
			slowest = max(slowest, took)
		}
	}
	return round(float64(slowest.Nanoseconds()) / 1e3)
}

// round keeps four digits: a plot shows no more, and what is kept is compressed.
func round(v float64) float64 {
	// Formatting and parsing is the rounding that JSON writes shortly.
	out, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		panic(fmt.Sprintf("timeline: %v does not survive formatting: %v", v, err))
	}
	return out
}
