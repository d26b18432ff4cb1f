package wal

import (
	"fmt"
	"path/filepath"
	"testing"

	"ackline/broker/id"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
)

// appender is a group that appends one entry per Collect and checkpoints at once, so that the ring goes round.
type appender struct {
	es   []Entry
	ckpt id.Index
}

func (s *appender) Collect(b *Batch) {
	if s.ckpt > 0 {
		b.Checkpoint(1, 1, s.ckpt, 1, hard(1, 1, s.ckpt), nil)
		s.ckpt = 0
	}
	if !b.CheckpointsOnly() {
		b.Entries(1, 1, s.es)
	}
}

func (s *appender) Durable(id.LSN) {}

// noDisk takes writes and forgets them, so that what is left is the WAL's own cost.
type noDisk struct{ vfs.FS }

func (n noDisk) Open(name string, o vfs.OpenOptions) (vfs.File, error) {
	f, err := n.FS.Open(name, o)
	return noFile{f}, err
}

type noFile struct{ vfs.File }

func (noFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// BenchmarkAppend is one entry of 1 KiB per batch, one batch at a time: the latency of a lone write.
func BenchmarkAppend(b *testing.B) {
	for _, fsys := range []vfs.FS{vfs.OS(), noDisk{vfs.OS()}} {
		b.Run(fmt.Sprintf("fs=%T", fsys), func(b *testing.B) {
			o := Options{FS: vfs.OS(), Path: filepath.Join(b.TempDir(), "wal"), Method: syncmethod.DirectDsync, RingBytes: 64 << 20}
			w, _ := mustOpen(b, o)
			w.Close()
			o.FS = fsys
			w, _ = mustOpen(b, o)
			s := &appender{es: ents(1, 1, string(make([]byte, 1024)))}
			for b.Loop() {
				w.Signal(s)
				w.Drive()
				s.es[0].Index++
				if s.es[0].Index%1000 == 0 {
					s.ckpt = s.es[0].Index - 1
					w.SignalCheckpoint(s)
					w.Drive()
					s.es[0].Index++
					if err := w.Reclaim(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkReplay opens a ring of 16 MiB that holds 10,000 entries of 1 KiB in batches of 16.
func BenchmarkReplay(b *testing.B) {
	o := Options{FS: vfs.OS(), Path: filepath.Join(b.TempDir(), "wal"), Method: syncmethod.DirectDsync, RingBytes: 16 << 20,
		BatchBytes: 64 << 10, Inline: true}
	w, _ := mustOpen(b, o)
	var s source
	for at := id.Index(1); at <= 10_000; at += 16 {
		data := make([]string, 16)
		for i := range data {
			data[i] = string(make([]byte, 1024))
		}
		s.add(w, func(b *Batch) { b.Entries(1, 1, ents(at, 1, data...)) })
		w.Drive()
	}
	b.SetBytes(int64(w.last.End() - w.super.Head))
	for b.Loop() {
		// The ring is abandoned as a killed process leaves it, so that all of it is searched. Each start adds a batch,
		// which the next reads.
		v, rec := mustOpen(b, o)
		if last := v.Last(1); last < 10_000 {
			b.Fatalf("recovered up to entry %d: %+v", last, rec)
		}
		v.file.Close()
		v.poison.Store(&ErrClosed)
		v.queue.close()
	}
}
