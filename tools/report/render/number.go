package render

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"ackline/tools/stats"
)

// digits3 writes v with three significant digits and no exponent: 0.0123, 1.09, 151, 78,500.
func digits3(v float64) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	// Rounding first lets 0.9996 count as 1.00.
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 2, 64), 64)
	if err != nil {
		panic(fmt.Sprintf("render: %v does not survive formatting: %v", v, err))
	}
	v = rounded
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(v))+1e-9))
	if decimals <= 0 {
		return group(strconv.FormatFloat(v, 'f', 0, 64))
	}
	return strconv.FormatFloat(v, 'f', min(decimals, 6), 64)
}

// group puts a comma between every three digits of a whole number.
func group(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// quantity writes v with its unit in the size that people read: 151 µs, 2.5 ms, 78,500/s, 1.5 GiB.
func quantity(v float64, unit string) string {
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
		return digits3(v) + "/s"
	case "1", "ratio":
		return digits3(v)
	case "bytes":
		return size(v)
	case "bytes/s":
		return size(v) + "/s"
	}
	if per, ok := strings.CutPrefix(unit, "ns/"); ok {
		return duration(v) + "/" + per
	}
	if per, ok := strings.CutPrefix(unit, "1/"); ok {
		return digits3(v) + "/" + per
	}
	return digits3(v) + " " + unit
}

func duration(ns float64) string {
	switch a := math.Abs(ns); {
	case a < 999.5:
		return digits3(ns) + " ns"
	case a < 999.5e3:
		return digits3(ns/1e3) + " µs"
	case a < 999.5e6:
		return digits3(ns/1e6) + " ms"
	}
	return digits3(ns/1e9) + " s"
}

func size(bytes float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for ; math.Abs(bytes) >= 999.5 && i < len(units)-1; i++ {
		bytes /= 1024
	}
	return digits3(bytes) + " " + units[i]
}

// ratio writes an estimate of a ratio: 1.09 [1.07–1.12]. Ratios near 1 are read by their distance from it, so they keep
// two decimals.
func ratio(e stats.Estimate) string {
	return fmt.Sprintf("%s [%s–%s]", factor(e.Shift), factor(e.Low), factor(e.High))
}

func factor(v float64) string {
	if v >= 0.1 && v < 9.995 {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return digits3(v)
}

// percent writes an estimate of a ratio as a change: -3.1% [-4.0%…-2.2%].
func percent(e stats.Estimate) string {
	p := func(v float64) string { return fmt.Sprintf("%+.1f%%", 100*(v-1)) }
	return fmt.Sprintf("%s [%s…%s]", p(e.Shift), p(e.Low), p(e.High))
}

// spread writes an estimate of a quantity, whose ends may be negative: 151 µs [149 to 156 µs].
func spread(e stats.Estimate, unit string) string {
	mid, ends := quantity(e.Shift, unit), between(e.Low, e.High, unit)
	if quantity(e.Low, unit) == mid && quantity(e.High, unit) == mid {
		return mid
	}
	return fmt.Sprintf("%s [%s]", mid, ends)
}

// between writes a range, its unit once when both ends have the same one.
func between(low, high float64, unit string) string {
	l, h := quantity(low, unit), quantity(high, unit)
	i, j := strings.IndexAny(l, " /"), strings.IndexAny(h, " /")
	if i > 0 && j > 0 && l[i:] == h[j:] {
		l = l[:i]
	}
	return l + " to " + h
}

// exact writes a quantity that somebody chose, without the digits that a measured one would have: 15 ms, 150 MiB.
func exact(v float64, unit string) string {
	s := quantity(v, unit)
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
