package raw

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"sync/atomic"
	"time"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
)

// SeqConfig says how SeqWrite looks for the best durable sequential rate. Each combination of block size and
// depth is tried in two modes, Each and Group:
//
//	each   O_DIRECT|O_DSYNC: every write is durable when it returns, as a WAL's batches are
//	group  O_DIRECT, and one fdatasync for GroupBytes: as a segment is flushed
type SeqConfig struct {
	Blocks     []int // bytes of one write; multiples of vfs.BlockSize
	Depths     []int // writes in flight
	Rounds     int   // slices of each combination
	FileBytes  int64 // the file that is overwritten from start to end again and again; a multiple of every block
	GroupBytes int64 // bytes of a slice, and of a group; a slice ends early after SliceTime
	SliceTime  time.Duration
}

// The modes of a sequential write.
const (
	Each  = "each"
	Group = "group"
)

// DefaultSeq returns the configuration that walbench seq starts from.
func DefaultSeq() SeqConfig {
	return SeqConfig{
		Blocks:     []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20},
		Depths:     []int{1, 2, 4, 8},
		Rounds:     5,
		FileBytes:  1 << 30,
		GroupBytes: 64 << 20,
		SliceTime:  250 * time.Millisecond,
	}
}

// Validate says what is wrong with a configuration, and what would be right.
func (c SeqConfig) Validate() error {
	if err := checkSweep(c.Blocks, c.Depths, c.Rounds); err != nil {
		return err
	}
	for _, b := range c.Blocks {
		if c.FileBytes < int64(b) || c.FileBytes%int64(b) != 0 {
			return fmt.Errorf("raw: file of %d bytes; want a multiple of every block size, %d too", c.FileBytes, b)
		}
	}
	if c.GroupBytes <= 0 || c.SliceTime <= 0 {
		return fmt.Errorf("raw: group of %d bytes, slice of %v; want more than 0", c.GroupBytes, c.SliceTime)
	}
	return nil
}

func checkSweep(blocks, depths []int, rounds int) error {
	if len(blocks) == 0 || len(depths) == 0 || rounds < 1 {
		return errors.New("raw: no block sizes, depths or rounds; want at least one of each")
	}
	for _, b := range blocks {
		if b <= 0 || b%vfs.BlockSize != 0 {
			return fmt.Errorf("raw: block size %d; want a multiple of %d", b, vfs.BlockSize)
		}
	}
	for _, d := range depths {
		if d < 1 || d > 1024 {
			return fmt.Errorf("raw: %d in flight; want 1 to 1024", d)
		}
	}
	return nil
}

// SeqWrite measures in a file in dir, which it removes.
func SeqWrite(ctx context.Context, fs vfs.FS, dir string, c SeqConfig, progress Progress) (Sweep, error) {
	s, err := OpenSeq(ctx, fs, dir, c, progress)
	if err != nil {
		return Sweep{}, err
	}
	found, err := s.Sweep(ctx, progress)
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return found, err
}

// Seq is a preallocated file whose durable sequential rate can be measured again and again, such as beside something
// else that uses the same disk. Used by one goroutine.
type Seq struct {
	w    *seqWriter
	fs   vfs.FS
	name string
}

// OpenSeq makes the file in dir and fills it.
func OpenSeq(ctx context.Context, fs vfs.FS, dir string, c SeqConfig, progress Progress) (*Seq, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Seq{fs: fs, name: path.Join(dir, "seq"), w: &seqWriter{c: c, files: map[string]vfs.File{}}}
	err := fillFile(ctx, fs, s.name, c.FileBytes, progress)
	for _, mode := range []struct {
		name   string
		method syncmethod.Method
	}{{Each, syncmethod.DirectDsync}, {Group, syncmethod.DirectFdatasync}} {
		if err != nil {
			break
		}
		if f, oerr := mode.method.Open(fs, s.name, vfs.OpenOptions{}); oerr != nil {
			err = noDirect(oerr)
		} else {
			s.w.files[mode.name] = f
		}
	}
	if err != nil {
		_ = s.Close() // it would only say once more that something is wrong with the file
		return nil, err
	}
	return s, nil
}

// Sweep tries every combination of the configuration.
func (s *Seq) Sweep(ctx context.Context, progress Progress) (Sweep, error) {
	c := s.w.c
	all := append(points(Each, c.Blocks, c.Depths), points(Group, c.Blocks, c.Depths)...)
	return sweep(ctx, all, c.Rounds, s.w.slice, progress)
}

// Rate writes in one way, slice after slice, for at least length, and returns the bytes per second of all of them together.
func (s *Seq) Rate(ctx context.Context, p Point, length time.Duration) (float64, error) {
	var bytes int64
	var took time.Duration
	for took < length {
		n, d, err := s.w.stretch(ctx, p)
		if err != nil {
			return 0, err
		}
		bytes, took = bytes+n, took+d
	}
	return float64(bytes) / took.Seconds(), nil
}

// Close closes the file and removes it.
func (s *Seq) Close() error {
	var errs []error
	for _, f := range s.w.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(append(errs, s.fs.Remove(s.name))...)
}

// fillFile makes a file of zeros, in pieces, so that an interrupt does not wait for all of it.
func fillFile(ctx context.Context, fs vfs.FS, name string, size int64, progress Progress) error {
	const piece = 64 << 20
	f, err := fs.Open(name, vfs.OpenOptions{Create: true, Truncate: true, Direct: true})
	if err != nil {
		return noDirect(err)
	}
	for at := int64(0); at < size && err == nil; at += piece {
		progress.report("filling", float64(at), float64(size))
		if err = ctx.Err(); err == nil {
			err = vfs.ZeroFill(f, at, min(piece, size-at), nil)
		}
	}
	return errors.Join(err, f.Close())
}

func noDirect(err error) error {
	if syncmethod.Unsupported(err) {
		return fmt.Errorf("raw: this needs O_DIRECT, which the file system does not have: %w", err)
	}
	return err
}

// seqWriter writes slices, each from where the last one ended.
type seqWriter struct {
	c     SeqConfig
	files map[string]vfs.File
	pos   int64 // of the next slice, before it is rounded to a block
	bufs  buffers
}

func (w *seqWriter) slice(ctx context.Context, p Point) (float64, error) {
	n, took, err := w.stretch(ctx, p)
	if err != nil {
		return 0, err
	}
	return float64(n) / took.Seconds(), nil
}

// stretch writes one slice and returns how much that was and how long it took, the sync at its end included.
func (w *seqWriter) stretch(ctx context.Context, p Point) (int64, time.Duration, error) {
	f, block := w.files[p.Mode], int64(p.Block)
	limit := max(w.c.GroupBytes/block, int64(p.Depth)) // blocks
	blocks := w.c.FileBytes / block
	first := (w.pos + block - 1) / block
	var next atomic.Int64 // of this slice's blocks
	stop := time.Now().Add(w.c.SliceTime)
	var written atomic.Int64
	took, err := parallel(p.Depth, p.Block, &w.bufs, func(buf []byte) (bool, error) {
		i := next.Add(1) - 1
		if i >= limit || i >= int64(p.Depth) && time.Now().After(stop) {
			return false, ctx.Err()
		}
		binary.LittleEndian.PutUint64(buf, uint64(first+i)) // no two blocks alike
		if _, err := f.WriteAt(buf, (first+i)%blocks*block); err != nil {
			return false, err
		}
		written.Add(block)
		return true, nil
	})
	if err != nil {
		return 0, 0, err
	}
	if p.Mode == Group {
		start := time.Now()
		if err := f.Sync(); err != nil {
			return 0, 0, err
		}
		took += time.Since(start)
	}
	w.pos = (first + written.Load()/block) % blocks * block
	return written.Load(), took, nil
}
