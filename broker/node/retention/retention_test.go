package retention

import (
	"testing"

	"ackline/broker/id"
	"ackline/broker/meta/topicconfig"
	"ackline/broker/seglog"
)

func TestFrom(t *testing.T) {
	segs := []seglog.SegmentInfo{
		{Base: 0, NextOffset: 10, DataBytes: 100, MaxTimestamp: 1000},
		{Base: 10, NextOffset: 20, DataBytes: 100, MaxTimestamp: 3000},
		{Base: 20, NextOffset: 30, DataBytes: 100, MaxTimestamp: 2000},
		{Base: 30, NextOffset: 40, DataBytes: 100, MaxTimestamp: 4000, Active: true},
	}
	for _, c := range []struct {
		what      string
		bytes, ms int64
		now       int64
		start     id.Offset
		drop      bool
	}{
		{"no limits", -1, -1, 1 << 40, 0, false},
		{"size keeps what still is needed to reach it", 250, -1, 0, 10, true},
		{"size of exactly the rest", 300, -1, 0, 10, true},
		{"size above all", 400, -1, 0, 0, false},
		{"size 0 keeps the newest segment", 0, -1, 0, 30, true},
		{"age of the first", -1, 500, 1600, 10, true},
		{"a young segment stops it", -1, 500, 3200, 10, true},
		{"age of all", -1, 500, 1 << 40, 30, true},
		{"either", 250, 500, 4000, 30, true},
	} {
		start, drop := From(segs, topicconfig.Settings{RetentionBytes: c.bytes, RetentionMs: c.ms}, c.now)
		if start != c.start || drop != c.drop {
			t.Errorf("%s: from %d, %v; want %d, %v", c.what, start, drop, c.start, c.drop)
		}
	}
}
