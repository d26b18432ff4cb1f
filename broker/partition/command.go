package partition

import (
	"fmt"

	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/partition/command"
)

// An entry's data is one of three things: nothing (a new leader's no-op), a record batch, or a command (package command).

const entryNormal = 0 // raft's number for an entry that is not a configuration change

func isData(e *Entry) bool {
	return e.Type == entryNormal && len(e.Data) > 0 && !command.Is(e.Data)
}

// DataCRC is the CRC-32C of an entry's data, from the checksum of the batch that it is, which was verified when that came; 0
// if it is none or not worth it. Both the WAL and the segments keep one, and reading a batch for each, long after it has
// left the processor's caches, was a third of a broker's time at saturation.
func DataCRC(data []byte) uint32 {
	if len(data) == 0 || command.Is(data) {
		return 0
	}
	return kwire.StoredCRC(data)
}

func dataCRC(e *Entry) uint32 {
	if !isData(e) {
		return 0
	}
	return DataCRC(e.Data)
}

// command applies an entry that is not data. An unknown one is an error, which stops the group: a replica that went on
// without it would differ from the others.
func (p *Partition) command(data []byte) error {
	if !command.Is(data) {
		return nil // a no-op, or a configuration change, which is raft's
	}
	kind, argument, err := command.Parse(data)
	switch kind {
	case command.LogStart:
		p.logStart = max(p.logStart, min(id.Offset(argument), p.appliedNext))
	case command.SegmentBytes:
		p.segmentBytes = argument
	}
	return err
}

// Where a segment begins is decided in apply (take), from the bytes of the batches and the segment size, so every replica
// must change the size at the same entry: one that took it from the topic's configuration at a time of its own, or with a
// restart, would cut elsewhere. So the size is part of the state that replicas share, and a leader that is asked to append
// under another size than its log will have proposes the new one first, in front of that batch. A partition that is not
// written to keeps its size, which nobody notices.

// resize proposes a segment size, unless the log has it already. 0 is no wish.
func (p *Partition) resize(to int64) error {
	if to == p.decidedSize || to <= 0 {
		return nil
	}
	index, _, err := p.cfg.Group.ProposeLocked(command.New(command.SegmentBytes, uint64(to)))
	if err == nil {
		p.decidedSize, p.resizedAt = to, index
	}
	return err
}

// sizeIn returns the segment size that an entry sets.
func sizeIn(data []byte) (int64, bool) {
	if !command.Is(data) {
		return 0, false
	}
	kind, size, err := command.Parse(data)
	return size, err == nil && kind == command.SegmentBytes
}

// AdvanceLogStart proposes that records below start be no longer readable. Replicas then drop the segments that hold
// nothing else.
func (p *Partition) AdvanceLogStart(start id.Offset) error {
	p.cfg.Group.Lock()
	defer p.cfg.Group.Unlock()
	if !p.leading {
		return ErrNotLeader
	}
	if start <= p.logStart {
		return nil
	}
	if start > p.high {
		return fmt.Errorf("%w: log start %d beyond the high watermark %d", ErrOffsetOutOfRange, start, p.high)
	}
	_, _, err := p.cfg.Group.ProposeLocked(command.New(command.LogStart, uint64(start)))
	return err
}
