package sum

import (
	"ackline/loadgen/hist"
	"ackline/tools/bench/record"
)

// Alone are the figures of a system that no floor stood beside, which would else be in pairs: means in log over the slices that
// count. A percentile that too few samples stand behind is left out.
func Alone(slices []record.Slice, merged *hist.Set, endToEnd *hist.Hist) (out []record.Figure) {
	for _, src := range pairSources {
		v, n := LogMean(slices, record.System, src.system)
		samples := merged.Response
		if src.endToEnd {
			samples = endToEnd
		}
		if n == 0 || src.percentile > 0 && !samples.Supports(src.percentile) {
			continue
		}
		out = append(out, record.Figure{Name: src.system, Unit: src.unit, Side: record.System, Value: v})
	}
	return out
}
