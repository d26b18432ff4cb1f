package render

import (
	"ackline/tools/bench/record"
	"ackline/tools/report/number"
	"ackline/tools/stats"
)

// How figures are written, by the names that this package has for them.
var (
	digits3, group, quantity, size = number.Digits3, number.Group, number.Quantity, number.Size
	ratio, factor, percent, spread = number.Ratio, number.Factor, number.Percent, number.Spread
	between, exact                 = number.Between, number.Exact
)

// Quantity writes a value with its unit in the size that people read: 151 µs, 78,500/s, 1.5 GiB.
func Quantity(v float64, unit string) string { return quantity(v, unit) }

// Percent writes an estimate of a ratio as a change: -3.1% [-4.0%…-2.2%].
func Percent(e stats.Estimate) string { return percent(e) }

// Spread writes an estimate of a quantity: 151 µs [149 to 156 µs].
func Spread(e stats.Estimate, unit string) string { return spread(e, unit) }

// Times writes an estimate of a ratio: 1.09 [1.07–1.12].
func Times(e stats.Estimate) string { return ratio(e) }

// Incomparable says why the figures of two runs may not be compared, each time as "what: before / after"; nil when they may.
func Incomparable(before, after *record.Results) []string {
	return incomparable(after, Remember(before))
}
