// Package number writes figures and estimates in the size that people read, so that one figure looks the same wherever it stands.
package number

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"ackline/tools/stats"
)

// Digits3 writes v with three significant digits and no exponent: 0.0123, 1.09, 151, 78,500.
func Digits3(v float64) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	// Rounding first lets 0.9996 count as 1.00.
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 2, 64), 64)
	if err != nil {
		panic(fmt.Sprintf("number: %v does not survive formatting: %v", v, err))
	}
	v = rounded
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(v))+1e-9))
	if decimals <= 0 {
		return Group(strconv.FormatFloat(v, 'f', 0, 64))
	}
	return strconv.FormatFloat(v, 'f', min(decimals, 6), 64)
}

// Group puts a comma between every three digits of a whole number.
func Group(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Quantity writes v with its unit in the size that people read: 151 µs, 2.5 ms, 78,500/s, 1.5 GiB.
func Quantity(v float64, unit string) string {
	switch unit {
	case "us":
		return duration(v * 1e3)
	case "ns":
		return duration(v)
	case "ms":
		return duration(v * 1e6)
	case "s":
		return duration(v * 1e9)
	case "1/s":
		return Digits3(v) + "/s"
	case "1", "ratio":
		return Digits3(v)
	case "bytes":
		return Size(v)
	case "bytes/s":
		return Size(v) + "/s"
	}
	if per, ok := strings.CutPrefix(unit, "ns/"); ok {
		return duration(v) + "/" + per
	}
	if per, ok := strings.CutPrefix(unit, "1/"); ok {
		return Digits3(v) + "/" + per
	}
	return Digits3(v) + " " + unit
}

func duration(ns float64) string {
	switch a := math.Abs(ns); {
	case a < 999.5:
		return Digits3(ns) + " ns"
	case a < 999.5e3:
		return Digits3(ns/1e3) + " µs"
	case a < 999.5e6:
		return Digits3(ns/1e6) + " ms"
	}
	return Digits3(ns/1e9) + " s"
}

// Size writes a number of bytes: 1.5 GiB.
func Size(bytes float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for ; math.Abs(bytes) >= 999.5 && i < len(units)-1; i++ {
		bytes /= 1024
	}
	return Digits3(bytes) + " " + units[i]
}

// Ratio writes an estimate of a ratio: 1.09 [1.07–1.12]. Ratios near 1 are read by their distance from it, so they keep
// two decimals.
func Ratio(e stats.Estimate) string {
	return fmt.Sprintf("%s [%s–%s]", Factor(e.Shift), Factor(e.Low), Factor(e.High))
}

// Factor writes a ratio: 1.09.
func Factor(v float64) string {
	if v >= 0.1 && v < 9.995 {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return Digits3(v)
}

// Percent writes an estimate of a ratio as a change: -3.1% [-4.0%…-2.2%].
func Percent(e stats.Estimate) string {
	p := func(v float64) string { return fmt.Sprintf("%+.1f%%", 100*(v-1)) }
	return fmt.Sprintf("%s [%s…%s]", p(e.Shift), p(e.Low), p(e.High))
}

// Spread writes an estimate of a quantity, whose ends may be negative: 151 µs [149 to 156 µs].
func Spread(e stats.Estimate, unit string) string {
	mid, ends := Quantity(e.Shift, unit), Between(e.Low, e.High, unit)
	if Quantity(e.Low, unit) == mid && Quantity(e.High, unit) == mid {
		return mid
	}
	return fmt.Sprintf("%s [%s]", mid, ends)
}

// Between writes a range, its unit once when both ends have the same one.
func Between(low, high float64, unit string) string {
	l, h := Quantity(low, unit), Quantity(high, unit)
	i, j := strings.IndexAny(l, " /"), strings.IndexAny(h, " /")
	if i > 0 && j > 0 && l[i:] == h[j:] {
		l = l[:i]
	}
	return l + " to " + h
}

// Exact writes a quantity that somebody chose, without the digits that a measured one would have: 15 ms, 150 MiB.
func Exact(v float64, unit string) string {
	s := Quantity(v, unit)
	i := strings.IndexAny(s, " /")
	if i < 0 {
		i = len(s)
	}
	number := s[:i]
	if strings.Contains(number, ".") {
		number = strings.TrimRight(strings.TrimRight(number, "0"), ".")
	}
	return number + s[i:]
}
