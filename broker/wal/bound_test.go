package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"ackline/broker/id"
	"ackline/broker/vfs"
	"ackline/broker/wal/ring"
)

// Whatever is written, and however large the batches are, a superblock on disk says before that it may be.
func TestNothingIsWrittenBeyondTheBound(t *testing.T) {
	for _, inline := range []bool{false, true} {
		t.Run(fmt.Sprint("inline=", inline), func(t *testing.T) {
			mem := vfs.NewMem()
			o := testOptions(mem)
			o.Inline = inline
			var mu sync.Mutex
			supers, batches := 0, 0
			o.FS = vfs.Inject(mem, func(op vfs.Op) error {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case op.Kind != vfs.OpWrite || op.Name != o.Path:
				case op.Off < 2*vfs.BlockSize:
					supers++
				default:
					batches++
					// The hook comes before the write: what is in the file was written and synced before.
					if room, lease := untilBound(t, mem, o, op.Off), int64(testRing/16); room < op.Len || room > op.Len+lease {
						t.Errorf("a write of %d bytes begins %d bytes before the bound, want from %d to %d", op.Len, room, op.Len, op.Len+lease)
					}
				}
				return nil
			})
			w, _ := mustOpen(t, o)
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range id.Index(300) {
				var s source
				size := rng.IntN(2000)
				if rng.IntN(10) == 0 {
					size = int(w.LargestBatch()) - 2*vfs.BlockSize
				}
				s.add(w, func(b *Batch) { b.Entries(1, 1, ents(i+1, 1, string(make([]byte, size)))) })
				w.Drive()
				if i%5 == 4 {
					s.add(w, func(b *Batch) { b.Checkpoint(1, 1, i+1, 1, hard(1, 1, i+1), nil) })
					w.Drive()
					if err := w.Reclaim(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if supers < 60 || batches < 300 {
				t.Errorf("%d superblocks and %d batches were seen", supers, batches)
			}
		})
	}
}

// Damage that only a batch beyond the older superblock's bound proves, when the newer is damaged too.
func TestDamageBehindALostSuperblock(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Inline = true
	w, _ := mustOpen(t, o)
	var s source
	write := func(size int64) {
		s.add(w, func(b *Batch) { b.Entries(1, 1, ents(w.Last(1)+1, 1, string(make([]byte, size)))) })
		w.Drive()
	}
	for w.super.Bound-w.last.End() > w.lease()/2 {
		write(1)
	}
	write(w.LargestBatch() - vfs.BlockSize) // it reaches beyond the bound
	write(1)
	bad, proof := s.lsns[len(s.lsns)-2], s.lsns[len(s.lsns)-1]
	if both, err := w.file.Supers(); err != nil || both[1-w.super.Seq%2].Bound > proof {
		t.Fatalf("both bounds are beyond LSN %d: %+v, %v", proof, both, err)
	}
	flip(t, o, w.super.Pos()+20)
	flip(t, o, w.file.Pos(bad)+ring.HeaderSize+50)
	var c *CorruptError
	if _, _, err := Open(o, nil); !errors.As(err, &c) || c.At != bad {
		t.Errorf("damage at LSN %d: %v", bad, err)
	}
}

// A superblock that cannot be written, when the bound is to be moved on, is as final as a batch that cannot.
func TestBoundThatCannotBeExtended(t *testing.T) {
	for _, inline := range []bool{false, true} {
		o := testOptions(vfs.NewMem())
		o.Inline = inline
		fatal := make(chan error, 2)
		o.Fatal = func(err error) { fatal <- err }
		w := hooked(t, o, func(op vfs.Op) error {
			if op.Kind == vfs.OpWrite && op.Off < 2*vfs.BlockSize {
				return syscall.EIO
			}
			return nil
		})
		var s source
		for i := range id.Index(100) {
			s.add(w, func(b *Batch) { b.Entries(1, 1, ents(i+1, 1, "x")) })
			w.Drive()
		}
		if err := <-fatal; !errors.Is(err, syscall.EIO) || len(fatal) > 0 {
			t.Errorf("inline=%v: Fatal was told %v, and %d more", inline, err, len(fatal))
		}
		if err := w.Close(); !errors.Is(err, syscall.EIO) || s.told > 4 {
			t.Errorf("inline=%v: Close: %v; %d batches were called durable", inline, err, s.told)
		}
	}
}

// untilBound is how many bytes there are in the ring from a Pos to the bound.
func untilBound(t *testing.T, mem *vfs.Mem, o Options, pos int64) int64 {
	f, s, err := ring.OpenReadOnly(mem, o.Path)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer f.Close()
	return (f.Pos(s.Bound) - pos + s.RingBytes) % s.RingBytes
}
