package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ackline/broker/id"
	"ackline/broker/vfs"
	"ackline/broker/wal/ring"
)

// One flipped bit anywhere in the live part of the ring is noticed, unless it changes nothing. Only the very last batch
// may pass for torn, and not even that after a clean close.
func TestEveryFlippedBitIsNoticed(t *testing.T) {
	o := testOptions(nil)
	fresh := newRing(t, o)
	for seed := range uint64(count(400, 20_000)) {
		rng := rand.New(rand.NewPCG(seed, 5))
		mem := fresh.Clone()
		clean := seed%2 == 0
		may, _, err := life{opt: o, cut: -1, steps: 60, close: clean}.run(mem, rng, []model{{}})
		if err != nil {
			t.Fatal(err)
		}
		o.FS = mem
		l := layoutOf(t, o)
		pos, last := l.pick(rng)
		flip(t, o, pos)
		w, rec, err := Open(o, nil)
		var corrupt *CorruptError
		switch {
		case errors.As(err, &corrupt):
			if corrupt.At > l.batches[len(l.batches)-1].LSN || len(corrupt.Groups) == 0 {
				t.Errorf("seed %d: pos %d: %v", seed, pos, err)
			}
			continue
		case err != nil:
			t.Fatalf("seed %d: pos %d: %v", seed, pos, err)
		}
		if _, err := match(w, seen{readAll(t, w)}, may); err != nil && (clean || !last || !rec.Torn && pos%vfs.BlockSize >= ring.HeaderSize) {
			t.Errorf("seed %d: pos %d was changed and nobody noticed: %v", seed, pos, err)
		}
		w.Close()
	}
}

// layout is where the live batches are.
type layout struct {
	file    *ring.File
	batches []ring.Header
}

func layoutOf(t *testing.T, o Options) layout {
	t.Helper()
	f, s, err := ring.OpenReadOnly(o.FS, o.Path)
	if err != nil {
		t.Fatal(err)
	}
	l := layout{file: f}
	_, err = ring.NewScan(f, s).Run(func(h ring.Header, _ []byte) error {
		l.batches = append(l.batches, h)
		return nil
	}, nil)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return l
}

// pick returns a Pos in one of the batches, padding included, and whether that is the last.
func (l *layout) pick(rng *rand.Rand) (pos int64, last bool) {
	i := rng.IntN(len(l.batches))
	h := l.batches[i]
	off := rng.Int64N(h.Size())
	if rng.IntN(2) == 0 {
		off = rng.Int64N(ring.HeaderSize)
	}
	return l.file.Pos(h.LSN + id.LSN(off)), i == len(l.batches)-1
}

// A damaged ring is refused, whatever the number of attempts, until the caller accepts the loss. Then it works, and what was
// behind the damage never comes back.
func TestAcceptLoss(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Inline = true
	w, _ := mustOpen(t, o)
	var s source
	for i := range id.Index(6) {
		s.add(w, func(b *Batch) { b.Entries(id.GroupID(i%3+1), 1, ents(i/3+1, 1, fmt.Sprint("entry ", i))) })
		w.Drive()
	}
	w.Close()
	flip(t, o, w.file.Pos(s.lsns[3])+ring.HeaderSize+50)
	for range 2 {
		_, rec, err := Open(o, nil)
		var c *CorruptError
		if !errors.As(err, &c) || !errors.Is(err, ErrCorrupt) || c.At != s.lsns[3] || c.Later != s.lsns[4] ||
			!slices.Equal(c.Groups, []id.GroupID{1, 2, 3}) || c.Pos != w.file.Pos(c.At) {
			t.Fatalf("got %+v, %v", rec, err)
		}
		if want := fmt.Sprintf("the batch at LSN %d (pos %d) is damaged", c.At, c.Pos); !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %q, without %q", err, want)
		}
	}
	o.AcceptLoss = true
	w, rec := mustOpen(t, o)
	if rec.Lost == nil || rec.Lost.At != s.lsns[3] || rec.End != s.lsns[3] {
		t.Errorf("recovery says %+v", rec)
	}
	o.AcceptLoss = false
	for range 3 {
		wantEntries(t, w, 1, ents(1, 1, "entry 0"))
		wantEntries(t, w, 2, ents(1, 1, "entry 1"))
		o.FS = o.FS.(*vfs.Mem).CrashClone(1)
		w, rec = mustOpen(t, o)
		if rec.Lost != nil {
			t.Errorf("recovery says %+v", rec)
		}
	}
}

// A clean close saves the next start the search for damage behind the end; it must not save the one after that.
func TestCleanMarkIsVoid(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Inline = true
	w, _ := mustOpen(t, o)
	w.Close()
	w, _ = mustOpen(t, o)
	lsns := []id.LSN{w.last.LSN}
	var s source
	for i := range id.Index(4) {
		s.add(w, func(b *Batch) { b.Entries(1, 1, ents(i+1, 1, "x")) })
		w.Drive()
	}
	lsns = append(lsns, s.lsns...)
	for _, l := range lsns[:4] {
		after := o
		after.FS = o.FS.(*vfs.Mem).Clone()
		flip(t, after, w.file.Pos(l)+30)
		var c *CorruptError
		if _, _, err := Open(after, nil); !errors.As(err, &c) || c.At != l {
			t.Errorf("damage at LSN %d: %v", l, err)
		}
	}
}

// The newest superblock is damaged. The one before was written when the tail was less than a lease before where it is, so that nothing of
// what it says is needed can have been overwritten; only its bound is not believed.
func TestLostSuperblock(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Inline = true
	w, _ := mustOpen(t, o)
	var s source
	write := func(n int64) {
		for _, from := w.queue.bounds(); int64(w.last.End()-from) < n; {
			at := w.Last(1) + 1
			s.add(w, func(b *Batch) { b.Entries(1, 1, ents(at, 1, "x")) })
			w.Drive()
		}
	}
	write(testRing / 2)
	s.add(w, func(b *Batch) { b.Checkpoint(1, 1, w.Last(1), 1, hard(1, 1, 1), nil) })
	w.Drive()
	if err := w.Reclaim(); err != nil {
		t.Fatal(err)
	}
	for range 15 {
		write(testRing / 33)
		after := o
		after.FS = o.FS.(*vfs.Mem).Clone()
		flip(t, after, w.super.Pos()+20)
		again, _ := mustOpen(t, after)
		if got, want := again.Last(1), w.Last(1); got != want {
			t.Errorf("the last entry is %d, want %d", got, want)
		}
		flip(t, after, 20)
		flip(t, after, vfs.BlockSize+20)
		if _, _, err := Open(after, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("without a superblock: %v", err)
		}
	}
}

// A record that passes its batch's CRC and makes no sense was written by a broken program.
func TestNonsenseIsRefused(t *testing.T) {
	for want, records := range map[string]func(b *ring.Builder){
		"entry 3 where 2 belongs":               func(b *ring.Builder) { b.Entries(1, 1, ents(1, 1, "a")); b.Entries(1, 1, ents(3, 1, "b")) },
		"entry 2 at or below the checkpoint":    func(b *ring.Builder) { checkpoint(b, 5); b.Entries(1, 1, ents(2, 1, "b")) },
		"checkpoint at 4 behind one at 5":       func(b *ring.Builder) { checkpoint(b, 5); checkpoint(b, 4) },
		"first entry is 9, its checkpoint is a": func(b *ring.Builder) { checkpoint(b, 5); b.Entries(1, 1, ents(9, 1, "b")) },
	} {
		o := testOptions(vfs.NewMem())
		w, _ := mustOpen(t, o)
		var b ring.Builder
		b.Reset(testBatch)
		records(&b)
		h := ring.Header{RingID: o.RingID, Generation: w.last.Generation, LSN: w.last.End(), Prev: w.last.LSN, Durable: w.last.End()}
		_, blocks := b.Seal(&h)
		if err := w.file.Write(blocks, h.LSN); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(o, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func checkpoint(b *ring.Builder, at id.Index) { b.Checkpoint(1, 1, at, 1, hard(1, 1, at), nil) }
