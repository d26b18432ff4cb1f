package seglog

import (
	"fmt"
	"sort"
	"sync"

	"ackline/broker/id"
	"ackline/broker/seglog/fdcache"
	"ackline/broker/seglog/layout"
)

// Control is the LastDelta of a record that is not data: it takes no offset and its payload goes to the control file.
const Control = layout.Control

// NoTimestamp is the MaxTimestamp of a control record, and of a segment or log without data. Lower than any timestamp.
const NoTimestamp = layout.NoTimestamp

// Row is what the index knows of a record.
type Row = layout.Row

// Checkpoint says how much of a log is durable: what Sync returns, what the WAL stores, what Open cuts the files back to.
type Checkpoint = layout.Checkpoint

// CheckpointSize is the length of a marshalled Checkpoint in bytes.
const CheckpointSize = layout.CheckpointSize

// EmptyAt returns the checkpoint of a log that holds nothing and goes on after a snapshot: next is the index after the
// snapshot's, offset the next offset as of it, term its term. Opening with it wipes the directory.
func EmptyAt(next id.Index, offset id.Offset, term id.Term) Checkpoint {
	return Checkpoint{First: next, Start: offset, Next: next, NextOffset: offset, Term: term}
}

// Files is the set of open descriptors of any number of logs.
type Files = fdcache.Cache

// NewFiles returns a set that keeps about max descriptors open. Those in use, and those of files that were written and are
// not synced yet, are never closed: the kernel reports a failed write-back to descriptors that were open at the time.
func NewFiles(max int) *Files { return fdcache.New(max) }

// Record is one committed raft entry.
type Record struct {
	Index        id.Index
	Term         id.Term
	Type         uint8     // the caller's, kept as it is
	Base         id.Offset // offset of the batch's first record; control: ignored by Append, the next offset when read
	LastDelta    int32     // offset of the batch's last record less Base; Control for a record that is not data
	MaxTimestamp int64     // ms; control: ignored by Append, NoTimestamp when read
	Data         []byte    // data: exactly what a Fetch returns, never empty; control: any payload, or none
	CRC          uint32    // CRC-32C of Data, if the caller knows it; 0: to be computed. Not set by reads
	Roll         []byte    // not nil: start a new segment before this record, with this base state. Nil when read
}

// SegmentInfo describes one segment.
type SegmentInfo struct {
	First      id.Index  // index of its first entry
	Next       id.Index  // one above the index of its last entry
	Base       id.Offset // offset of its first record
	NextOffset id.Offset // one above the offset of its last record; Base when it has none
	Term       id.Term   // of its last entry
	// MaxTimestamp is the greatest of its data rows' in ms, NoTimestamp without data.
	MaxTimestamp int64
	DataBytes    int64 // .seg
	OtherBytes   int64 // .idx and .ctl
	Active       bool  // the one that is appended to
}

// Rows is the number of entries in the segment.
func (s SegmentInfo) Rows() int { return int(s.Next - s.First) }

// Log is one partition's committed records. One goroutine at a time changes it (Append, Sync, DropBefore and Close exclude
// each other); any number read meanwhile, and see a record when the Append that brought it, or a part of that Append, is
// through.
//
// Lock order: write, mu. Those of Files and of layout.Spans are leaves.
type Log struct {
	o     Options // constant
	files *Files  // constant

	write    sync.Mutex
	fatal    error      // write; the first fatal error, returned ever after
	unsynced []*segment // write; with dirty or pinned files, oldest first
	newNames bool       // write; names in the directory were changed and are not synced
	newDir   bool       // write; the directory itself may be new
	low      id.Index   // write; the index that the .low file is named after, 0 when there is none
	noDirect bool       // write; the file system refused direct I/O
	strays   []string   // write; files of segments that failed to begin; they must go before another begins

	mu     sync.RWMutex // never held during I/O
	segs   []*segment   // mu; published, oldest first. Replaced, never changed in place but for its tail end
	next   id.Index     // mu
	offset id.Offset    // mu
	term   id.Term      // mu; of entry next-1
	bytes  int64        // mu; of all .seg
	closed bool         // mu
}

// FirstIndex is the index of the oldest entry, LastIndex()+1 when there is none.
func (l *Log) FirstIndex() id.Index {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.firstIndex()
}

func (l *Log) firstIndex() id.Index {
	if len(l.segs) == 0 {
		return l.next
	}
	return l.segs[0].first
}

// LastIndex is the index of the newest entry, or of the one before the log's start when it holds none.
func (l *Log) LastIndex() id.Index {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.next - 1
}

// StartOffset is the lowest offset that can be read, NextOffset when there is none. It is a segment's base offset and thus
// at or below the partition's log start offset.
func (l *Log) StartOffset() id.Offset {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.startOffset()
}

func (l *Log) startOffset() id.Offset {
	if len(l.segs) == 0 {
		return l.offset
	}
	return l.segs[0].base
}

// NextOffset is one above the highest offset.
func (l *Log) NextOffset() id.Offset {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.offset
}

// Size is the length of all data, in bytes.
func (l *Log) Size() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.bytes
}

// MaxTimestamp is the greatest MaxTimestamp of any batch in ms, NoTimestamp without any.
func (l *Log) MaxTimestamp() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	top := NoTimestamp
	for _, s := range l.segs {
		top = max(top, s.tail.top)
	}
	return top
}

// Segments lists the segments, oldest first.
func (l *Log) Segments() []SegmentInfo {
	l.mu.RLock()
	defer l.mu.RUnlock()
	infos := make([]SegmentInfo, len(l.segs))
	for i, s := range l.segs {
		v := view{s, s.tail}
		infos[i] = v.info(i == len(l.segs)-1)
	}
	return infos
}

// Active describes the newest segment, to decide whether it is time to start another; false when there is none yet.
func (l *Log) Active() (SegmentInfo, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.segs) == 0 {
		return SegmentInfo{}, false
	}
	s := l.segs[len(l.segs)-1]
	v := view{s, s.tail}
	return v.info(true), true
}

// viewOf returns the segment that holds entry i.
func (l *Log) viewOf(i id.Index) (view, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case l.closed:
		return view{}, ErrClosed
	case i < l.firstIndex():
		return view{}, fmt.Errorf("seglog: %s: index %d is below the first, %d: %w", l.o.Dir, i, l.firstIndex(), ErrCompacted)
	case i >= l.next:
		return view{}, fmt.Errorf("seglog: %s: index %d is above the last, %d: %w", l.o.Dir, i, l.next-1, ErrUnavailable)
	}
	n := sort.Search(len(l.segs), func(n int) bool { return l.segs[n].first > i })
	s := l.segs[n-1]
	return view{s, s.tail}, nil
}

// viewAt returns the segment that holds offset o; a view without a segment when o is NextOffset.
func (l *Log) viewAt(o id.Offset) (view, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case l.closed:
		return view{}, ErrClosed
	case o < l.startOffset():
		return view{}, fmt.Errorf("seglog: %s: offset %d is below the first, %d: %w", l.o.Dir, o, l.startOffset(), ErrCompacted)
	case o > l.offset:
		return view{}, fmt.Errorf("seglog: %s: offset %d is above the next, %d: %w", l.o.Dir, o, l.offset, ErrUnavailable)
	case o == l.offset:
		return view{}, nil
	}
	// Segments without data share their base offset with the next one. The last of them is the one with the data.
	n := sort.Search(len(l.segs), func(n int) bool { return l.segs[n].base > o })
	s := l.segs[n-1]
	return view{s, s.tail}, nil
}

// goneError is what a reader gets whose segment went away under it.
func (l *Log) goneError() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return ErrClosed
	}
	return fmt.Errorf("seglog: %s: segment removed while it was read: %w", l.o.Dir, ErrCompacted)
}

// Close closes the files. It does not sync: what Sync did not promise may be lost. Readers get ErrClosed.
func (l *Log) Close() error {
	l.write.Lock()
	defer l.write.Unlock()
	l.mu.Lock()
	already := l.closed
	l.closed = true
	segs := l.segs
	l.mu.Unlock()
	if already {
		return ErrClosed
	}
	for _, s := range l.unsynced {
		l.unpin(s)
		l.files.Abandon(&s.files) // one that was not published is in no other list
	}
	for _, s := range segs {
		l.files.Abandon(&s.files)
	}
	return nil
}
