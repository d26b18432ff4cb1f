package regions

import (
	"fmt"
	"slices"

	"ackline/loadgen/hist"
	"ackline/tools/bench/record"
	"ackline/tools/report/number"
	"ackline/tools/report/page"
)

// writeReaders shows what consumers in each region waited for, the records of all launches together.
func writeReaders(p *page.Page, launches []record.Launch) {
	var rows []record.Reader
	for _, l := range launches {
		for _, r := range l.Readers {
			i := slices.IndexFunc(rows, func(o record.Reader) bool {
				return o.Leader == r.Leader && o.Client == r.Client && o.Served == r.Served
			})
			if i < 0 {
				i = len(rows)
				own := r
				own.EndToEnd, own.Produce = hist.NewLatency(), hist.NewLatency()
				rows = append(rows, own)
			}
			rows[i].EndToEnd.Merge(r.EndToEnd)
			rows[i].Produce.Merge(r.Produce)
			rows[i].ServedShare = min(rows[i].ServedShare, r.ServedShare)
		}
	}
	if len(rows) == 0 {
		return
	}
	p.Text("End to end is from when a record was due at a producer in the leader's region until it was in the hand of a consumer in each region, which says its "+
		"rack; *from* is the host that sent it the most, with its share of the bytes, the least of all launches. *Produce* is until the producer had its answer. –: fewer than %s records.",
		number.Group(fmt.Sprint(hist.Needed(99))))
	var cells [][]string
	for _, r := range rows {
		cell := []string{r.Leader, r.Client, fmt.Sprintf("%s, %.0f%%", r.Served, 100*r.ServedShare)}
		for _, h := range []*hist.Hist{r.EndToEnd, r.Produce} {
			for _, percentile := range []float64{50, 99} {
				text := "–"
				if h.Supports(percentile) {
					text = ms(float64(h.Percentile(percentile, hist.HighestNS).NS) / 1e3)
				}
				cell = append(cell, text)
			}
		}
		cells = append(cells, cell)
	}
	p.Table([]string{"leader", "consumer in", "from", "end to end p50", "p99", "produce p50", "p99"}, cells)
}
