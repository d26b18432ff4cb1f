package ring

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"ackline/broker/id"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
)

// watched counts the bytes that were read of a file.
type watched struct {
	vfs.File
	read atomic.Int64
}

func (w *watched) ReadAt(p []byte, at int64) (int, error) {
	w.read.Add(int64(len(p)))
	return w.File.ReadAt(p, at)
}

// stamped is a ring of so many read blocks, each page of which holds its own place.
func stamped(t *testing.T, blocks int) (*File, *watched) {
	t.Helper()
	fs := vfs.NewMem()
	if err := Create(fs, "/ring", syncmethod.BufferedDsync, int64(blocks)*readBlock, testID, nil); err != nil {
		t.Fatal(err)
	}
	f, _, err := Open(fs, "/ring", syncmethod.BufferedDsync)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	p := vfs.Aligned(readBlock)
	for at := int64(0); at < f.size; at += readBlock {
		for i := 0; i < len(p); i += block {
			binary.LittleEndian.PutUint64(p[i:], uint64(at)+uint64(i))
		}
		if _, err := f.data.WriteAt(p, dataStart+at); err != nil {
			t.Fatal(err)
		}
	}
	w := &watched{File: f.data}
	f.data = w
	return f, w
}

// seen fails unless the stream has at l what was written there.
func seen(t *testing.T, s *stream, f *File, l id.LSN) {
	t.Helper()
	b, err := s.bytes(l)
	if err != nil {
		t.Fatalf("at %d: %v", l, err)
	}
	if got := int64(binary.LittleEndian.Uint64(b)); got != int64(l)%f.size || len(b) < block {
		t.Fatalf("at %d: %d bytes of place %d, want of %d", l, len(b), got, int64(l)%f.size)
	}
}

// Every page comes from its own place, whatever is skipped, across the ring's end and after going back, and nothing comes behind the limit;
// the reads ahead grow to their bound and not beyond, and what is read ahead is no more than that.
func TestStream(t *testing.T) {
	const blocks = 20
	f, w := stamped(t, blocks)
	from := id.LSN(5*f.size/4) &^ (block - 1) // a quarter into a lap, and not at a read block's beginning
	from += 3 * block
	limit := from + id.LSN(f.size)
	s := newStream(f, from, limit, limit)
	defer s.wait()
	rng := rand.New(rand.NewPCG(1, 2))
	for l := from; l < limit; l += id.LSN(1+rng.IntN(2*readBlock/block)) * block {
		seen(t, s, f, l)
		if ahead := int64(s.ask - l); ahead > readAheadMost*readBlock {
			t.Fatalf("at %d: %d bytes ahead, want at most %d blocks", l, ahead, readAheadMost)
		}
	}
	if len(s.slots) != readAheadMost {
		t.Errorf("%d blocks at a time in the end, want %d", len(s.slots), readAheadMost)
	}
	if n := w.read.Load(); n != f.size {
		t.Errorf("%d bytes were read, want the ring's %d once", n, f.size)
	}
	if _, err := s.bytes(limit); err != io.EOF {
		t.Errorf("at the limit: %v, want io.EOF", err)
	}
	for _, l := range []id.LSN{from, limit - block, from + 7*readBlock, from + 6*readBlock - block} {
		seen(t, s, f, l)
	}
}

// A ring that holds little is read with little memory.
func TestStreamOfAShortRing(t *testing.T) {
	f, w := stamped(t, 2)
	s := newStream(f, id.LSN(f.size), id.LSN(f.size)+3*block, id.LSN(f.size)+3*block)
	defer s.wait()
	for i := range 3 {
		seen(t, s, f, id.LSN(f.size)+id.LSN(i)*block)
	}
	if len(s.slots) != readAhead || len(s.slots[0].buf) != 3*block || w.read.Load() != 3*block {
		t.Errorf("%d blocks of %d bytes at a time, %d bytes read; want %d of %d", len(s.slots), len(s.slots[0].buf), w.read.Load(), readAhead, 3*block)
	}
}
