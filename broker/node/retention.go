package node

import (
	"errors"
	"time"

	"ackline/broker/id"
	"ackline/broker/meta/topicconfig"
	"ackline/broker/partition"
	"ackline/broker/seglog"
)

// retentionLoop lets leaders move their partitions' log start, by a command that all replicas follow.
func (n *Node) retentionLoop() {
	defer n.loops.Done()
	ticker := time.NewTicker(time.Duration(n.cfg.Storage.RetentionIntervalS) * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-n.stopping:
			return
		case <-ticker.C:
			n.retain(time.Now())
		}
	}
}

func (n *Node) retain(now time.Time) {
	cat := n.meta.Catalog()
	for _, r := range n.hosts.all() {
		t := cat.TopicByID(r.topic)
		if t == nil || !r.part.Bounds().Leading {
			continue
		}
		start, ok := retainFrom(r.part.Segments(), t.Settings, now.UnixMilli())
		if !ok || start <= r.part.Bounds().Start {
			continue
		}
		if err := r.part.AdvanceLogStart(start); err != nil && !errors.Is(err, partition.ErrNotLeader) {
			n.log.Warn("the log start could not be moved", "topic", t.Name, "group", r.id, "to", start, "err", err)
		}
	}
	n.engine.Drive()
}

// retainFrom says from which offset on a partition's records are kept: whole segments go, oldest first, while the rest is
// still larger than retention.bytes, or when all their records are older than retention.ms. The newest segment stays.
func retainFrom(segs []seglog.SegmentInfo, s topicconfig.Settings, nowMs int64) (id.Offset, bool) {
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
