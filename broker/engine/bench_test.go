package engine

import (
	"syscall"
	"testing"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// BenchmarkProduce commits one entry at a time through three nodes of one process, on memory files or on real ones, and
// reports the context switches of all three. For system calls run it under perf stat or strace -c.
func BenchmarkProduce(b *testing.B) {
	for _, c := range []struct {
		name string
		real bool
	}{{"files=memory", false}, {"files=real", true}} {
		b.Run(c.name, func(b *testing.B) {
			o := options{ringBytes: 64 << 20}
			if c.real {
				o.fs = func(id.NodeID) vfs.FS { return below{vfs.OS(), b.TempDir()} }
			}
			m := newCluster(b, o).addAll(1, 0)
			data := string(make([]byte, 1000))
			if err := m.propose(data); err != nil {
				b.Fatal(err)
			}
			var before, after syscall.Rusage
			syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			b.ReportAllocs()
			for b.Loop() {
				if err := m.propose(data); err != nil {
					b.Fatal(err)
				}
			}
			syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			b.ReportMetric(float64(after.Nvcsw-before.Nvcsw)/float64(b.N), "switches/op")
			b.ReportMetric(float64(m.node.w.Stats().HandOvers.Load())/float64(b.N), "hand-overs/op")
		})
	}
}

// below is a file system whose root is a directory of another.
type below struct {
	vfs.FS
	dir string
}

func (f below) MkdirAll(name string) error { return f.FS.MkdirAll(f.dir + name) }
func (f below) Open(name string, o vfs.OpenOptions) (vfs.File, error) {
	return f.FS.Open(f.dir+name, o)
}
func (f below) Stat(name string) (vfs.Info, error) { return f.FS.Stat(f.dir + name) }
func (f below) SyncDir(dir string) error           { return f.FS.SyncDir(f.dir + dir) }
func (f below) Rename(a, b string) error           { return f.FS.Rename(f.dir+a, f.dir+b) }
func (f below) Remove(name string) error           { return f.FS.Remove(f.dir + name) }
