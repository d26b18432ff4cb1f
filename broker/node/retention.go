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
		start, ok := retention.From(r.part.Segments(), t.Settings, now.UnixMilli())
		if !ok || start <= r.part.Bounds().Start {
			continue
		}
		if err := r.part.AdvanceLogStart(start); err != nil && !errors.Is(err, partition.ErrNotLeader) {
			n.log.Warn("the log start could not be moved", "topic", t.Name, "group", r.id, "to", start, "err", err)
		}
	}
	n.engine.Drive()
}
