package seglog

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// benchLog is a log on the real file system below the directory for temporary files, with n records of size bytes.
func benchLog(b *testing.B, n, size int) *Log {
	b.Helper()
	l, err := Open(Options{FS: vfs.OS(), Dir: filepath.Join(b.TempDir(), "group"), WriteBackBytes: -1}, Checkpoint{})
	must(b, err)
	b.Cleanup(func() { l.Close() })
	appendMany(b, l, n, size, 1000)
	return l
}

func appendMany(b *testing.B, l *Log, n, size, each int) {
	b.Helper()
	rs := make([]Record, 0, each)
	body := make([]byte, size)
	next := l.LastIndex() + 1
	for n > 0 {
		rs = rs[:0]
		for range min(n, each) {
			rs = append(rs, Record{Index: next, Term: 1, Base: id.Offset(next - 1), Data: body, MaxTimestamp: int64(next)})
			next++
		}
		must(b, l.Append(rs))
		n -= len(rs)
	}
}

// BenchmarkAppend is one record of 1 KiB, in calls of several sizes, into the page cache.
func BenchmarkAppend(b *testing.B) {
	for _, each := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("each=%d", each), func(b *testing.B) {
			l := benchLog(b, 1, 1<<10)
			b.SetBytes(1 << 10)
			b.ReportAllocs()
			b.ResetTimer()
			appendMany(b, l, b.N, 1<<10, each)
			b.StopTimer()
			if got := l.Size(); got != int64(b.N+1)<<10 {
				b.Fatalf("%d bytes in the log, want %d", got, int64(b.N+1)<<10)
			}
		})
	}
}

// BenchmarkRead fetches a little at random offsets of a segment of 100,000 rows, and at its end.
func BenchmarkRead(b *testing.B) {
	const rows, size = 100_000, 200
	l := benchLog(b, rows, size)
	rng := rand.New(rand.NewPCG(1, 1))
	dst := make([]byte, 0, 1<<20)
	for _, c := range []struct {
		name string
		from func() id.Offset
		max  int
	}{
		{"random one", func() id.Offset { return id.Offset(rng.IntN(rows)) }, 1},
		{"random 64KiB", func() id.Offset { return id.Offset(rng.IntN(rows - 400)) }, 64 << 10},
		{"newest one", func() id.Offset { return rows - 1 }, 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, err = l.Read(c.from(), c.max, dst[:0]); err != nil || len(dst) == 0 {
					b.Fatal(len(dst), err)
				}
			}
		})
	}
}

// BenchmarkEntries reads 100 entries of 200 bytes at random.
func BenchmarkEntries(b *testing.B) {
	const rows = 100_000
	l := benchLog(b, rows, 200)
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		lo := id.Index(1 + rng.IntN(rows-100))
		if rs, err := l.Entries(lo, lo+100, 1<<20); err != nil || len(rs) != 100 {
			b.Fatal(len(rs), err)
		}
	}
}

// BenchmarkOpen is what a restart costs per group, with ten segments of 100 rows.
func BenchmarkOpen(b *testing.B) {
	o := Options{FS: vfs.OS(), Dir: filepath.Join(b.TempDir(), "group")}
	l, err := Open(o, Checkpoint{})
	must(b, err)
	for range 10 {
		r := Record{Index: l.LastIndex() + 1, Term: 1, Base: l.NextOffset(), Data: []byte("x"), Roll: make([]byte, 500)}
		must(b, l.Append([]Record{r}))
		appendMany(b, l, 99, 100, 99)
	}
	at, err := l.Sync()
	must(b, err)
	must(b, l.Close())
	b.ReportAllocs()
	for b.Loop() {
		l, err := Open(o, at)
		must(b, err)
		must(b, l.Close())
	}
}
