package raw

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// watch is a file system that keeps what is done to it, and can fail.
type watch struct {
	*vfs.Mem
	vfs.FS
	mu   sync.Mutex
	ops  []vfs.Op              // mu
	fail func(op vfs.Op) error // may be nil; set before use
}

func newWatch(t testing.TB) *watch {
	w := &watch{Mem: vfs.NewMem()}
	must(t, w.Mem.MkdirAll("d"))
	w.FS = vfs.Inject(w.Mem, func(op vfs.Op) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ops = append(w.ops, op)
		if w.fail != nil {
			return w.fail(op)
		}
		return nil
	})
	return w
}

func (w *watch) wantEmpty(t *testing.T) {
	t.Helper()
	if names, err := w.Mem.List("d"); len(names) != 0 || err != nil {
		t.Errorf("left behind: %q, %v", names, err)
	}
}

// small is a configuration that takes no time.
func small() Config {
	return Config{Methods: []syncmethod.Method{syncmethod.DirectDsync, syncmethod.BufferedFdatasync, syncmethod.DirectRWFDsync},
		Sizes: []int{4096, 8192}, Cadences: []time.Duration{0, 10 * time.Microsecond}, Count: 50, Writers: 2, RingBytes: 64 << 10}
}

func TestRunMeasuresEveryRow(t *testing.T) {
	w := newWatch(t)
	c := small()
	var written int64
	var phases []string
	rows, err := Run(t.Context(), w.FS, "d", c, func() int64 { written += 1000; return written }, func(phase string, f float64) {
		if f < 0 || f > 1 {
			t.Errorf("%s: fraction %v", phase, f)
		}
		if len(phases) == 0 || phases[len(phases)-1] != phase {
			phases = append(phases, phase)
		}
	})
	must(t, err)
	w.wantEmpty(t)
	if want := []string{"filling", "measuring", "verifying"}; !slices.Equal(phases, want) {
		t.Errorf("phases %q, want %q", phases, want)
	}
	i := 0
	user := map[string]int64{}
	for _, m := range c.Methods {
		for _, size := range c.Sizes {
			for _, cadence := range c.Cadences {
				r := rows[i]
				i++
				if r.Method != m || r.Size != size || r.Cadence != cadence || r.Writers != 2 || r.Err != nil {
					t.Errorf("row %+v, want %s %d %v", r, m, size, cadence)
				}
				// 50 writes by 2 writers: 25 each, in 2 slices of 13.
				if n := r.Latency.TotalCount(); n != 52 || r.Slices != 2 {
					t.Errorf("%d samples in %d slices", n, r.Slices)
				}
				if want := int64(2 * 2 * (13 + 1) * size); r.UserBytes != want {
					t.Errorf("%d bytes of ours, want %d", r.UserBytes, want)
				}
				if r.DeviceBytes != 2000 {
					t.Errorf("%d bytes of the device, want 2000", r.DeviceBytes)
				}
				if r.Elapsed < 26*cadence || r.PerSecond() <= 0 {
					t.Errorf("elapsed %v, %v/s", r.Elapsed, r.PerSecond())
				}
				user[fmt.Sprintf("d/%s-%d", m, size)] += r.UserBytes + 2*(warmup+1)*int64(size)
			}
		}
	}
	if i != len(rows) {
		t.Errorf("%d rows, want %d", len(rows), i)
	}
	// What the rows claim is what was written.
	got := map[string]int64{}
	for _, op := range w.ops {
		if op.Kind == vfs.OpWrite && op.Len < c.RingBytes { // larger ones fill
			got[op.Name[:strings.LastIndexByte(op.Name, '-')]] += op.Len
		}
	}
	for name, want := range user {
		if got[name] != want {
			t.Errorf("%s: %d bytes written, %d claimed", name, got[name], want)
		}
	}
}

// TestRunTakesTurns: slices go A B C, C B A, A B C, so that drift hits all alike.
func TestRunTakesTurns(t *testing.T) {
	w := newWatch(t)
	c := small()
	c.Writers, c.Sizes, c.Cadences = 1, c.Sizes[:1], c.Cadences[:1]
	_, err := Run(t.Context(), w.FS, "d", c, nil, nil)
	must(t, err)
	var got []string
	n := 0
	for _, op := range w.ops {
		if op.Kind == vfs.OpWrite && op.Len == 4096 {
			if n++; n <= len(c.Methods)*(warmup+1) {
				continue // warm-up
			}
			if name := path.Base(op.Name); (n-1)%11 == 0 { // slices of 10, and 1 that does not count
				got = append(got, name[:1]+name[strings.IndexByte(name, '-')+1:][:1])
			}
		}
	}
	want := strings.Fields("dd bf dr dr bf dd dd bf dr dr bf dd dd bf dr")
	if !slices.Equal(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
}

func TestRunByTime(t *testing.T) {
	w := newWatch(t)
	c := small()
	c.Count, c.For, c.Writers = 0, 120*time.Millisecond, 1
	c.Sizes, c.Methods = c.Sizes[:1], c.Methods[:2]
	c.Cadences = []time.Duration{0, 5 * time.Millisecond}
	rows, err := Run(t.Context(), w.FS, "d", c, nil, nil)
	must(t, err)
	for _, r := range rows {
		if r.Elapsed < c.For || r.Slices < 2 && r.Cadence > 0 {
			t.Errorf("%v: %v in %d slices", r.Cadence, r.Elapsed, r.Slices)
		}
	}
}

func TestRunLeavesOutWhatIsNotSupported(t *testing.T) {
	for name, fail := range map[string]func(op vfs.Op) error{
		"at a write": func(op vfs.Op) error {
			if op.Kind == vfs.OpWrite && op.Durable && strings.Contains(op.Name, "rwf") {
				return syscall.EOPNOTSUPP
			}
			return nil
		},
		"at open": func(op vfs.Op) error {
			if op.Kind == vfs.OpOpen && strings.Contains(op.Name, "rwf") {
				return syscall.EINVAL
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatch(t)
			w.fail = fail
			rows, err := Run(t.Context(), w.FS, "d", small(), nil, nil)
			must(t, err)
			w.wantEmpty(t)
			for _, r := range rows {
				if no := r.Method == syncmethod.DirectRWFDsync; no != (r.Err != nil) || no == (r.Latency.TotalCount() > 0) {
					t.Errorf("%s: %v, %d samples", r.Method, r.Err, r.Latency.TotalCount())
				}
			}
		})
	}
}

func TestRunFails(t *testing.T) {
	for _, kind := range []vfs.Kind{vfs.OpOpen, vfs.OpWrite, vfs.OpSync, vfs.OpRead} {
		for _, after := range []int{0, 5, 100} {
			w := newWatch(t)
			n := 0
			w.fail = func(op vfs.Op) error {
				if op.Kind == kind {
					if n++; n > after {
						return syscall.EIO
					}
				}
				return nil
			}
			_, err := Run(t.Context(), w.FS, "d", small(), nil, nil)
			if n > after && !errors.Is(err, syscall.EIO) {
				t.Errorf("%s fails after %d, Run with %v", kind, after, err)
			}
			w.wantEmpty(t)
		}
	}
}

func TestRunIsInterrupted(t *testing.T) {
	for after := 1; after < 2000; after += 97 {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWatch(t)
		n := 0
		w.fail = func(op vfs.Op) error {
			if n++; n == after {
				cancel()
			}
			return nil
		}
		_, err := Run(ctx, w.FS, "d", small(), nil, nil)
		// After the last check there are only files to read back, close and remove.
		if err != nil && !errors.Is(err, context.Canceled) || err == nil && n > after+100 {
			t.Errorf("interrupted at operation %d, ended at %d with %v", after, n, err)
		}
		w.wantEmpty(t)
		cancel()
	}
}

// lossy acknowledges one write to files that it never makes.
type lossy struct {
	vfs.FS
	lost *int
}

type lossyFile struct {
	vfs.File
	lost *int
}

func (l lossy) Open(name string, o vfs.OpenOptions) (vfs.File, error) {
	f, err := l.FS.Open(name, o)
	if err != nil || !o.Dsync {
		return f, err
	}
	return &lossyFile{f, l.lost}, nil
}

func (f *lossyFile) WriteAt(p []byte, off int64) (int, error) {
	if *f.lost--; *f.lost == 0 {
		return len(p), nil
	}
	return f.File.WriteAt(p, off)
}

func TestRunFindsALostWrite(t *testing.T) {
	c := small()
	c.Methods, c.Writers, c.Sizes, c.Cadences = c.Methods[:1], 1, c.Sizes[:1], c.Cadences[:1]
	mem := vfs.NewMem()
	must(t, mem.MkdirAll("d"))
	lost := warmup + 1 + 50 // among the last ones, which are not overwritten
	_, err := Run(t.Context(), lossy{mem, &lost}, "d", c, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "reported durable") {
		t.Errorf("got %v", err)
	}
}

func TestLatencyBeyondTheHistogram(t *testing.T) {
	w := &writer{jobs: make(chan job), answers: make(chan answer)}
	go func() {
		for range w.jobs {
			w.answers <- answer{samples: []int64{5, 2 * HighestLatency}}
		}
	}()
	r := &rig{c: small(), device: func() int64 { return 0 }, rows: []Row{{Latency: NewHistogram()}}, per: []int{2}, byRow: []int{0},
		lanes: []*lane{{files: make([]*syncmethod.Lane, 1)}}, writers: []*writer{w}}
	if err := r.slice(0); err == nil || !strings.Contains(err.Error(), "20m0s") {
		t.Errorf("got %v", err)
	}
	close(w.jobs)
}

func TestPercentile(t *testing.T) {
	for _, c := range []struct {
		n  int64
		p  float64
		ok bool
	}{{199, 50, false}, {200, 50, true}, {9_999, 99, false}, {10_000, 99, true}, {99_999, 99.9, false}, {100_000, 99.9, true}} {
		r := Row{Latency: NewHistogram()}
		must(t, r.Latency.RecordValues(50_000, c.n))
		if d, ok := r.Percentile(c.p); ok != c.ok || ok && (d < 49_950 || d > 50_050) {
			t.Errorf("p%v of %d: %v, %v", c.p, c.n, d, ok)
		}
	}
	if _, ok := (Row{}).Percentile(50); ok {
		t.Error("a row without samples has a median")
	}
	if a, ok := (Row{UserBytes: 100, DeviceBytes: 250}).Amplification(); a != 2.5 || !ok {
		t.Errorf("amplification %v, %v", a, ok)
	}
	if _, ok := (Row{UserBytes: 100}).Amplification(); ok {
		t.Error("a silent device amplifies")
	}
	if (Row{}).PerSecond() != 0 {
		t.Error("writes per second of nothing")
	}
}

func TestHistogramKeepsThreeDigits(t *testing.T) {
	for _, ns := range []int64{1_000, 12_345, 50_123, 1_234_567, 599e9} {
		h := NewHistogram()
		must(t, h.RecordValue(ns))
		if got := h.ValueAtPercentile(50); float64(got) > float64(ns)*1.001 || float64(got) < float64(ns)*0.999 {
			t.Errorf("%d recorded, %d read", ns, got)
		}
	}
}

func TestValidate(t *testing.T) {
	must(t, Default().Validate())
	for name, spoil := range map[string]func(c *Config){
		"no methods":             func(c *Config) { c.Methods = nil },
		"no sizes":               func(c *Config) { c.Sizes = nil },
		"no cadences":            func(c *Config) { c.Cadences = nil },
		"an unknown method":      func(c *Config) { c.Methods = []syncmethod.Method{"x"} },
		"neither count nor time": func(c *Config) { c.Count = 0 },
		"both":                   func(c *Config) { c.For = 1 },
		"negative":               func(c *Config) { c.Count = -1 },
		"no writers":             func(c *Config) { c.Writers = 0 },
		"many writers":           func(c *Config) { c.Writers = 1e6 },
		"a crooked size":         func(c *Config) { c.Sizes = []int{4000} },
		"a large size":           func(c *Config) { c.Sizes = []int{32 << 20} },
		"a negative cadence":     func(c *Config) { c.Cadences = []time.Duration{-1} },
	} {
		c := Default()
		spoil(&c)
		if c.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := Run(t.Context(), vfs.NewMem(), "/", c, nil, nil); err == nil {
			t.Errorf("%s: ran", name)
		}
	}
	if got, want := Default().Needs(), int64(6*16<<20); got != want {
		t.Errorf("needs %d, want %d", got, want)
	}
}

func TestPerSlice(t *testing.T) {
	for _, c := range []struct {
		c    Config
		took time.Duration
		want int
	}{
		{Config{Count: 10_000, Writers: 1}, 0, 50},
		{Config{Count: 10_000, Writers: 8}, 0, 10},
		{Config{Count: 5, Writers: 1}, 0, 5},
		{Config{Count: 1, Writers: 4}, 0, 1},
		{Config{For: time.Second, Writers: 1}, 100 * time.Microsecond, 500},
		{Config{For: time.Second, Writers: 1}, time.Second, sliceMin},
		{Config{For: time.Second, Writers: 1}, 0, sliceMax},
	} {
		if got := c.c.perSlice(c.took); got != c.want {
			t.Errorf("%+v, %v: %d, want %d", c.c, c.took, got, c.want)
		}
	}
}
