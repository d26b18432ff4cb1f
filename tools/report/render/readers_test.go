package render

import (
	"strings"
	"testing"

	"ackline/loadgen/hist"
	"ackline/tools/bench/record"
)

// What consumers in each region waited for stands beside what the producer did, all launches together.
func TestReadersArePublished(t *testing.T) {
	r := sample("0123456789ab", 1)
	r.Scenarios = append(r.Scenarios, record.Scenario{Name: "region-readers-3", Operation: "EndToEnd", Topology: "multi-dc-3", Workload: "region-readers", Tuning: "default"})
	around := func(us float64) *hist.Hist {
		h := hist.NewLatency()
		for i := range 6000 {
			h.Record(int64(us*1e3) + int64(i))
		}
		return h
	}
	for n := 1; n <= 2; n++ {
		r.Launches = append(r.Launches, record.Launch{Number: n, Scenario: "region-readers-3", Verdict: record.OK, Requests: 6000, Check: &record.DataCheck{OK: true},
			Readers: []record.Reader{
				{Leader: "n2 (london)", Client: "london", Served: "n2 (london)", ServedShare: 1, EndToEnd: around(13_300), Produce: around(13_100)},
				{Leader: "n2 (london)", Client: "madrid", Served: "n3 (madrid)", ServedShare: 1 - 0.01*float64(n), EndToEnd: around(27_000), Produce: around(13_100)}}})
	}
	page := string(render(t, r, nil))
	for _, want := range []string{"| n2 (london) | london      | n2 (london), 100% | 13.30 ms       | 13.31 ms | 13.11 ms    | 13.11 ms |",
		"| n2 (london) | madrid      | n3 (madrid), 98% "} {
		if !strings.Contains(page, want) {
			i := strings.Index(page, "consumer in")
			t.Errorf("the page lacks %q\n%s", want, page[max(i-20, 0):min(len(page), i+600)])
		}
	}
	if err := Check([]byte(page)); err != nil {
		t.Error(err)
	}
	r.Launches = r.Launches[:len(r.Launches)-1] // 6,000 are too few for a p99
	if page := string(render(t, r, nil)); !strings.Contains(page, " | –") {
		t.Error("6,000 records have a p99")
	}
}
