package partition

import (
	"encoding/binary"
	"fmt"

	"ackline/broker/id"
)

// An entry's data is one of three things: nothing (a new leader's no-op), a record batch, or a command. A batch begins
// with its base offset, which is never negative, so its first byte is below 0x80; a command begins with 0xFF.
//
//	offset  size  field
//	0       1     0xFF
//	1       1     kind
//	2       8     log start offset, big-endian (kind 1)
const (
	commandMark     = 0xFF
	commandKindAt   = 1
	commandLogStart = 1
	logStartAt      = 2
	logStartBytes   = 10
)

const entryNormal = 0 // raft's number for an entry that is not a configuration change

func isData(e *Entry) bool {
	return e.Type == entryNormal && len(e.Data) > 0 && e.Data[0] != commandMark
}

// command applies an entry that is not data. An unknown one is an error, which stops the group: a replica that went on
// without it would differ from the others.
func (p *Partition) command(data []byte) error {
	if len(data) == 0 || data[0] != commandMark {
		return nil // a no-op, or a configuration change, which is raft's
	}
	if len(data) < 2 {
		return fmt.Errorf("a command of %d bytes", len(data))
	}
	switch kind := data[commandKindAt]; kind {
	case commandLogStart:
		if len(data) != logStartBytes {
			return fmt.Errorf("a log-start command of %d bytes; it has %d", len(data), logStartBytes)
		}
		start := id.Offset(binary.BigEndian.Uint64(data[logStartAt:]))
		p.logStart = max(p.logStart, min(start, p.appliedNext))
		return nil
	default:
		return fmt.Errorf("unknown command %d; a newer release wrote it", kind)
	}
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
	data := make([]byte, logStartBytes)
	data[0], data[commandKindAt] = commandMark, commandLogStart
	binary.BigEndian.PutUint64(data[logStartAt:], uint64(start))
	_, _, err := p.cfg.Group.ProposeLocked(data)
	return err
}
