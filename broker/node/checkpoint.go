package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"ackline/broker/id"
	"ackline/broker/node/worklist"
	"ackline/broker/seglog"
)

// checkpointTimeout ends a checkpoint that waits for space in the ring or for a disk that hangs; the next one tries again.
const checkpointTimeout = time.Minute

// flushLoop moves applied records into segments while the node writes, and takes checkpoints.
func (n *Node) flushLoop() {
	defer n.loops.Done()
	last, written, large := time.Now(), uint64(0), []id.GroupID(nil)
	for {
		select {
		case <-n.stopping:
			return
		case <-n.flushDue:
		}
		if n.backlog.Empty() {
			continue
		}
		began, moved := time.Now(), n.flushedBytes.Load()
		large = n.backlog.TakeLarge(large[:0])
		n.flushLarge(large)
		due := time.Since(last) >= time.Duration(n.cfg.Storage.CheckpointIntervalS)*time.Second
		if end := n.wal.Stats().Bytes.Load(); due || n.ringFills(end-written) {
			ctx, cancel := context.WithTimeout(context.Background(), checkpointTimeout)
			if err := n.Checkpoint(ctx); err != nil {
				n.checkpointErrors.Add(1)
				if !errors.Is(err, seglog.ErrNoSpace) { // storageFailed has said that, once
					n.log.Error("checkpoint failed", "err", err)
				}
			} else {
				written = end
			}
			cancel()
			last = time.Now()
		}
		n.throttle.Flushed(int64(n.flushedBytes.Load()-moved), time.Since(began))
	}
}

// ringFills tells whether enough of the ring is in use for a checkpoint, and whether one is likely to give some of it free: what
// quiet groups hold is not its to free, and a checkpoint at every look, for as long as they hold it, costs each write in
// between a sync on the same disk. Close to the end every bit counts. since is the bytes written since the last checkpoint.
func (n *Node) ringFills(since uint64) bool {
	used, usable := n.wal.Usage()
	return used*100 >= usable*int64(n.cfg.Storage.CheckpointPercent) && (since >= uint64(usable/16) || used*100 >= usable*90)
}

// expirePoll is how often producers are looked for whose time-out has passed, while any wait.
const expirePoll = 100 * time.Millisecond

// expireLoop answers producers whose batch was not committed within the time-out that they gave.
func (n *Node) expireLoop() {
	defer n.loops.Done()
	n.every(expirePoll, func() {
		if n.handler.Pending() == 0 {
			return
		}
		now := n.now()
		for _, r := range n.hosts.All() {
			r.Part.Expire(now)
		}
	})
}

// every calls f at intervals until the node stops.
func (n *Node) every(d time.Duration, f func()) {
	ticker := time.NewTicker(d)
	defer ticker.Stop()
	for {
		select {
		case <-n.stopping:
			return
		case <-ticker.C:
			f()
		}
	}
}

// flushLarge writes partitions that have gathered enough for large writes, so that a checkpoint finds little left.
func (n *Node) flushLarge(groups []id.GroupID) {
	for i, g := range groups {
		r := n.hosts.Get(g)
		if r == nil {
			n.backlog.Again(g) // recovered and not open yet, unless it was deleted
			continue
		}
		moved, err := r.Part.Flush()
		n.flushedBytes.Add(uint64(moved))
		if errors.Is(err, seglog.ErrClosed) {
			continue // deleted meanwhile
		}
		if _, bytes := r.Part.Pending(); bytes >= n.cfg.Storage.FlushBytes {
			n.backlog.Again(g) // it came faster, or there was no room
		}
		if err != nil {
			for _, g := range groups[i+1:] {
				n.backlog.Again(g)
			}
			n.storageFailed(err)
			return
		}
	}
}

// storageFailed sorts a failure to write segments: a full disk is waited out, anything else is the node's end.
func (n *Node) storageFailed(err error) {
	if errors.Is(err, seglog.ErrNoSpace) {
		if n.full.Swap(true) {
			return
		}
		n.log.Error("the disk is full: records stay in the WAL, and writes are refused once that is full too; free some space", "err", err)
		return
	}
	n.fail(err)
}

// Checkpoint moves everything applied into segments, makes it durable there, records that in the WAL and frees the ring
// behind it. It returns once the space is free.
func (n *Node) Checkpoint(ctx context.Context) error {
	n.checkpointing.Lock()
	defer n.checkpointing.Unlock()
	n.saving.Store(true) // before the backlog shrinks: see pollLoop
	defer n.saving.Store(false)
	began := time.Now()
	waits, err := n.checkpointGroups()
	if err != nil {
		n.storageFailed(err)
		return err
	}
	n.backlog.Remove(id.MetadataGroup)
	done, err := n.meta.checkpoint()
	if err != nil {
		n.backlog.Add(id.MetadataGroup)
		n.storageFailed(err)
		return err
	}
	if done != nil {
		waits = append(waits, done)
	}
	n.engine.Drive()
	for _, w := range waits {
		select {
		case <-w:
		case <-ctx.Done():
			return ctx.Err()
		case <-n.ended:
			return errors.New("node: ended during a checkpoint")
		}
	}
	if err := n.wal.Reclaim(); err != nil {
		return err
	}
	if n.full.Swap(false) {
		n.log.Info("the disk has space again")
	}
	n.checkpoints.Observe(time.Since(began).Nanoseconds())
	st, _ := n.wal.State(id.MetadataGroup)
	return n.meta.files.RemoveOld(st.Flushed)
}

// checkpointWorkers sync segments side by side: the file system makes several files durable with one flush of the device, which
// is most of what a partition with a few records costs.
const checkpointWorkers = 16

// checkpointGroups takes the partitions' part of a checkpoint. After an error some of them have none.
func (n *Node) checkpointGroups() (waits []<-chan struct{}, err error) {
	var mu sync.Mutex // guards waits
	err = worklist.Each(n.backlog.All(nil), checkpointWorkers, func(g id.GroupID) error {
		done, err := n.checkpointGroup(g)
		if done != nil {
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, done)
		}
		return err
	})
	return waits, err
}

func (n *Node) checkpointGroup(g id.GroupID) (<-chan struct{}, error) {
	r := n.hosts.Get(g)
	if r == nil {
		return nil, nil // recovered and not open yet
	}
	n.backlog.Remove(g)
	began := time.Now()
	_, before := r.Part.Pending()
	index, term, payload, err := r.Part.Checkpoint()
	if errors.Is(err, seglog.ErrClosed) {
		return nil, nil // deleted meanwhile
	}
	if err != nil {
		n.backlog.Add(g)
		return nil, err
	}
	n.flushedBytes.Add(uint64(before))
	n.flushes.Observe(time.Since(began).Nanoseconds())
	switch rows, bytes := r.Part.Pending(); { // what came meanwhile; only a partition that grows to that size says so by itself
	case bytes >= n.cfg.Storage.FlushBytes:
		n.backlog.Large(g)
	case rows > 0:
		n.backlog.Add(g)
	}
	if index == 0 {
		return nil, nil
	}
	return r.Group.Checkpoint(index, term, payload), nil
}
