package place

import (
	"slices"
	"strings"
	"testing"
)

// With one topic a place is the partition's number and has no other name; with several each is told from all others.
func TestPlaces(t *testing.T) {
	one := Parse("t")
	if one.Several() || one.Partition(1<<21) != 1<<21 || one.Name(7) != "partition 7" || one.Topic(7) != "t" || one.Named(7) != "" {
		t.Errorf("%q: %d %q", one, one.Partition(1<<21), one.Name(7))
	}
	three := Parse("a,b,c")
	seen := map[int32]bool{}
	for i, name := range three {
		for _, p := range []int32{0, 1, 999, MaxPartitions - 1} {
			at := Of(i, p)
			if seen[at] || at < 0 || three.Partition(at) != p || three.Topic(at) != name || three.Index(at) != i {
				t.Errorf("%s/%d has place %d, which is %s/%d; seen: %v", name, p, at, three.Topic(at), three.Partition(at), seen[at])
			}
			seen[at] = true
		}
	}
	if got := three.Name(Of(1, 3)); got != "topic b partition 3" || Of(0, 3) != 3 || three.String() != "a,b,c" {
		t.Errorf("%q, %d, %q", got, Of(0, 3), three)
	}
	if got := three.ByName([]int32{Of(1, 3), 0, Of(1, 1)}); len(got) != 2 || !slices.Equal(got["b"], []int32{3, 1}) || !slices.Equal(got["a"], []int32{0}) {
		t.Errorf("%v", got)
	}
	if last := Of(MaxTopics-1, MaxPartitions-1); last < 0 {
		t.Errorf("the last place is %d", last)
	}
}

func TestNumbered(t *testing.T) {
	if got := Numbered("x", 1); !slices.Equal(got, Topics{"x"}) {
		t.Error(got)
	}
	got := Numbered("x", 11)
	if got[0] != "x-00" || got[10] != "x-10" || len(got) != 11 || got.Listed() != "x-00, …, x-10" {
		t.Error(got)
	}
	if got := Numbered("x", 10); got[9] != "x-9" || got[:2].Listed() != "x-0, x-1" {
		t.Error(got)
	}
}

func TestValidate(t *testing.T) {
	for text, says := range map[string]string{"": "", "a": "", "a,b": "", "a,,b": "a name is empty", "a,b,a": `"a" is there twice`, strings.Repeat("x,", MaxTopics) + "y": "at most"} {
		if err := Parse(text).Validate(); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}
