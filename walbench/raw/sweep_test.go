package raw

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ackline/broker/vfs"
)

func TestSweepTakesTurnsAndConfirms(t *testing.T) {
	var calls []string
	rate := map[string]float64{"each 1": 10, "each 2": 30, "group 1": 50, "group 2": 40}
	ps := append(points("each", []int{1, 2}, []int{1}), points("group", []int{1, 2}, []int{1})...)
	confirming := false
	s, err := sweep(t.Context(), ps, 3, func(_ context.Context, p Point) (float64, error) {
		name := fmt.Sprint(p.Mode, " ", p.Block)
		calls = append(calls, name)
		if confirming {
			return rate[name] / 2, nil // the first look was lucky
		}
		if len(calls) == 12 {
			confirming = true
		}
		if len(calls) == 4 || len(calls) == 8 {
			return 1000, nil // an outlier must not win
		}
		return rate[name], nil
	}, nil)
	must(t, err)
	e1, e2, g1, g2 := "each 1", "each 2", "group 1", "group 2"
	want := []string{e1, e2, g1, g2, g2, g1, e2, e1, e1, e2, g1, g2, e2, g1, g1, e2, e2, g1}
	if !slices.Equal(calls, want) {
		t.Errorf("order\n%q, want\n%q", calls, want)
	}
	if len(s.Best) != 2 || s.Best[0].Block != 2 || s.Best[0].Rate() != 15 || len(s.Best[0].Rates) != 3 {
		t.Errorf("best %+v", s.Best)
	}
	if s.Points[1].Rate() != 30 || s.Points[0].Rate() != 10 {
		t.Errorf("points %+v", s.Points)
	}
}

func TestRateIsTheMedian(t *testing.T) {
	for _, c := range []struct {
		rates []float64
		want  float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 100}, 3}} {
		p := Point{Rates: c.rates}
		if got := p.Rate(); got != c.want {
			t.Errorf("%v: %v, want %v", c.rates, got, c.want)
		}
	}
}

func smallSeq() SeqConfig {
	return SeqConfig{Blocks: []int{4096, 16384}, Depths: []int{1, 3}, Rounds: 2, FileBytes: 10 * 16384, GroupBytes: 4 * 16384, SliceTime: time.Hour}
}

func TestSeqWrite(t *testing.T) {
	w := newWatch(t)
	c := smallSeq()
	s, err := SeqWrite(t.Context(), w.FS, "d", c, nil)
	must(t, err)
	w.wantEmpty(t)
	if len(s.Points) != 8 || len(s.Best) != 2 || s.Best[0].Mode != "each" || s.Best[1].Mode != "group" {
		t.Fatalf("%+v", s)
	}
	for _, p := range append(s.Points, s.Best...) {
		if len(p.Rates) != 2 || p.Rate() <= 0 {
			t.Errorf("%+v", p)
		}
	}
	// 20 slices of 64 KiB, a half of them durable write by write and a half by one sync, after the fill's sync.
	var durable, plain int64
	syncs := -1
	blocks := map[int64]int{}
	for _, op := range w.ops {
		switch {
		case op.Kind == vfs.OpSync:
			syncs++
		case op.Kind == vfs.OpWrite && syncs >= 0 && op.Durable:
			durable += op.Len
		case op.Kind == vfs.OpWrite && syncs >= 0:
			plain += op.Len
		}
		if op.Kind == vfs.OpWrite && syncs >= 0 {
			for at := op.Off; at < op.Off+op.Len; at += 4096 {
				blocks[at]++
			}
		}
	}
	if durable != 10*c.GroupBytes || plain != 10*c.GroupBytes || syncs != 10 {
		t.Errorf("%d bytes durable by themselves, %d by %d syncs", durable, plain, syncs)
	}
	// 20 slices of 4/10 of the file go round it 8 times; a slice may begin a little later, at a whole block.
	for at := int64(0); at < c.FileBytes; at += 4096 {
		if n := blocks[at]; n < 7 || n > 9 {
			t.Errorf("block at %d was written %d times, want about 8", at, n)
		}
	}
}

// TestSeqSliceEndsInTime: with no time at all each writer still writes one block.
func TestSeqSliceEndsInTime(t *testing.T) {
	w := newWatch(t)
	c := smallSeq()
	c.SliceTime, c.Blocks, c.Depths, c.Rounds = 1, []int{4096}, []int{3}, 1
	_, err := SeqWrite(t.Context(), w.FS, "d", c, nil)
	must(t, err)
	n := 0
	for _, op := range w.ops {
		if op.Kind == vfs.OpWrite && op.Len == 4096 {
			n++
		}
	}
	if n != 4*3 {
		t.Errorf("%d blocks in 4 slices of 3 writers", n)
	}
}

// TestSeqRate: one file serves many measurements, each of whole slices that together take as long as was asked.
func TestSeqRate(t *testing.T) {
	w := newWatch(t)
	c := smallSeq()
	s, err := OpenSeq(t.Context(), w.FS, "d", c, nil)
	must(t, err)
	syncs := func() (n int) {
		for _, op := range w.ops {
			if op.Kind == vfs.OpSync {
				n++
			}
		}
		return n
	}
	filled := syncs()
	for i := range 3 {
		began := time.Now()
		rate, err := s.Rate(t.Context(), Point{Mode: Group, Block: 4096, Depth: 3}, 2*time.Millisecond)
		must(t, err)
		if took := time.Since(began); took < 2*time.Millisecond || rate < float64(c.GroupBytes)/took.Seconds() {
			t.Errorf("%v bytes/s in %v, want at least one slice and 2 ms", rate, took)
		}
		if n := syncs() - filled; n <= i {
			t.Errorf("%d syncs after %d measurements: what was written was not made durable", n, i+1)
		}
	}
	w.fail = func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			return syscall.EIO
		}
		return nil
	}
	if rate, err := s.Rate(t.Context(), Point{Mode: Group, Block: 4096, Depth: 1}, time.Millisecond); !errors.Is(err, syscall.EIO) {
		t.Errorf("a sync that fails: %v bytes/s, %v", rate, err)
	}
	must(t, s.Close())
	w.wantEmpty(t)
}

func TestSeqWriteFails(t *testing.T) {
	for _, kind := range []vfs.Kind{vfs.OpOpen, vfs.OpWrite, vfs.OpSync} {
		for _, errno := range []syscall.Errno{syscall.EIO, syscall.EINVAL} {
			for _, after := range []int{0, 1, 2, 9} {
				w := newWatch(t)
				n := 0
				w.fail = func(op vfs.Op) error {
					if op.Kind == kind {
						if n++; n > after {
							return errno
						}
					}
					return nil
				}
				_, err := SeqWrite(t.Context(), w.FS, "d", smallSeq(), nil)
				if n > after && !errors.Is(err, errno) {
					t.Errorf("%s fails after %d with %v, SeqWrite with %v", kind, after, errno, err)
				}
				if kind == vfs.OpOpen && errno == syscall.EINVAL && n > after && !strings.Contains(err.Error(), "O_DIRECT") {
					t.Errorf("without O_DIRECT: %v", err)
				}
				w.wantEmpty(t)
			}
		}
	}
}

func TestSweepsAreInterrupted(t *testing.T) {
	for after := 1; after < 100; after += 9 {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWatch(t)
		n := 0
		w.fail = func(op vfs.Op) error {
			if n++; n == after {
				cancel()
			}
			return nil
		}
		if _, err := SeqWrite(ctx, w.FS, "d", smallSeq(), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted at operation %d, ended at %d with %v", after, n, err)
		}
		w.wantEmpty(t)
		cancel()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := newWatch(t)
	if err := RandomFile(ctx, w.FS, "d/f", 1<<20, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("RandomFile: %v", err)
	}
	must(t, RandomFile(t.Context(), w.FS, "d/f", 1<<20, nil))
	if _, err := ReadFile(ctx, w.FS, "d/f", DefaultRead(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("ReadFile: %v", err)
	}
}

func TestReadFileReadsAllOfItOnce(t *testing.T) {
	for _, size := range []int64{1, 4096, 100_000, 1<<20 + 4096} {
		for _, limit := range []int64{0, 50_000, 1 << 30} {
			w := newWatch(t)
			must(t, RandomFile(t.Context(), w.FS, "d/f", size, nil))
			w.ops = nil
			c := ReadConfig{Blocks: []int{4096, 65536}, Depths: []int{1, 4}, Rounds: 2, Limit: limit}
			s, err := ReadFile(t.Context(), w.FS, "d/f", c, nil)
			must(t, err)
			if len(s.Points) != 4 || len(s.Best) != 1 || s.Best[0].Rate() <= 0 {
				t.Fatalf("%+v", s)
			}
			want := vfs.RoundUp(size)
			if limit > 0 {
				want = vfs.RoundUp(min(size, limit))
			}
			times := map[int64]int{}
			for _, op := range w.ops {
				if op.Kind == vfs.OpRead {
					for at := op.Off; at < op.Off+op.Len; at += 4096 {
						times[at]++
					}
				}
			}
			for at, n := range times {
				if n != 4*2+2 { // points × rounds, and the best one's rounds again
					t.Errorf("size %d: block at %d read %d times", size, at, n)
				}
			}
			if int64(len(times))*4096 != want {
				t.Errorf("size %d, limit %d: %d blocks read, want %d", size, limit, len(times), want/4096)
			}
		}
	}
}

func TestReadFileFails(t *testing.T) {
	w := newWatch(t)
	if _, err := ReadFile(t.Context(), w.FS, "d/f", DefaultRead(), nil); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("missing: %v", err)
	}
	must(t, RandomFile(t.Context(), w.FS, "d/f", 0, nil))
	if _, err := ReadFile(t.Context(), w.FS, "d/f", DefaultRead(), nil); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("empty: %v", err)
	}
	must(t, RandomFile(t.Context(), w.FS, "d/f", 1<<20, nil))
	w.fail = func(op vfs.Op) error {
		if op.Kind == vfs.OpRead && op.Off > 0 {
			return syscall.EIO
		}
		return nil
	}
	if _, err := ReadFile(t.Context(), w.FS, "d/f", DefaultRead(), nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("EIO: %v", err)
	}
	w.fail = func(op vfs.Op) error {
		if op.Kind == vfs.OpOpen {
			return syscall.EINVAL
		}
		return nil
	}
	if _, err := ReadFile(t.Context(), w.FS, "d/f", DefaultRead(), nil); err == nil || !strings.Contains(err.Error(), "O_DIRECT") {
		t.Errorf("no O_DIRECT: %v", err)
	}
	// A file that shrinks while it is read.
	w.fail = func(op vfs.Op) error {
		if op.Kind == vfs.OpRead && op.Off > 0 {
			f, err := w.Mem.Open("d/f", vfs.OpenOptions{})
			if err == nil {
				err = f.Truncate(4096)
			}
			return err
		}
		return nil
	}
	if _, err := ReadFile(t.Context(), w.FS, "d/f", DefaultRead(), nil); err == nil {
		t.Error("a file that shrinks gives a rate")
	}
}

func TestSweepValidate(t *testing.T) {
	must(t, DefaultSeq().Validate())
	must(t, DefaultRead().Validate())
	for name, spoil := range map[string]func(c *SeqConfig){
		"no blocks":       func(c *SeqConfig) { c.Blocks = nil },
		"no depths":       func(c *SeqConfig) { c.Depths = nil },
		"no rounds":       func(c *SeqConfig) { c.Rounds = 0 },
		"a crooked block": func(c *SeqConfig) { c.Blocks = []int{1000} },
		"depth 0":         func(c *SeqConfig) { c.Depths = []int{0} },
		"a crooked file":  func(c *SeqConfig) { c.FileBytes = 12 << 20 },
		"a small file":    func(c *SeqConfig) { c.FileBytes = 0 },
		"no group":        func(c *SeqConfig) { c.GroupBytes = 0 },
		"no time":         func(c *SeqConfig) { c.SliceTime = 0 },
	} {
		c := DefaultSeq()
		spoil(&c)
		if c.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := SeqWrite(t.Context(), vfs.NewMem(), "/", c, nil); err == nil {
			t.Errorf("%s: ran", name)
		}
	}
	c := DefaultRead()
	c.Limit = -1
	if _, err := ReadFile(t.Context(), vfs.NewMem(), "f", c, nil); err == nil || errors.Is(err, syscall.ENOENT) {
		t.Errorf("a negative limit: %v", err)
	}
}

func TestRandomFile(t *testing.T) {
	w := newWatch(t)
	name := path.Join("d", "f")
	must(t, RandomFile(t.Context(), w.FS, name, 3<<20+100, nil))
	must(t, w.Mem.SyncDir("/"))
	must(t, w.Mem.SyncDir("d"))
	b, err := vfs.ReadFile(w.Mem.CrashClone(1), name)
	must(t, err)
	if len(b) != 3<<20+100 || slices.Equal(b[:1<<20], b[1<<20:2<<20]) {
		t.Errorf("%d bytes, or the same MiB twice", len(b))
	}
}
