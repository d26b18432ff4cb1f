package main

import (
	"strings"
	"testing"

	"ackline/broker/id"
	"ackline/broker/node/admin"
)

// The matrix has a cell for each pair, and a dash for what was not measured.
func TestRoundTripsAreShown(t *testing.T) {
	var out strings.Builder
	s := admin.Status{Nodes: []admin.Node{{ID: 1}, {ID: 2}, {ID: 10}}}
	showRoundTrips(&out, s)
	if out.Len() != 0 {
		t.Errorf("a cluster without measurements shows %q", out.String())
	}
	for _, r := range []struct {
		from, to id.NodeID
		us       int64
	}{{1, 2, 1500}, {2, 1, 1501}, {1, 10, 203_042}} {
		s.RoundTrips = append(s.RoundTrips, admin.RoundTrip{From: r.from, To: r.to, SmoothedUs: r.us})
	}
	showRoundTrips(&out, s)
	want := `
round trip, ms, from  to 1   to 2   to 10
1                     -      1.500  203.042
2                     1.501  -      -
10                    -      -      -
`
	if out.String() != want {
		t.Errorf("got%s\nwant%s", out.String(), want)
	}
}
