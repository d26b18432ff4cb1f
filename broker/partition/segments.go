package partition

import (
	"fmt"

	"ackline/broker/id"
	"ackline/broker/seglog"
)

// segments is where the flushed records are. A snapshot that is restored takes their place at once and without I/O, since
// the group's lock is held, and with it the WAL's writer waits: from then on there are none, and whoever flushes next makes
// the files anew (renew). Until then the old ones lie there, and a reader who is at it reads on: what it was to read is
// committed and at its offset, whatever came after.
//
// A crash before the files are made anew finds the snapshot in the WAL, and with it a seglog.Checkpoint of a log that is
// empty: opening there removes them. A checkpoint with files in it is taken only after they were made anew.
type segments struct {
	log *seglog.Log       // nil: to be made anew
	old *seglog.Log       // whose files are to go, when log is nil
	at  seglog.Checkpoint // of the empty log, when log is nil
}

// close closes what is open.
func (s *segments) close() error {
	if s.log == nil {
		return s.old.Close()
	}
	return s.log.Close()
}

// renew makes the files anew if a snapshot has taken their place. flushing is held.
func (p *Partition) renew() error {
	for {
		s := p.segs.Load()
		if s.log != nil {
			return nil
		}
		log, err := s.old.Replace(s.at)
		if err != nil {
			return fmt.Errorf("partition: beginning the segments anew at index %d: %w", s.at.Next, err)
		}
		p.cfg.Group.Lock()
		done := p.segs.CompareAndSwap(s, &segments{log: log})
		p.cfg.Group.Unlock()
		if done {
			return nil
		}
		_ = log.Close() // another snapshot has come; nothing was written
	}
}

// Segments lists the segments, oldest first.
func (p *Partition) Segments() []seglog.SegmentInfo {
	if log := p.segs.Load().log; log != nil {
		return log.Segments()
	}
	return nil
}

// History is a partition's entries in segments, for the group to read back. Its methods need no lock. What they refer to
// changes only with the group's lock held (Restore), but for the oldest entries, which retention drops without it.
type History struct{ p *Partition }

// History returns the entries in segments, once the partition is open.
func (p *Partition) History() History { return History{p} }

// FirstIndex is the index of the oldest entry, LastIndex()+1 when there is none.
func (h History) FirstIndex() id.Index {
	s := h.p.segs.Load()
	if s.log == nil {
		return s.at.Next
	}
	return s.log.FirstIndex()
}

// LastIndex is the index of the newest entry, or of the one before the start when there is none.
func (h History) LastIndex() id.Index {
	s := h.p.segs.Load()
	if s.log == nil {
		return s.at.Next - 1
	}
	return s.log.LastIndex()
}

// Term returns the term of an entry, or of the one before the first.
func (h History) Term(i id.Index) (id.Term, error) {
	s := h.p.segs.Load()
	switch {
	case s.log != nil:
		return s.log.Term(i)
	case i == s.at.Next-1:
		return s.at.Term, nil
	}
	return 0, s.none(i)
}

// Entries returns entries lo to hi-1, cut after maxBytes of data but never to none.
func (h History) Entries(lo, hi id.Index, maxBytes int) ([]Entry, error) {
	s := h.p.segs.Load()
	if s.log == nil {
		return nil, s.none(lo)
	}
	recs, err := s.log.Entries(lo, hi, maxBytes)
	if err != nil {
		return nil, err
	}
	es := make([]Entry, len(recs))
	for i := range recs {
		es[i] = Entry{Index: recs[i].Index, Term: recs[i].Term, Type: recs[i].Type, Data: recs[i].Data}
	}
	return es, nil
}

func (s *segments) none(i id.Index) error {
	err := seglog.ErrUnavailable
	if i < s.at.Next {
		err = seglog.ErrCompacted
	}
	return fmt.Errorf("partition: entry %d: the segments begin anew at %d: %w", i, s.at.Next, err)
}
