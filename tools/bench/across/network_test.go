package across

import (
	"slices"
	"testing"

	"ackline/profiles/region"
)

// What a host is called is the name that leaves the fewest others.
func TestPlaceOfAHost(t *testing.T) {
	top := &region.Topology{Hosts: []region.Host{{Name: "n1", Region: "eu", Zone: "a"}, {Name: "n2", Region: "eu", Zone: "b"}, {Name: "n3", Region: "us", Zone: "a"},
		{Name: "n4", Region: "asia"}}}
	var got []string
	for i := range top.Hosts {
		got = append(got, (&Network{T: top}).Place(i))
	}
	if want := []string{"eu", "b", "us", "asia"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
