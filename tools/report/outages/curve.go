package outages

import (
	"fmt"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/stats"
)

// place is where a point of a curve stands: the same in every launch.
type place struct {
	written int64
	groups  int
}

// curve is the table of a recovery curve, a row per point, and the line through those of the fewest groups.
func (w Words) curve(p *page.Page, launches []record.Launch) {
	var places []place
	at := map[place][]record.Point{}
	for _, l := range launches {
		for _, x := range l.Points {
			here := place{x.WrittenBytes, x.Groups}
			if at[here] == nil {
				places = append(places, here)
			}
			at[here] = append(at[here], x)
		}
	}
	if len(places) == 0 {
		return
	}
	p.Text("Medians over launches, times from the start of the process; *live WAL* is what was read, *floor* one read of it past the page cache in the same " +
		"launch, *ratio* first ack over floor with its interval, *memory* the peak until latencies were restored, beyond what a broker takes that has as " +
		"many groups and no record.")
	rows := [][]string{}
	for _, here := range places {
		rows = append(rows, w.point(here, at[here]))
	}
	p.Table([]string{"records", "groups", "live WAL", "open", "first ack", "floor", "ratio", "caught up", "p99 restored", "memory"}, rows)
	w.line(p, places, at)
}

func (w Words) point(here place, points []record.Point) []string {
	median := func(of func(*record.Point) float64, unit string) string {
		var v []float64
		for i := range points {
			if x := of(&points[i]); x != 0 {
				v = append(v, x)
			}
		}
		if len(v) == 0 {
			return "–"
		}
		return w.Quantity(stats.Median(v), unit)
	}
	var ratios []float64
	for i := range points {
		ratios = append(ratios, points[i].Ratio())
	}
	ratio := "–"
	if e, err := stats.RatioShift(ratios, record.Confidence); err == nil {
		ratio = w.Ratio(e)
	}
	return []string{w.Quantity(float64(here.written), "bytes"), fmt.Sprint(here.groups),
		median(func(p *record.Point) float64 { return p.LiveBytes }, "bytes"),
		median(func(p *record.Point) float64 { return p.OpenMs }, "ms"),
		median(func(p *record.Point) float64 { return p.FirstAckMs }, "ms"),
		median(func(p *record.Point) float64 { return p.FloorMs }, "ms"), ratio,
		median(func(p *record.Point) float64 { return p.CaughtUpMs }, "ms"),
		median(func(p *record.Point) float64 { return p.RestoredMs }, "ms"),
		median((*record.Point).Beyond, "bytes")}
}

// line fits seconds until the first acknowledgement against GiB of live WAL, over every launch, for the number of groups that has the most sizes.
func (w Words) line(p *page.Page, places []place, at map[place][]record.Point) {
	sizes, groups := map[int]int{}, 0
	for _, here := range places {
		if sizes[here.groups]++; sizes[here.groups] > sizes[groups] {
			groups = here.groups
		}
	}
	var gib, ack, floor []float64
	for _, here := range places {
		for _, x := range at[here] {
			if here.groups == groups {
				gib, ack, floor = append(gib, x.LiveBytes/(1<<30)), append(ack, x.FirstAckMs/1e3), append(floor, x.FloorMs/1e3)
			}
		}
	}
	system, err := stats.FitLine(gib, ack)
	if err != nil {
		return // one size only
	}
	least, err := stats.FitLine(gib, floor)
	if err != nil {
		return
	}
	residuals, i := "", 0
	for _, here := range places {
		if here.groups != groups {
			continue
		}
		var mean float64
		for range at[here] {
			mean += system.Residuals[i] / float64(len(at[here]))
			i++
		}
		residuals += fmt.Sprintf(", %+.1f ms at %s", 1e3*mean, w.Quantity(float64(here.written), "bytes"))
	}
	p.Text("Least squares over all launches, %s: first ack = %.3f s + %.3f s/GiB of live WAL; floor = %.3f s + %.3f s/GiB. Mean residuals of the first: %s.",
		inGroups(groups), system.A, system.B, least.A, least.B, residuals[2:])
}

func inGroups(n int) string {
	if n == 1 {
		return "one group"
	}
	return fmt.Sprintf("%d groups", n)
}
