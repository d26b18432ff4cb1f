package probe

import (
	"slices"
	"testing"
	"time"
)

func TestGap(t *testing.T) {
	acked := Acknowledged([]Sample{{Acked: 30}, {Acked: 10}, {Acked: failed}, {Acked: 20}, {Acked: 100}, {Acked: 105}})
	if want := []int64{10, 20, 30, 100, 105}; !slices.Equal(acked, want) {
		t.Fatalf("acknowledged at %v, want %v", acked, want)
	}
	for _, c := range []struct{ from, to, want int64 }{
		{12, 25, 10},   // the first stretch ends in it, of the second one less is in it
		{30, 31, 10},   // the one that begins in it ends after it
		{31, 90, 60},   // within one stretch: what of it had passed
		{31, 101, 70},  // that stretch, whole
		{100, 106, 70}, // up to the one at its beginning
		{101, 106, 5},
		{0, 5, 5},       // before the first
		{104, 200, 95},  // nothing comes any more
		{300, 320, 215}, // long after the last
	} {
		if got := Gap(acked, c.from, c.to); got != time.Duration(c.want) {
			t.Errorf("%d to %d: %d, want %d", c.from, c.to, got, c.want)
		}
	}
	if got := Gap(nil, 5, 9); got != 4 {
		t.Errorf("without any acknowledgement: %d", got)
	}
	if n := Failed([]Sample{{Acked: failed}, {Acked: 3}}); n != 1 {
		t.Errorf("%d failed, want 1", n)
	}
}
