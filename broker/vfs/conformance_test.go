package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// each runs a test on every implementation, in a directory that exists and is empty.
func each(t *testing.T, f func(t *testing.T, fsys FS, dir string)) {
	t.Run("os", func(t *testing.T) { f(t, OS(), t.TempDir()) })
	t.Run("mem", func(t *testing.T) {
		m := NewMem()
		must(t, m.MkdirAll("/data/dir"))
		f(t, m, "/data/dir")
	})
	t.Run("inject", func(t *testing.T) {
		m := Inject(NewMem(), func(Op) error { return nil })
		must(t, m.MkdirAll("/data/dir"))
		f(t, m, "/data/dir")
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, fsys FS, name string, o OpenOptions) File {
	t.Helper()
	f, err := fsys.Open(name, o)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func write(t testing.TB, f File, p []byte, off int64) {
	t.Helper()
	if n, err := f.WriteAt(p, off); n != len(p) || err != nil {
		t.Fatalf("wrote %d bytes of %d: %v", n, len(p), err)
	}
}

func contents(t testing.TB, fsys FS, name string) []byte {
	t.Helper()
	b, err := ReadFile(fsys, name)
	must(t, err)
	return b
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

func TestNames(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		a, b, sub := path.Join(dir, "a"), path.Join(dir, "b"), path.Join(dir, "sub")
		_, err := fsys.Open(a, OpenOptions{})
		wantErr(t, err, fs.ErrNotExist)
		_, err = fsys.Open(path.Join(dir, "no", "a"), OpenOptions{Create: true})
		wantErr(t, err, fs.ErrNotExist)
		write(t, open(t, fsys, a, OpenOptions{Create: true, Exclusive: true}), []byte("one"), 0)
		_, err = fsys.Open(a, OpenOptions{Create: true, Exclusive: true})
		wantErr(t, err, fs.ErrExist)
		_, err = fsys.Open(path.Join(a, "x"), OpenOptions{Create: true})
		wantErr(t, err, syscall.ENOTDIR)

		must(t, fsys.MkdirAll(path.Join(sub, "deep")))
		must(t, fsys.MkdirAll(sub))
		wantErr(t, fsys.MkdirAll(path.Join(a, "x")), syscall.ENOTDIR)
		_, err = fsys.Open(sub, OpenOptions{})
		wantErr(t, err, syscall.EISDIR)
		wantErr(t, fsys.Remove(sub), syscall.ENOTEMPTY)
		wantErr(t, fsys.Remove(b), fs.ErrNotExist)
		wantErr(t, fsys.Rename(b, a), fs.ErrNotExist)
		_, err = fsys.List(b)
		wantErr(t, err, fs.ErrNotExist)
		_, err = fsys.Stat(b)
		wantErr(t, err, fs.ErrNotExist)

		names, err := fsys.List(dir)
		must(t, err)
		if want := []string{"a", "sub"}; !slices.Equal(names, want) {
			t.Errorf("listed %q, want %q", names, want)
		}
		info, err := fsys.Stat(a)
		must(t, err)
		if info != (Info{Size: 3}) {
			t.Errorf("stat of a file: %+v", info)
		}
		info, err = fsys.Stat(sub)
		must(t, err)
		if info != (Info{Dir: true}) {
			t.Errorf("stat of a directory: %+v", info)
		}

		write(t, open(t, fsys, b, OpenOptions{Create: true}), []byte("two!"), 0)
		must(t, fsys.Rename(a, b))
		if got := contents(t, fsys, b); string(got) != "one" {
			t.Errorf("after rename: %q", got)
		}
		must(t, fsys.Rename(b, path.Join(sub, "deep", "c")))
		must(t, fsys.Rename(sub, path.Join(dir, "moved")))
		if got := contents(t, fsys, path.Join(dir, "moved", "deep", "c")); string(got) != "one" {
			t.Errorf("after renaming its directory: %q", got)
		}
		wantErr(t, fsys.Rename(path.Join(dir, "moved"), path.Join(dir, "moved", "deep", "in")), syscall.EINVAL)
		must(t, fsys.SyncDir(dir))
		wantErr(t, fsys.SyncDir(b), fs.ErrNotExist)
		must(t, fsys.RemoveAll(path.Join(dir, "moved")))
		must(t, fsys.RemoveAll(path.Join(dir, "moved")))
		names, err = fsys.List(dir)
		must(t, err)
		if len(names) != 0 {
			t.Errorf("left over: %q", names)
		}
	})
}

func TestRemovedFileStaysOpen(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		name := path.Join(dir, "a")
		f := open(t, fsys, name, OpenOptions{Create: true})
		must(t, fsys.Remove(name))
		write(t, f, []byte("still here"), 0)
		got := make([]byte, 10)
		if _, err := f.ReadAt(got, 0); err != nil || string(got) != "still here" {
			t.Errorf("read %q, %v", got, err)
		}
		if _, err := fsys.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stat: %v", err)
		}
	})
}

func TestReadWriteEdges(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		name := path.Join(dir, "f")
		f := open(t, fsys, name, OpenOptions{Create: true})
		write(t, f, []byte("abc"), 10000)
		got := bytes.Repeat([]byte{'x'}, 20)
		n, err := f.ReadAt(got, 9990)
		if n != 13 || err != io.EOF || !bytes.Equal(got[:13], append(make([]byte, 10), "abc"...)) {
			t.Errorf("read %d %q, %v", n, got, err)
		}
		if n, err := f.ReadAt(got, 20000); n != 0 || err != io.EOF {
			t.Errorf("read beyond the end: %d, %v", n, err)
		}
		if n, err := f.ReadAt(nil, 0); n != 0 || err != nil {
			t.Errorf("read of nothing: %d, %v", n, err)
		}
		if n, err := f.WriteAtDsync(nil, 99999); n != 0 || err != nil {
			t.Errorf("write of nothing: %d, %v", n, err)
		}
		_, err = f.WriteAt([]byte("x"), -1)
		wantErr(t, err, syscall.EINVAL)
		_, err = f.ReadAt(got, -1)
		wantErr(t, err, syscall.EINVAL)
		wantErr(t, f.Truncate(-1), syscall.EINVAL)
		wantErr(t, f.Preallocate(0, 0), syscall.EINVAL)
		wantErr(t, f.Preallocate(-1, 10), syscall.EINVAL)
		must(t, f.Preallocate(0, 20000))
		must(t, f.Preallocate(0, 10))
		must(t, f.WriteBack(0, 4096))
		if size, err := f.Size(); size != 20000 || err != nil {
			t.Errorf("size %d, %v", size, err)
		}
		must(t, f.Truncate(10001))
		must(t, f.Truncate(10010))
		if got := contents(t, fsys, name); !bytes.Equal(got[9999:], []byte("\x00a\x00\x00\x00\x00\x00\x00\x00\x00\x00")) {
			t.Errorf("after cutting and extending: %q", got[9999:])
		}
		open(t, fsys, name, OpenOptions{Truncate: true})
		if size, err := f.Size(); size != 0 || err != nil {
			t.Errorf("size after truncating open %d, %v", size, err)
		}
		r := open(t, fsys, name, OpenOptions{ReadOnly: true})
		_, err = r.WriteAt([]byte("x"), 0)
		wantErr(t, err, syscall.EBADF)
		_, err = r.WriteAtDsync([]byte("x"), 0)
		wantErr(t, err, syscall.EBADF)
		must(t, f.Close())
		wantErr(t, f.Close(), fs.ErrClosed)
		wantErr(t, f.Sync(), fs.ErrClosed)
		_, err = f.WriteAt([]byte("x"), 0)
		wantErr(t, err, fs.ErrClosed)
		_, err = f.ReadAt(got, 0)
		wantErr(t, err, fs.ErrClosed)
		_, err = f.Size()
		wantErr(t, err, fs.ErrClosed)
	})
}

func TestDirectAlignment(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		name := path.Join(dir, "f")
		f, err := fsys.Open(name, OpenOptions{Create: true, Direct: true})
		if errors.Is(err, syscall.EINVAL) {
			t.Skip("needs O_DIRECT: the file system of the temporary directory has none")
		}
		must(t, err)
		defer f.Close()
		buf := Aligned(3 * BlockSize)
		for i := range buf {
			buf[i] = byte(i >> 8)
		}
		for _, c := range []struct {
			p   []byte
			off int64
		}{{buf[:BlockSize], 512}, {buf[:512], 0}, {buf[512 : 512+BlockSize], 0}} {
			_, err := f.WriteAt(c.p, c.off)
			wantErr(t, err, syscall.EINVAL)
			_, err = f.WriteAtDsync(c.p, c.off)
			wantErr(t, err, syscall.EINVAL)
			_, err = f.ReadAt(c.p, c.off)
			wantErr(t, err, syscall.EINVAL)
		}
		write(t, f, buf, BlockSize)
		must(t, f.Sync())
		// A file that ends inside a block: direct reads give its tail, and the end of the file.
		must(t, f.Truncate(3*BlockSize+100))
		got := Aligned(4 * BlockSize)
		n, err := f.ReadAt(got, BlockSize)
		if n != 2*BlockSize+100 || err != io.EOF || !bytes.Equal(got[:n], buf[:n]) {
			t.Errorf("read %d, %v", n, err)
		}
	})
}

func TestLock(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		name := path.Join(dir, "LOCK")
		l, err := fsys.Lock(name)
		must(t, err)
		_, err = fsys.Lock(name)
		wantErr(t, err, ErrLocked)
		must(t, l.Close())
		l, err = fsys.Lock(name)
		must(t, err)
		must(t, l.Close())
		if l.Close() == nil {
			t.Error("closing a lock twice is not an error")
		}
		_, err = fsys.Lock(path.Join(dir, "no", "LOCK"))
		wantErr(t, err, fs.ErrNotExist)
	})
}

func TestFree(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		if n, err := fsys.Free(dir); n <= 0 || err != nil {
			t.Errorf("free: %d, %v", n, err)
		}
		_, err := fsys.Free(path.Join(dir, "no"))
		wantErr(t, err, fs.ErrNotExist)
	})
}

// TestRandomAgainstModel drives random reads and writes of all sorts through each implementation and through a
// byte slice.
func TestRandomAgainstModel(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		for seed := range uint64(20) {
			rng := rand.New(rand.NewPCG(seed, 1))
			f := open(t, fsys, path.Join(dir, fmt.Sprint(seed)), OpenOptions{Create: true, Dsync: seed%2 == 0})
			var model []byte
			for step := range 60 {
				off, n := rng.Int64N(30000), rng.Int64N(9000)
				switch rng.IntN(8) {
				case 0:
					must(t, f.Truncate(off))
					model = resized(model, off)
				case 1:
					must(t, f.Preallocate(off, n+1))
					model = resized(model, max(int64(len(model)), off+n+1))
				case 2:
					must(t, f.Sync())
				default:
					p := bytes.Repeat([]byte{byte(rng.IntN(3))}, int(n+1))
					if rng.IntN(2) == 0 {
						write(t, f, p, off)
					} else if _, err := f.WriteAtDsync(p, off); err != nil {
						t.Fatal(err)
					}
					model = resized(model, max(int64(len(model)), off+n+1))
					copy(model[off:], p)
				}
				got := make([]byte, len(model)+10)
				k, err := f.ReadAt(got, 0)
				if err != io.EOF || !bytes.Equal(got[:k], model) {
					t.Fatalf("seed %d, step %d: %d bytes read, %v, differ from the %d expected", seed, step, k, err, len(model))
				}
			}
		}
	})
}

func resized(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		return slices.Clone(b[:n])
	}
	return append(slices.Clone(b), make([]byte, n-int64(len(b)))...)
}

func TestConcurrentUse(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		var wg sync.WaitGroup
		shared := open(t, fsys, path.Join(dir, "shared"), OpenOptions{Create: true})
		for g := range 4 {
			wg.Go(func() {
				own := path.Join(dir, fmt.Sprint(g))
				p := bytes.Repeat([]byte{byte(g + 1)}, 700)
				for i := range 20 {
					f, err := fsys.Open(own, OpenOptions{Create: true})
					if err != nil {
						t.Error(err)
						return
					}
					_, err = shared.WriteAtDsync(p, int64(g*20+i)*700)
					_, err2 := f.WriteAt(p, 0)
					if err := errors.Join(err, err2, f.Sync(), f.Close(), fsys.Rename(own, own+"x"), fsys.SyncDir(dir),
						fsys.Remove(own+"x")); err != nil {
						t.Error(err)
					}
					if m, ok := fsys.(*Mem); ok {
						m.CrashClone(uint64(i))
					}
				}
			})
		}
		wg.Wait()
		b := contents(t, fsys, path.Join(dir, "shared"))
		for i, c := range b {
			if want := byte(i/700/20 + 1); c != want {
				t.Fatalf("byte %d is %d, want %d", i, c, want)
			}
		}
	})
}

func TestAligned(t *testing.T) {
	for _, n := range []int{0, 1, 511, 4096, 4097, 1 << 20} {
		b := Aligned(n)
		if len(b) != n || int64(cap(b)) != RoundUp(int64(n)) {
			t.Errorf("Aligned(%d): length %d, capacity %d", n, len(b), cap(b))
		}
		if err := checkDirect("write", "x", b[:cap(b)], 0); err != nil {
			t.Error(err)
		}
	}
}

// TestNoAllocations: the broker's write path goes through these calls.
func TestNoAllocations(t *testing.T) {
	f := open(t, OS(), path.Join(t.TempDir(), "f"), OpenOptions{Create: true})
	p := Aligned(BlockSize)
	for name, call := range map[string]func(){
		"WriteAt":      func() { f.WriteAt(p, 0) },
		"WriteAtDsync": func() { f.WriteAtDsync(p, 0) },
		"ReadAt":       func() { f.ReadAt(p, 0) },
		"Sync":         func() { f.Sync() },
	} {
		if n := testing.AllocsPerRun(5, call); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// TestOpenFlags asks the kernel: a missing O_DSYNC shows in no test that does not cut the power.
func TestOpenFlags(t *testing.T) {
	for _, o := range []OpenOptions{{}, {Dsync: true}, {Direct: true}, {Direct: true, Dsync: true}} {
		name := path.Join(t.TempDir(), "f")
		o.Create = true
		f := open(t, OS(), name, o)
		flags, err := unix.FcntlInt(uintptr(f.(*osFile).fd), unix.F_GETFL, 0)
		must(t, err)
		if got := flags&unix.O_DSYNC != 0; got != o.Dsync {
			t.Errorf("%+v: O_DSYNC is %v", o, got)
		}
		if got := flags&unix.O_DIRECT != 0; got != o.Direct {
			t.Errorf("%+v: O_DIRECT is %v", o, got)
		}
	}
}
