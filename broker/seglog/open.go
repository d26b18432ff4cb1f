package seglog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"ackline/broker/id"
	"ackline/broker/seglog/ioerr"
	"ackline/broker/seglog/layout"
)

// Open opens the log in o.Dir as it was at the checkpoint. What lies beyond was never promised and is removed: later
// segments, and the end of the newest one. The zero Checkpoint and those of EmptyAt remove everything. What the checkpoint
// promised and is not there is a *CorruptError.
//
// Open reads the headers and lengths of all segments and the last row, so that its cost is per segment, not per row. Rows
// and payloads are checked when they are read first, or by Verify. No other Log may have the directory open.
func Open(o Options, at Checkpoint) (*Log, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := at.Validate(); err != nil {
		return nil, err
	}
	if at.Next == 0 {
		at = EmptyAt(1, 0, 0)
	}
	o = o.withDefaults()
	l := &Log{o: o, files: o.Files, next: at.Next, offset: at.NextOffset, term: at.Term, newDir: at.Active == 0}
	found, err := l.list()
	if err != nil {
		return nil, err
	}
	if at.Active == 0 {
		err = l.wipe(found, true)
	} else {
		err = l.recover(found, at)
	}
	if err != nil {
		for _, s := range l.segs {
			l.unpin(s)
			l.files.Abandon(&s.files)
		}
		return nil, err
	}
	return l, nil
}

// Replace closes l, removes its files and opens an empty log, at one of EmptyAt's checkpoints, in its place. Who reads in l may end
// that read. l is closed even if this fails.
func (l *Log) Replace(at Checkpoint) (*Log, error) {
	_ = l.Close() // closed already: an attempt before failed
	if err := l.dropOldest(len(l.segs)); err != nil {
		return nil, err
	}
	return Open(l.o, at)
}

func (l *Log) list() (layout.Listing, error) {
	names, err := l.o.FS.List(l.o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return layout.Listing{}, ioerr.Read(l.o.Dir, 0, 0, err)
	}
	return layout.List(names), nil
}

// unlink removes a file that nobody has open.
func (l *Log) unlink(name string) error {
	giveBack, err := l.o.GiveBack.Remove(l.o.FS, name)
	giveBack()
	return err
}

// remove removes the files of segments for which the function says so. That is durable with the next Sync, as what is appended will be:
// should they be back after a crash before, the checkpoint is the one that they were removed for, and they go again. To wait here for the
// directory, with a client behind it, took 30 ms of a restart, and twice that of one without a checkpoint.
func (l *Log) remove(d layout.Listing, which func(first id.Index) bool) error {
	for _, f := range d.Files {
		if !which(f.First) {
			continue
		}
		name := layout.Name(l.o.Dir, f.First, f.Kind)
		if err := l.unlink(name); err != nil {
			return ioerr.Write("remove", name, 0, 0, err)
		}
		l.newNames = true
	}
	return nil
}

// wipe removes all segments, and the .low files too if that is asked for.
func (l *Log) wipe(d layout.Listing, lows bool) error {
	if err := l.remove(d, func(id.Index) bool { return true }); err != nil {
		return err
	}
	if !lows {
		return nil
	}
	for _, low := range d.Lows {
		name := layout.Name(l.o.Dir, low, layout.Low)
		if err := l.unlink(name); err != nil {
			return ioerr.Write("remove", name, 0, 0, err)
		}
		l.newNames = true
	}
	return nil
}

// recover brings the log to the checkpoint, which has at least one segment.
func (l *Log) recover(d layout.Listing, at Checkpoint) error {
	switch {
	case len(d.Lows) != 1:
		return ioerr.Corrupt(layout.Name(l.o.Dir, at.First, layout.Low), 0, "the file that names the log's start",
			"one", fmt.Sprintf("%d of them", len(d.Lows)))
	case d.Lows[0] < at.First:
		return ioerr.Corrupt(layout.Name(l.o.Dir, d.Lows[0], layout.Low), 0, "start of the log", fmt.Sprint("at least ", at.First), d.Lows[0])
	}
	l.low = d.Lows[0]
	if l.low > at.First {
		// Renamed since the checkpoint, perhaps by a process that died before it synced the name. Nothing may go before that.
		if err := l.syncDir(l.o.Dir); err != nil {
			return err
		}
	}
	if l.low > at.Active {
		// Retention went beyond the checkpoint before the crash. The .low file stays: it says that this is right.
		return l.wipe(d, false)
	}
	if err := l.remove(d, func(f id.Index) bool { return f < l.low || f > at.Active }); err != nil {
		return err
	}
	kept := slices.DeleteFunc(d.Segments, func(f id.Index) bool { return f < l.low || f > at.Active })
	if len(kept) == 0 || kept[0] != l.low {
		kept = slices.Insert(kept, 0, l.low) // it is missing, which readHeader will say
	}
	if kept[len(kept)-1] != at.Active {
		kept = append(kept, at.Active)
	}
	if err := l.load(kept, at); err != nil {
		return err
	}
	if got := l.segs[0].base; l.low == at.First && got != at.Start {
		return ioerr.Corrupt(l.segs[0].name(layout.Idx), 0, "base offset", at.Start, got)
	}
	for _, s := range l.segs {
		l.bytes += s.tail.seg
	}
	return nil
}

// load reads the segments that start at the given indexes, which must form a chain up to the checkpoint.
func (l *Log) load(firsts []id.Index, at Checkpoint) error {
	for i, first := range firsts {
		s := &segment{log: l, first: first}
		s.closed.Store(i < len(firsts)-1)
		l.segs = append(l.segs, s)
		h, err := s.readHeader()
		if err != nil {
			return err
		}
		s.init(&h)
		if i > 0 {
			if err := l.link(l.segs[i-1], s, &h); err != nil {
				return err
			}
		}
	}
	s := l.segs[len(l.segs)-1]
	s.tail = tail{rows: uint32(at.Next - at.Active), next: at.NextOffset, term: at.Term, seg: at.SegBytes, ctl: at.CtlBytes}
	for k := range layout.Kinds {
		if err := l.fit(s, k); err != nil {
			return err
		}
	}
	s.w.hinted = at.SegBytes
	return l.checkLast(s)
}

// link checks that prev is as long as its successor s says.
func (l *Log) link(prev, s *segment, h *layout.Header) error {
	switch {
	case h.PrevFirst > prev.first && h.PrevFirst < s.first:
		return ioerr.Corrupt(layout.Name(l.o.Dir, h.PrevFirst, layout.Idx), 0, "file", "present", "missing")
	case h.PrevFirst != prev.first:
		return ioerr.Corrupt(s.name(layout.Idx), 0, "first index of the segment before", prev.first, h.PrevFirst)
	case h.Base < prev.base || h.PrevTerm < prev.prevTerm || uint64(h.First-prev.first) > layout.MaxRows:
		return ioerr.Corrupt(s.name(layout.Idx), 0, "index header", fmt.Sprintf("what follows index %d, offset %d, term %d",
			prev.first, prev.base, prev.prevTerm), fmt.Sprintf("index %d, offset %d, term %d", h.First, h.Base, h.PrevTerm))
	}
	prev.tail = tail{rows: uint32(h.First - prev.first), next: h.Base, term: h.PrevTerm, top: h.PrevTopTimestamp,
		seg: h.PrevSegBytes, ctl: h.PrevCtlBytes}
	for k := range layout.Kinds {
		size, err := l.size(prev, k)
		if err != nil {
			return err
		}
		if want := prev.length(k, &prev.tail); size != want {
			return badLength(prev, k, want, size)
		}
	}
	return nil
}

// size returns the length of a file, 0 when it is missing, and notes whether it is there.
func (l *Log) size(s *segment, k layout.Kind) (int64, error) {
	info, err := l.o.FS.Stat(s.name(k))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		return 0, ioerr.Read(s.name(k), 0, 0, err)
	}
	s.w.exists[k] = true
	return info.Size, nil
}

func badLength(s *segment, k layout.Kind, want, size int64) error {
	found := bytesOf(size)
	if !s.w.exists[k] {
		found = "no file"
	}
	return ioerr.Corrupt(s.name(k), 0, "length", bytesOf(want), found)
}

// fit cuts a file of the newest segment to its checkpointed length.
func (l *Log) fit(s *segment, k layout.Kind) error {
	size, err := l.size(s, k)
	if err != nil {
		return err
	}
	want := s.length(k, &s.tail)
	s.w.found[k] = s.w.exists[k]
	switch {
	case size < want:
		return badLength(s, k, want, size)
	case s.w.exists[k] && want == 0:
		l.newNames = true // no checkpoint vouches for its name
	}
	if size > want {
		// Volatile until the next Sync, like the writes that will follow. A crash before leads back here.
		s.w.torn[k] = true
		return l.trim(s)
	}
	return nil
}

// checkLast checks the newest row against the checkpoint, and takes from it what only rows know.
func (l *Log) checkLast(s *segment) error {
	v := view{s, s.tail}
	rr := v.rowsOf()
	defer rr.Release()
	r, err := rr.Row(s.tail.rows - 1)
	if err != nil {
		return err
	}
	got := tailAt(s.tail.rows, &r)
	s.tail.top = r.TopTimestamp
	if got != s.tail {
		return ioerr.Corrupt(s.name(layout.Idx), r.Index, "last row against the checkpoint", fmt.Sprintf("%+v", s.tail), fmt.Sprintf("%+v", got))
	}
	return nil
}
