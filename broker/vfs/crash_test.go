package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

// durableFile creates a file of n pages, page i filled with byte i+1, that is durable in every respect.
func durableFile(t testing.TB, m *Mem, name string, n int, o OpenOptions) File {
	t.Helper()
	o.Create = true
	f := open(t, m, name, o)
	for i := range n {
		p := Aligned(pageSize)
		for j := range p {
			p[j] = byte(i + 1)
		}
		write(t, f, p, int64(i)*pageSize)
	}
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	return f
}

// outcomes crashes m with many seeds, and counts what describe makes of what is left.
func outcomes(t testing.TB, m *Mem, seeds uint64, describe func(*Mem) string) map[string]int {
	t.Helper()
	got := map[string]int{}
	for seed := range seeds {
		got[describe(m.CrashClone(seed))]++
	}
	return got
}

// wantOutcomes requires every listed outcome to occur, and no other.
func wantOutcomes(t *testing.T, got map[string]int, want ...string) {
	t.Helper()
	for _, w := range want {
		if got[w] == 0 {
			t.Errorf("never seen: %q", w)
		}
		delete(got, w)
	}
	for g, n := range got {
		t.Errorf("impossible, but seen %d times: %q", n, g)
	}
}

func page1(b byte) []byte {
	p := Aligned(pageSize)
	for i := range p {
		p[i] = b
	}
	return p
}

// sectors describes a file by the first byte of each sector, and insists that each sector is of one piece.
func sectors(t testing.TB, name string) func(*Mem) string {
	return func(m *Mem) string {
		b, err := ReadFile(m, name)
		if errors.Is(err, fs.ErrNotExist) {
			return "missing"
		}
		must(t, err)
		var out strings.Builder
		for len(b) > 0 {
			n := min(len(b), sectorSize)
			if bytes.Count(b[:n], b[:1]) != n {
				t.Fatalf("a sector is torn: %v", b[:n])
			}
			fmt.Fprint(&out, b[0])
			b = b[n:]
		}
		return out.String()
	}
}

// TestNaiveModel compares random histories with a model that knows nothing of pages: for every sector the
// contents that a crash may leave, as strings.
func TestNaiveModel(t *testing.T) {
	const sectorsN = 40
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		m := NewMem()
		f := durableFile(t, m, "f", sectorsN*sectorSize/pageSize, OpenOptions{})
		legal := make([][]string, sectorsN) // the durable content first, the newest last
		all := contents(t, m, "f")
		for s := range legal {
			legal[s] = []string{string(all[s*sectorSize : (s+1)*sectorSize])}
		}
		for range 30 {
			off := rng.IntN(sectorsN)
			n := 1 + rng.IntN(min(8, sectorsN-off))
			p := make([]byte, n*sectorSize)
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			kind := rng.IntN(6)
			switch kind {
			case 0:
				must(t, f.Sync())
				for s := range legal {
					legal[s] = legal[s][len(legal[s])-1:]
				}
				continue
			case 1:
				_, err := f.WriteAtDsync(p, int64(off*sectorSize))
				must(t, err)
			default:
				write(t, f, p, int64(off*sectorSize))
			}
			for i := range n {
				b := string(p[i*sectorSize : (i+1)*sectorSize])
				if kind == 1 {
					legal[off+i] = nil
				}
				legal[off+i] = append(legal[off+i], b)
			}
		}
		for crash := range uint64(20) {
			b := contents(t, m.CrashClone(crash), "f")
			if len(b) != sectorsN*sectorSize {
				t.Fatalf("seed %d, crash %d: size %d", seed, crash, len(b))
			}
		next:
			for s, ls := range legal {
				for _, l := range ls {
					if string(b[s*sectorSize:(s+1)*sectorSize]) == l {
						continue next
					}
				}
				t.Fatalf("seed %d, crash %d: sector %d is none of its %d possible contents", seed, crash, s, len(ls))
			}
		}
	}
}

func TestUnsyncedSectorsSurviveIndependently(t *testing.T) {
	m := NewMem()
	f := durableFile(t, m, "f", 1, OpenOptions{})
	write(t, f, bytes.Repeat([]byte{7}, 2*sectorSize), 3*sectorSize) // one write
	write(t, f, bytes.Repeat([]byte{8}, sectorSize), 4*sectorSize)   // overwritten in part: which version?
	got := outcomes(t, m, 300, sectors(t, "f"))
	wantOutcomes(t, got, "11111111", "11171111", "11117111", "11118111", "11177111", "11178111")
}

func TestSyncMakesAllDurable(t *testing.T) {
	m := NewMem()
	f := durableFile(t, m, "f", 2, OpenOptions{})
	write(t, f, page1(7), 0)
	write(t, f, page1(8), 2*pageSize)
	must(t, f.Sync())
	wantOutcomes(t, outcomes(t, m, 50, sectors(t, "f")), "777777772222222288888888")
}

func TestDurableWriteCoversItsBytesOnly(t *testing.T) {
	for name, o := range map[string]OpenOptions{"O_DSYNC": {Dsync: true, Direct: true}, "RWF_DSYNC": {}} {
		t.Run(name, func(t *testing.T) {
			m := NewMem()
			f := durableFile(t, m, "f", 2, OpenOptions{})
			write(t, f, page1(7), pageSize) // not synced, and not by the next line either
			g := open(t, m, "f", o)
			if o.Dsync {
				write(t, g, page1(9), 0)
			} else if _, err := g.WriteAtDsync(page1(9), 0); err != nil {
				t.Fatal(err)
			}
			for got := range outcomes(t, m, 100, sectors(t, "f")) {
				if !strings.HasPrefix(got, "99999999") {
					t.Fatalf("a durable write was lost: %s", got)
				}
			}
			got := outcomes(t, m, 300, func(m *Mem) string { return sectors(t, "f")(m)[8:10] })
			wantOutcomes(t, got, "22", "27", "72", "77")
		})
	}
}

func TestDurableWriteInsideASector(t *testing.T) {
	m := NewMem()
	f := durableFile(t, m, "f", 1, OpenOptions{})
	write(t, f, []byte("AAAA"), 100)
	_, err := f.WriteAtDsync([]byte("BB"), 102)
	must(t, err)
	got := outcomes(t, m, 50, func(m *Mem) string { return string(contents(t, m, "f")[100:104]) })
	wantOutcomes(t, got, "AABB", "\x01\x01BB")
	_, err = f.WriteAtDsync(page1(9), 0) // replaces all that was in flight
	must(t, err)
	wantOutcomes(t, outcomes(t, m, 50, sectors(t, "f")), "99999999")
	write(t, f, []byte("AAAA"), 100)
	must(t, f.Sync())
	got = outcomes(t, m, 50, func(m *Mem) string { return string(contents(t, m, "f")[100:104]) })
	wantOutcomes(t, got, "AAAA")
}

func TestDurableWriteBringsTheSizeItNeeds(t *testing.T) {
	m := NewMem()
	f := durableFile(t, m, "f", 1, OpenOptions{})
	write(t, f, page1(5), pageSize)                       // size 2 pages, not durable
	_, err := f.WriteAtDsync(page1(6), 2*pageSize)        // needs size 3 pages
	must(t, err)                                          //
	write(t, f, bytes.Repeat([]byte{7}, 1), 3*pageSize+5) // may or may not add 6 bytes
	got := outcomes(t, m, 200, func(m *Mem) string { return fmt.Sprint(len(contents(t, m, "f")) - 3*pageSize) })
	wantOutcomes(t, got, "0", "6")
	for got := range outcomes(t, m, 50, func(m *Mem) string { return string(contents(t, m, "f")[2*pageSize : 3*pageSize]) }) {
		if got != string(page1(6)) {
			t.Fatal("a durable write beyond the end was lost")
		}
	}
}

func TestSizeOfNewFile(t *testing.T) {
	m := NewMem()
	f := open(t, m, "f", OpenOptions{Create: true})
	must(t, m.SyncDir("/"))
	write(t, f, bytes.Repeat([]byte{3}, sectorSize), 0)
	write(t, f, bytes.Repeat([]byte{4}, sectorSize), sectorSize)
	// The size may survive without the data, the data not without the size.
	wantOutcomes(t, outcomes(t, m, 500, sectors(t, "f")), "", "0", "3", "00", "30", "04", "34")
}

// TestNothingBehindTheSize: data may survive that the size leaves out. It must not come back when the file grows.
func TestNothingBehindTheSize(t *testing.T) {
	m := NewMem()
	f := open(t, m, "f", OpenOptions{Create: true})
	must(t, m.SyncDir("/"))
	write(t, f, bytes.Repeat([]byte{3}, 10), 0)
	write(t, f, bytes.Repeat([]byte{4}, 10), 10)
	got := outcomes(t, m, 300, func(m *Mem) string {
		size := len(contents(t, m, "f"))
		must(t, open(t, m, "f", OpenOptions{}).Truncate(20))
		b := contents(t, m, "f")
		return fmt.Sprint(size, bytes.Count(b, []byte{3}), bytes.Count(b, []byte{4}))
	})
	wantOutcomes(t, got, "0 0 0", "10 0 0", "10 10 0", "20 0 0", "20 10 0", "20 10 10")
}

func TestTruncation(t *testing.T) {
	t.Run("alone", func(t *testing.T) {
		m := NewMem()
		f := durableFile(t, m, "f", 1, OpenOptions{})
		must(t, f.Truncate(sectorSize))
		// Undone it leaves the old data, not zeros.
		wantOutcomes(t, outcomes(t, m, 100, sectors(t, "f")), "11111111", "1")
	})
	t.Run("then extended", func(t *testing.T) {
		m := NewMem()
		f := durableFile(t, m, "f", 1, OpenOptions{})
		must(t, f.Truncate(sectorSize))
		write(t, f, bytes.Repeat([]byte{5}, sectorSize), 2*sectorSize)
		wantOutcomes(t, outcomes(t, m, 300, sectors(t, "f")), "11111111", "1", "100", "105")
	})
	t.Run("after a write", func(t *testing.T) {
		m := NewMem()
		f := durableFile(t, m, "f", 1, OpenOptions{})
		write(t, f, bytes.Repeat([]byte{2}, sectorSize), 0)
		must(t, f.Truncate(0))
		must(t, f.Preallocate(0, 2*sectorSize))
		// Where the truncation happened the write before it is gone.
		wantOutcomes(t, outcomes(t, m, 300, sectors(t, "f")), "11111111", "21111111", "", "00")
	})
	t.Run("synced", func(t *testing.T) {
		m := NewMem()
		f := durableFile(t, m, "f", 3, OpenOptions{})
		must(t, f.Truncate(sectorSize))
		must(t, f.Sync())
		must(t, f.Truncate(3*sectorSize))
		must(t, f.Sync())
		wantOutcomes(t, outcomes(t, m, 30, sectors(t, "f")), "100")
	})
	t.Run("inside a sector", func(t *testing.T) {
		m := NewMem()
		f := durableFile(t, m, "f", 1, OpenOptions{})
		must(t, f.Truncate(10))
		must(t, f.Preallocate(0, 20))
		got := outcomes(t, m, 100, func(m *Mem) string {
			b := contents(t, m, "f")
			return fmt.Sprintf("%d %d", len(b), bytes.Count(b, []byte{1}))
		})
		wantOutcomes(t, got, "4096 4096", "10 10", "20 10")
	})
	t.Run("by a durable write after it", func(t *testing.T) {
		m := NewMem()
		f := durableFile(t, m, "f", 1, OpenOptions{})
		must(t, f.Truncate(0))
		_, err := f.WriteAtDsync(bytes.Repeat([]byte{6}, sectorSize), 0)
		must(t, err)
		for got := range outcomes(t, m, 100, sectors(t, "f")) {
			if !strings.HasPrefix(got, "6") {
				t.Fatalf("a durable write was lost: %q", got)
			}
		}
	})
}

func TestCrashIsAFunctionOfTheSeed(t *testing.T) {
	build := func() *Mem {
		m := NewMem()
		for i := range 5 {
			f := open(t, m, fmt.Sprint("f", i), OpenOptions{Create: true})
			for j := range 10 {
				write(t, f, page1(byte(j)), int64(i+j)*1000)
			}
		}
		return m
	}
	dump := func(m *Mem) string {
		var out strings.Builder
		for i := range 5 {
			b, err := ReadFile(m, fmt.Sprint("f", i))
			fmt.Fprintf(&out, "%x %v|", b, err)
		}
		return out.String()
	}
	a, b := build(), build()
	different := map[string]bool{}
	for seed := range uint64(30) {
		da := dump(a.CrashClone(seed))
		if da != dump(b.CrashClone(seed)) {
			t.Fatalf("seed %d gives two states for the same history", seed)
		}
		different[da] = true
	}
	if len(different) < 15 {
		t.Errorf("30 seeds give %d states only", len(different))
	}
}

func TestClonesDoNotShareVersions(t *testing.T) {
	for n := range 5 { // the versions' slice has spare room after some of these
		m := NewMem()
		f := durableFile(t, m, "f", 1, OpenOptions{})
		for range n {
			write(t, f, page1(2), 0)
		}
		c := m.Clone()
		g := open(t, c, "f", OpenOptions{})
		write(t, g, page1(3), 0)
		write(t, f, page1(4), 0)
		for s := range outcomes(t, c, 100, sectors(t, "f")) {
			if strings.Contains(s, "4") {
				t.Fatalf("%d versions: the clone has what was written to the original: %s", n, s)
			}
		}
	}
}

func TestClonesAreIndependent(t *testing.T) {
	m := NewMem()
	f := durableFile(t, m, "f", 1, OpenOptions{})
	write(t, f, page1(2), 0)
	l, err := m.Lock("LOCK")
	must(t, err)
	defer l.Close()
	c := m.Clone()
	if _, err := c.Lock("LOCK"); err != nil {
		t.Errorf("a dead process holds its lock: %v", err)
	}
	if got := sectors(t, "f")(c); got != "22222222" {
		t.Errorf("kill -9 lost what the page cache held: %s", got)
	}
	lost := func(m *Mem) string { return sectors(t, "f")(m)[:1] }
	wantOutcomes(t, outcomes(t, c, 50, lost), "1", "2") // still not durable
	g := open(t, c, "f", OpenOptions{})
	must(t, g.Sync())
	wantOutcomes(t, outcomes(t, c, 50, lost), "2")
	wantOutcomes(t, outcomes(t, m, 50, lost), "1", "2") // the original has not moved
	write(t, g, page1(3), 0)
	must(t, c.Remove("f"))
	if got := sectors(t, "f")(m); got != "22222222" {
		t.Errorf("writing to the clone changed the original: %s", got)
	}
}

func TestCrashedAgain(t *testing.T) {
	m := NewMem()
	f := durableFile(t, m, "f", 1, OpenOptions{})
	write(t, f, page1(2), 0)
	for seed := range uint64(20) {
		c := m.CrashClone(seed)
		want := sectors(t, "f")(c)
		if got := sectors(t, "f")(c.CrashClone(seed + 100)); got != want {
			t.Fatalf("after a crash all is durable, but a second crash turned %s into %s", want, got)
		}
	}
}

func TestManyVersionsKeepNewestAndCuts(t *testing.T) {
	m := NewMem()
	f := durableFile(t, m, "f", 1, OpenOptions{})
	for i := range 10 * maxVersions {
		if i%7 == 0 {
			must(t, f.Truncate(0))
		}
		write(t, f, page1(byte(i%9+1)), 0)
	}
	if got := sectors(t, "f")(m); got[:1] != fmt.Sprint((10*maxVersions-1)%9+1) {
		t.Errorf("volatile: %s", got)
	}
	newest := strings.Repeat(fmt.Sprint((10*maxVersions-1)%9+1), sectorsPerPage)
	if got := outcomes(t, m, 200, sectors(t, "f")); got[newest] == 0 {
		t.Error("the newest version never survives")
	}
	must(t, f.Sync())
	wantOutcomes(t, outcomes(t, m, 20, sectors(t, "f")), sectors(t, "f")(m))
}

func TestCapacity(t *testing.T) {
	m := NewMem()
	m.SetCapacity(4 * pageSize)
	f := durableFile(t, m, "f", 3, OpenOptions{})
	free := func(m *Mem, want int64) {
		t.Helper()
		if n, err := m.Free("/"); n != want*pageSize || err != nil {
			t.Errorf("free: %d, %v; want %d pages", n, err, want)
		}
	}
	free(m, 1)
	_, err := f.WriteAt(make([]byte, 2*pageSize), 3*pageSize)
	wantErr(t, err, syscall.ENOSPC)
	wantErr(t, f.Preallocate(0, 5*pageSize), syscall.ENOSPC)
	wantErr(t, f.Truncate(5*pageSize), syscall.ENOSPC)
	write(t, f, page1(1), 0) // in place
	write(t, open(t, m, "g", OpenOptions{Create: true}), []byte("x"), 0)
	free(m, 0)
	must(t, f.Truncate(1))
	free(m, 2)
	must(t, m.Remove("g"))
	free(m, 3)
	for seed := range uint64(10) {
		c := m.CrashClone(seed)
		used := int64(0)
		for _, name := range []string{"f", "g"} {
			if info, err := c.Stat(name); err == nil {
				used += RoundUp(info.Size)
			}
		}
		free(c, 4-used/pageSize)
	}
	m.SetCapacity(0)
	must(t, f.Truncate(100*pageSize))
}

// BenchmarkCrash is what one seed of a crash test costs: a 4 MiB ring with some writes in flight, crashed and read.
func BenchmarkCrash(b *testing.B) {
	m := NewMem()
	f := open(b, m, "wal", OpenOptions{Create: true})
	p := make([]byte, 1<<20)
	for i := range p {
		p[i] = byte(i)
	}
	for i := range 4 {
		write(b, f, p, int64(i)<<20)
	}
	must(b, f.Sync())
	must(b, m.SyncDir("/"))
	write(b, f, p[:64<<10], 1<<20)
	for seed := uint64(0); b.Loop(); seed++ {
		if _, err := ReadFile(m.CrashClone(seed), "wal"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMemDurableWrite(b *testing.B) {
	m := NewMem()
	f := open(b, m, "wal", OpenOptions{Create: true, Direct: true, Dsync: true})
	p := page1(1)
	for i := 0; b.Loop(); i++ {
		write(b, f, p, int64(i%1024)*pageSize)
	}
}
