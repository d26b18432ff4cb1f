package syncmethod

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ackline/broker/vfs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestParse(t *testing.T) {
	for _, m := range All() {
		var got Method
		must(t, got.UnmarshalText([]byte(m)))
		if got != m {
			t.Errorf("%q parsed as %q", m, got)
		}
	}
	for _, s := range []string{"", "direct", "Direct-Dsync"} {
		if _, err := Parse(s); err == nil || !strings.Contains(err.Error(), "buffered-rwf-dsync") {
			t.Errorf("Parse(%q) does not say what there is: %v", s, err)
		}
	}
	none := Method("")
	if _, err := none.Open(vfs.NewMem(), "f", vfs.OpenOptions{Create: true}); err == nil {
		t.Error("the zero Method opens files")
	}
	if err := none.Write(nil, nil, 0); err == nil {
		t.Error("the zero Method writes")
	}
}

// TestWhatEachMethodDoes pins the table of the package comment.
func TestWhatEachMethodDoes(t *testing.T) {
	want := map[Method]string{
		DirectDsync:       "write durable, direct",
		DirectFdatasync:   "write, sync, direct",
		DirectRWFDsync:    "write durable, direct",
		BufferedDsync:     "write durable",
		BufferedFdatasync: "write, sync",
		BufferedRWFDsync:  "write durable",
	}
	for _, m := range All() {
		var did []string
		fs := vfs.Inject(vfs.NewMem(), func(op vfs.Op) error {
			switch {
			case op.Kind == vfs.OpWrite && op.Durable:
				did = append(did, "write durable")
			case op.Kind == vfs.OpWrite, op.Kind == vfs.OpSync:
				did = append(did, op.Kind.String())
			}
			return nil
		})
		f, err := m.Open(fs, "f", vfs.OpenOptions{Create: true})
		must(t, err)
		p := vfs.Aligned(vfs.BlockSize)
		must(t, m.Write(f, p, 0))
		got := slices.Clone(did)
		if err := m.Write(f, p[:512], 512); errors.Is(err, syscall.EINVAL) {
			got = append(got, "direct")
		} else {
			must(t, err)
		}
		if s := strings.Join(got, ", "); s != want[m] || m.Direct() != strings.HasSuffix(want[m], "direct") {
			t.Errorf("%s: %s (Direct %v), want %s", m, s, m.Direct(), want[m])
		}
		must(t, f.Close())
	}
}

func TestWriteIsDurable(t *testing.T) {
	for _, m := range All() {
		mem := vfs.NewMem()
		l, err := NewLane(mem, "f", m, vfs.BlockSize, 4*vfs.BlockSize, nil)
		must(t, err)
		must(t, mem.SyncDir("/"))
		for n := range 9 {
			must(t, l.Slice(&fakeClock{}, 1, 0, func(int64) {}))
			for seed := range uint64(20) {
				b, err := vfs.ReadFile(mem.CrashClone(seed), "f")
				must(t, err)
				at := n % 4 * vfs.BlockSize
				if !slices.Equal(b[at:at+vfs.BlockSize], l.buf) {
					t.Fatalf("%s: block %d was acknowledged and lost", m, n)
				}
			}
		}
	}
}

func TestWriteReportsErrors(t *testing.T) {
	for _, m := range All() {
		for _, kind := range []vfs.Kind{vfs.OpWrite, vfs.OpSync} {
			var fail, failed bool
			l, err := NewLane(vfs.Inject(vfs.NewMem(), func(op vfs.Op) error {
				if fail && op.Kind == kind {
					failed = true
					return syscall.EIO
				}
				return nil
			}), "f", m, vfs.BlockSize, 1<<20, nil)
			must(t, err)
			fail = true
			err = l.Slice(&fakeClock{}, 3, 0, func(int64) { failed = false })
			if errors.Is(err, syscall.EIO) != failed {
				t.Errorf("%s: a failed %s gave %v", m, kind, err)
			}
		}
	}
}

// fakeClock advances only when told to.
type fakeClock struct{ now int64 }

func (c *fakeClock) Now() int64          { return c.now }
func (c *fakeClock) SleepUntil(ns int64) { c.now = max(c.now, ns) }

func TestSlicePacing(t *testing.T) {
	c := &fakeClock{now: 1e9}
	var starts []int64
	mem := vfs.NewMem()
	l, err := NewLane(mem, "f", DirectDsync, vfs.BlockSize, 3*vfs.BlockSize+100, nil)
	must(t, err)
	must(t, l.Close())
	var offs []int64
	l, err = NewLane(vfs.Inject(mem, func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && op.Durable {
			starts = append(starts, c.now)
			offs = append(offs, op.Off)
			c.now += 300 // the write takes 300 ns
		}
		return nil
	}), "f", DirectDsync, vfs.BlockSize, 3*vfs.BlockSize+100, nil)
	must(t, err)
	var took []int64
	must(t, l.Slice(c, 3, 1000, func(ns int64) { took = append(took, ns) }))
	must(t, l.Slice(c, 2, 0, func(ns int64) { took = append(took, ns) }))
	if want := []int64{1e9 + 1000, 1e9 + 2300, 1e9 + 3600, 1e9 + 3900, 1e9 + 4200}; !slices.Equal(starts, want) {
		t.Errorf("writes began at %v, want %v", starts, want)
	}
	if want := []int64{300, 300, 300, 300, 300}; !slices.Equal(took, want) {
		t.Errorf("latencies %v, want %v", took, want)
	}
	if want := []int64{0, 4096, 8192, 0, 4096}; !slices.Equal(offs, want) {
		t.Errorf("offsets %v, want %v", offs, want)
	}
	must(t, l.Close())
	if names, _ := mem.List("/"); len(names) != 0 {
		t.Errorf("left behind: %q", names)
	}
}

func TestVerify(t *testing.T) {
	for _, size := range []int{4096, 8192, 5 << 18} { // smaller and larger than what Verify reads at once
		for _, n := range []int{0, 4, 5, 13} {
			mem := vfs.NewMem()
			l, err := NewLane(mem, "f", BufferedFdatasync, size, 5*int64(size), nil)
			must(t, err)
			must(t, l.Slice(&fakeClock{}, n, 0, func(int64) {}))
			must(t, l.Verify())
			f, err := mem.Open("f", vfs.OpenOptions{})
			must(t, err)
			for at := int64(0); at < 5*int64(size); at += int64(size) {
				var b, x [1]byte
				_, err = f.ReadAt(b[:], at+100)
				must(t, err)
				x[0] = b[0] ^ 1
				_, err = f.WriteAt(x[:], at+100)
				must(t, err)
				if err := l.Verify(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("block at %d ", at)) {
					t.Errorf("a flipped bit at %d after %d blocks of %d: %v", at+100, n, size, err)
				}
				_, err = f.WriteAt(b[:], at+100)
				must(t, err)
			}
			must(t, f.Truncate(5*int64(size)-1))
			if l.Verify() == nil {
				t.Error("a truncated file passes")
			}
		}
	}
}

// TestVerifyFindsALostWrite: the file system acknowledges one write and does not make it.
func TestVerifyFindsALostWrite(t *testing.T) {
	mem := vfs.NewMem()
	l, err := NewLane(mem, "f", DirectDsync, 4096, 3*4096, nil)
	must(t, err)
	must(t, l.Slice(&fakeClock{}, 4, 0, func(int64) {}))
	before, err := vfs.ReadFile(mem, "f")
	must(t, err)
	must(t, l.Slice(&fakeClock{}, 1, 0, func(int64) {}))
	f, err := mem.Open("f", vfs.OpenOptions{})
	must(t, err)
	_, err = f.WriteAt(before, 0)
	must(t, err)
	if err := l.Verify(); err == nil || !strings.Contains(err.Error(), "serial 1, the last one acknowledged there is 4") {
		t.Errorf("got %v", err)
	}
}

func TestNewLaneRefuses(t *testing.T) {
	mem := vfs.NewMem()
	for _, c := range []struct {
		size int
		ring int64
	}{{0, 1 << 20}, {100, 1 << 20}, {-4096, 1 << 20}, {8192, 4096}} {
		if _, err := NewLane(mem, "f", DirectDsync, c.size, c.ring, nil); err == nil {
			t.Errorf("size %d, ring %d: accepted", c.size, c.ring)
		}
	}
	mem.SetCapacity(8192)
	if _, err := NewLane(mem, "f", DirectDsync, 4096, 1<<20, nil); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("disk full: %v", err)
	}
	if names, _ := mem.List("/"); len(names) != 0 {
		t.Errorf("left behind: %q", names)
	}
}

// disk returns a file system on which each method takes its own time, and some fail.
func disk(c *fakeClock, took map[Method]int64, fail func(m Method, op vfs.Op) error) (vfs.FS, *vfs.Mem) {
	mem := vfs.NewMem()
	return vfs.Inject(mem, func(op vfs.Op) error {
		m := Method(strings.TrimPrefix(op.Name, "d/probe-"))
		if op.Kind == vfs.OpWrite {
			c.now += took[m] + c.now%7
		}
		if fail != nil {
			return fail(m, op)
		}
		return nil
	}), mem
}

func TestProbeChoosesTheFastest(t *testing.T) {
	for _, c := range []struct {
		name string
		took map[Method]int64
		want Method
	}{
		{"all alike", map[Method]int64{DirectDsync: 50_000, DirectFdatasync: 50_000, DirectRWFDsync: 50_000, BufferedDsync: 50_000,
			BufferedFdatasync: 50_000, BufferedRWFDsync: 50_000}, DirectDsync},
		{"one clearly best", map[Method]int64{DirectDsync: 50_000, DirectFdatasync: 50_000, DirectRWFDsync: 50_000,
			BufferedDsync: 50_000, BufferedFdatasync: 20_000, BufferedRWFDsync: 50_000}, BufferedFdatasync},
		{"a tie goes to the earlier", map[Method]int64{DirectDsync: 90_000, DirectFdatasync: 52_000, DirectRWFDsync: 50_000,
			BufferedDsync: 80_000, BufferedFdatasync: 80_000, BufferedRWFDsync: 80_000}, DirectFdatasync},
		{"beyond a tie", map[Method]int64{DirectDsync: 90_000, DirectFdatasync: 53_000, DirectRWFDsync: 50_000,
			BufferedDsync: 80_000, BufferedFdatasync: 80_000, BufferedRWFDsync: 80_000}, DirectRWFDsync},
	} {
		for _, cadence := range []time.Duration{0, 200 * time.Microsecond} {
			t.Run(fmt.Sprint(c.name, " ", cadence), func(t *testing.T) {
				clock := &fakeClock{}
				fs, mem := disk(clock, c.took, nil)
				must(t, mem.MkdirAll("d"))
				best, table, err := probe(fs, "d", cadence, clock)
				must(t, err)
				if best != c.want {
					t.Errorf("chose %s, want %s:\n%v", best, c.want, table)
				}
				for i, r := range table {
					if r.Method != All()[i] || r.Err != nil || r.Samples < probeSlice*probeLeast ||
						int64(r.P50)/1000 != c.took[r.Method]/1000 || r.P99 < r.P50 {
						t.Errorf("row %d: %v", i, r)
					}
				}
				if names, _ := mem.List("d"); len(names) != 0 {
					t.Errorf("left behind: %q", names)
				}
			})
		}
	}
}

// TestProbeBoundsItsTime: on a disk that takes 30 ms it stops after the least number of rounds.
func TestProbeBoundsItsTime(t *testing.T) {
	clock := &fakeClock{}
	took := map[Method]int64{}
	for _, m := range All() {
		took[m] = 30e6
	}
	fs, mem := disk(clock, took, nil)
	must(t, mem.MkdirAll("d"))
	_, table, err := probe(fs, "d", 0, clock)
	must(t, err)
	for _, r := range table {
		if r.Samples != probeSlice*probeLeast {
			t.Errorf("%v: %d samples, want %d", r.Method, r.Samples, probeSlice*probeLeast)
		}
	}
}

func TestProbeLeavesOutWhatIsNotSupported(t *testing.T) {
	clock := &fakeClock{}
	fills := map[string]int{}
	fs, mem := disk(clock, nil, func(m Method, op vfs.Op) error {
		if op.Kind == vfs.OpWrite && op.Durable && m != BufferedDsync {
			return syscall.EOPNOTSUPP
		}
		if m.Direct() && op.Kind == vfs.OpOpen && !op.Create {
			return syscall.EINVAL
		}
		// The direct fill fails too, at its first write of a MiB.
		if n := fills[op.Name]; op.Kind == vfs.OpWrite && op.Len == 1<<20 {
			if fills[op.Name]++; n == 0 {
				return syscall.EINVAL
			}
		}
		return nil
	})
	must(t, mem.MkdirAll("d"))
	best, table, err := probe(fs, "d", 0, clock)
	must(t, err)
	if best != BufferedDsync {
		t.Errorf("chose %s", best)
	}
	for _, r := range table {
		works := r.Method == BufferedDsync || r.Method == BufferedFdatasync
		if works != (r.Err == nil) || works != (r.Samples > 0) {
			t.Errorf("%v", r)
		}
	}
	if names, _ := mem.List("d"); len(names) != 0 {
		t.Errorf("left behind: %q", names)
	}
}

func TestProbeFails(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EINVAL} {
		for _, kind := range []vfs.Kind{vfs.OpOpen, vfs.OpWrite, vfs.OpSync} {
			clock := &fakeClock{}
			n := 0
			fs, mem := disk(clock, nil, func(_ Method, op vfs.Op) error {
				if op.Kind == kind {
					if n++; n > 3 || errno == syscall.EINVAL {
						return errno
					}
				}
				return nil
			})
			must(t, mem.MkdirAll("d"))
			_, _, err := probe(fs, "d", 0, clock)
			if errno != syscall.EINVAL && !errors.Is(err, errno) || err == nil {
				t.Errorf("%s fails with %v, Probe with %v", kind, errno, err)
			}
			if names, _ := mem.List("d"); len(names) != 0 {
				t.Errorf("left behind: %q", names)
			}
		}
	}
}

// TestProbeOnThisDisk runs the real thing, in about two seconds.
func TestProbeOnThisDisk(t *testing.T) {
	dir := t.TempDir()
	best, table, err := Probe(vfs.OS(), dir, 200*time.Microsecond)
	must(t, err)
	for _, r := range table {
		t.Log(r)
	}
	if _, err := Parse(string(best)); err != nil {
		t.Error(err)
	}
	if names, _ := vfs.OS().List(dir); len(names) != 0 {
		t.Errorf("left behind: %q", names)
	}
}

func TestPacerIsNeverEarly(t *testing.T) {
	p, err := NewPacer()
	must(t, err)
	defer p.Close()
	// By the kernel's clock: a pre-emption within NewPacer leaves Now behind it.
	kernel := func() int64 {
		var ts unix.Timespec
		must(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts))
		return ts.Nano()
	}
	for i := range int64(50) {
		at := kernel() + i*10_000
		p.SleepUntil(at)
		if now := kernel(); now < at {
			t.Fatalf("woke %d ns early", at-now)
		}
	}
	p.SleepUntil(0)
}

func BenchmarkWriteOverhead(b *testing.B) {
	l, err := NewLane(vfs.NewMem(), "f", DirectDsync, vfs.BlockSize, 1<<20, nil)
	must(b, err)
	p, err := NewPacer()
	must(b, err)
	defer p.Close()
	for b.Loop() {
		must(b, l.Slice(p, 1, 0, func(int64) {}))
	}
}
