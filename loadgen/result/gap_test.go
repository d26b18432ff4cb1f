package result

import (
	"reflect"
	"testing"
)

func TestGapsThatOverlapAreOneOutage(t *testing.T) {
	const s = int64(1e9)
	window := Span{From: 10 * s, To: 20 * s}
	got := Outages([]Gap{
		{Partition: 2, From: 13 * s, To: 15 * s},
		{Partition: 1, From: 12 * s, To: 14 * s},
		{Partition: 1, From: 14*s + s/2, To: 16 * s},
		{Partition: 3, From: 17 * s, To: 17*s + s/10},        // too short
		{Partition: 4, From: 9 * s, To: 10*s + s/2},          // partly before the window
		{Partition: 5, From: 19 * s, To: 25 * s, Open: true}, // beyond its end
		{Partition: 6, From: 5 * s, To: 9 * s},               // before it
	}, window, s/5)
	want := []Outage{
		{StartSeconds: 0, Seconds: 0.5, Partitions: []int32{4}},
		{StartSeconds: 2, Seconds: 4, Partitions: []int32{1, 2}},
		{StartSeconds: 9, Seconds: 1, Partitions: []int32{5}, Open: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if got := Outages(nil, window, 0); got != nil {
		t.Errorf("%+v without a gap", got)
	}
}

func TestSkew(t *testing.T) {
	for want, counts := range map[float64][]PartitionCount{
		0:   nil,
		1:   {{Partition: 0, Acked: 5}, {Partition: 1, Acked: 5}, {Partition: 2, Acked: 5}},
		2.5: {{Partition: 0, Acked: 4}, {Partition: 1, Acked: 10}, {Partition: 2, Acked: 3}},
	} {
		if got := Skew(counts); got != want {
			t.Errorf("%+v: %g, want %g", counts, got, want)
		}
	}
}
