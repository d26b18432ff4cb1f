// Package retention decides how far back a partition's records are kept. A leader asks it, and tells the replicas by a command:
// were each to decide by its own clock and segments, their logs would begin at different offsets.
package retention

import (
	"ackline/broker/id"
	"ackline/broker/meta/topicconfig"
	"ackline/broker/seglog"
)

// From says from which offset on a partition's records are kept: whole segments go, oldest first, while the rest is
// still larger than retention.bytes, or when all their records are older than retention.ms. The newest segment stays.
func From(segs []seglog.SegmentInfo, s topicconfig.Settings, nowMs int64) (id.Offset, bool) {
	total := int64(0)
	for i := range segs {
		total += segs[i].DataBytes
	}
	start, drop := id.Offset(0), false
	for i := range segs {
		seg := &segs[i]
		if seg.Active {
			break
		}
		large := s.RetentionBytes >= 0 && total-seg.DataBytes >= s.RetentionBytes
		old := s.RetentionMs >= 0 && seg.MaxTimestamp != seglog.NoTimestamp && seg.MaxTimestamp < nowMs-s.RetentionMs
		if !large && !old {
			break
		}
		total -= seg.DataBytes
		start, drop = seg.NextOffset, true
	}
	return start, drop
}
