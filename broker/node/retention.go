package node

import (
	"errors"
	"time"

	"ackline/broker/node/retention"
	"ackline/broker/partition"
)

// retentionLoop lets leaders move their partitions' log start, by a command that all replicas follow.
func (n *Node) retentionLoop() {
	defer n.loops.Done()
	n.every(time.Duration(n.cfg.Storage.RetentionIntervalS)*time.Second, func() { n.retain(time.Now()) })
}

func (n *Node) retain(now time.Time) {
	cat := n.meta.Catalog()
	for _, r := range n.hosts.All() {
		t := cat.TopicByID(r.Topic)
		if t == nil || !r.Part.Bounds().Leading {
			continue
		}
		start, ok := retention.From(r.Part.Segments(), t.Settings, now.UnixMilli())
		if !ok || start <= r.Part.Bounds().Start {
			continue
		}
		if err := r.Part.AdvanceLogStart(start); err != nil && !errors.Is(err, partition.ErrNotLeader) {
			n.log.Warn("the log start could not be moved", "topic", t.Name, "group", r.ID, "to", start, "err", err)
		}
	}
	n.engine.Drive()
}
