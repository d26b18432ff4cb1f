package raw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"ackline/broker/vfs"
)

// ReadConfig says how ReadFile looks for the best rate at which a file can be read.
type ReadConfig struct {
	Blocks []int // bytes of one read; multiples of vfs.BlockSize
	Depths []int // reads in flight
	Rounds int   // how often each combination reads the file
	Limit  int64 // bytes from the start of the file that are read; 0 for all
}

// DefaultRead returns the configuration that walbench read starts from.
func DefaultRead() ReadConfig {
	return ReadConfig{Blocks: []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20}, Depths: []int{1, 2, 4, 8}, Rounds: 3}
}

// Validate says what is wrong with a configuration, and what would be right.
func (c ReadConfig) Validate() error {
	if c.Limit < 0 {
		return fmt.Errorf("raw: limit %d; want 0 or more bytes", c.Limit)
	}
	return checkSweep(c.Blocks, c.Depths, c.Rounds)
}

// ReadFile reads a file from start to end with O_DIRECT in every combination of block size and depth: the rate
// that a recovery can hope for. The page cache has no part in it, but a disk's or hypervisor's own cache may.
func ReadFile(ctx context.Context, fs vfs.FS, name string, c ReadConfig, progress Progress) (Sweep, error) {
	if err := c.Validate(); err != nil {
		return Sweep{}, err
	}
	f, err := fs.Open(name, vfs.OpenOptions{ReadOnly: true, Direct: true})
	if err != nil {
		return Sweep{}, noDirect(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return Sweep{}, err
	}
	if c.Limit > 0 {
		size = min(size, c.Limit)
	}
	if size == 0 {
		return Sweep{}, fmt.Errorf("raw: %s is empty; want a file with something to read", name)
	}
	var bufs buffers
	defer bufs.release()
	return sweep(ctx, points("read", c.Blocks, c.Depths), c.Rounds, func(ctx context.Context, p Point) (float64, error) {
		return readOnce(ctx, f, size, p, &bufs)
	}, progress)
}

// readOnce reads [0, size) and returns bytes per second.
func readOnce(ctx context.Context, f vfs.File, size int64, p Point, bufs *buffers) (float64, error) {
	var next, got atomic.Int64
	took, err := parallel(p.Depth, p.Block, bufs, func(buf []byte) (bool, error) {
		at := next.Add(int64(len(buf))) - int64(len(buf))
		if at >= size || ctx.Err() != nil {
			return false, ctx.Err()
		}
		want := min(int64(len(buf)), size-at)
		n, err := f.ReadAt(buf[:vfs.RoundUp(want)], at)
		got.Add(min(int64(n), want))
		if errors.Is(err, io.EOF) && int64(n) >= want {
			err = nil // the file ends inside a block
		}
		return true, err
	})
	if err != nil {
		return 0, err
	}
	if got.Load() != size {
		return 0, fmt.Errorf("raw: read %d bytes of %d", got.Load(), size)
	}
	return float64(size) / took.Seconds(), nil
}

// RandomFile creates a file of incompressible bytes for ReadFile, durable, in pieces.
func RandomFile(ctx context.Context, fs vfs.FS, name string, size int64, progress Progress) error {
	const piece = 1 << 20
	f, err := fs.Open(name, vfs.OpenOptions{Create: true, Truncate: true, Direct: true})
	if err != nil {
		return noDirect(err)
	}
	var bufs buffers
	defer bufs.release()
	buf := bufs.get(0, piece)
	for at := int64(0); at < vfs.RoundUp(size) && err == nil; at += piece {
		progress.report("filling", float64(at), float64(size))
		copy(buf, fmt.Sprintf("%020d", at))
		if err = ctx.Err(); err == nil {
			_, err = f.WriteAt(buf[:min(piece, vfs.RoundUp(size)-at)], at)
		}
	}
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
