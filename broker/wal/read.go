package wal

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"ackline/broker/id"
	"ackline/broker/vfs"
	"ackline/broker/wal/ring"
)

// ErrCorrupt: bytes that were once synced are not what they were. It is wrapped with the place.
var ErrCorrupt = ring.ErrCorrupt

// Entries reads entries lo to hi-1 of g from the ring: as many as have maxBytes of data, but at least one. ErrCompacted or
// ErrUnavailable when lo is below First or hi above Last+1. The data is the caller's.
func (w *WAL) Entries(g id.GroupID, lo, hi id.Index, maxBytes int) ([]Entry, error) {
	for {
		if err := w.failed(); err != nil {
			return nil, err
		}
		locs, err := w.index.locate(g, lo, hi, maxBytes)
		if err != nil {
			return nil, err
		}
		es, err := readEntries(w.file, g, lo, locs)
		if err == nil {
			return es, nil
		}
		// While we read, the records may have been moved or freed and their place overwritten.
		again, now := w.index.locate(g, lo, hi, maxBytes)
		if now != nil || slices.Equal(locs, again) {
			return nil, errors.Join(now, err)
		}
	}
}

// locate returns where the entries lie.
func (x *index) locate(g id.GroupID, lo, hi id.Index, maxBytes int) ([]location, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	gr := x.groups[g]
	switch {
	case gr == nil || hi > gr.last()+1 || lo >= hi:
		return nil, fmt.Errorf("%w: group %d, entries [%d, %d)", ErrUnavailable, g, lo, hi)
	case lo < gr.first:
		return nil, fmt.Errorf("%w: group %d, entry %d < %d", ErrCompacted, g, lo, gr.first)
	}
	return gr.entries.collect(lo, int(hi-lo), int64(maxBytes)), nil
}

// A read takes the entries that lie within runBytes of each other, what is between them included.
const runBytes = 256 << 10

var runBuffers = sync.Pool{New: func() any { b := vfs.Aligned(runBytes + vfs.BlockSize); return &b }}

// readEntries reads the entries from index lo on that lie at locs.
func readEntries(f *ring.File, g id.GroupID, lo id.Index, locs []location) ([]Entry, error) {
	total := 0
	for i := range locs {
		total += int(locs[i].length)
	}
	data, es := make([]byte, 0, total), make([]Entry, 0, len(locs))
	pooled := runBuffers.Get().(*[]byte)
	defer runBuffers.Put(pooled)
	for len(locs) > 0 {
		n := run(locs)
		from := locs[0].start() &^ (vfs.BlockSize - 1)
		size := vfs.RoundUp(int64(locs[n-1].end() - from))
		buf := *pooled
		if size > int64(len(buf)) {
			buf = vfs.Aligned(int(size))
		}
		if err := f.Read(buf[:size], from); err != nil {
			return nil, err
		}
		for _, l := range locs[:n] {
			p := buf[l.start()-from : l.end()-from]
			at := lo + id.Index(len(es))
			if crc := ring.DataCRC(p); crc != l.crc {
				return nil, fmt.Errorf("wal: %s: %w: group %d, entry %d: CRC of %d bytes at LSN %d (pos %d) is %08x, %08x was written",
					f.Path(), ErrCorrupt, g, at, len(p), l.start(), f.Pos(l.start()), crc, l.crc)
			}
			data = append(data, p...)
			es = append(es, Entry{Index: at, Term: l.term, Type: l.typ, Data: data[len(data)-len(p) : len(data) : len(data)]})
		}
		locs = locs[n:]
	}
	return es, nil
}

func (l *location) start() id.LSN { return l.batch + id.LSN(l.off) }
func (l *location) end() id.LSN   { return l.start() + id.LSN(l.length) }

// run is how many of locs one read takes, at least one.
func run(locs []location) int {
	n := 1
	for n < len(locs) && locs[n].start() >= locs[n-1].end() && locs[n].end()-locs[0].start() <= runBytes {
		n++
	}
	return n
}
