package wal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"ackline/broker/id"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
)

// The next tests watch the order of things through a hook on the file.
func hooked(t *testing.T, o Options, hook func(vfs.Op) error) *WAL {
	t.Helper()
	armed := atomic.Bool{}
	o.FS = vfs.Inject(o.FS, func(op vfs.Op) error {
		if !armed.Load() {
			return nil
		}
		return hook(op)
	})
	w, _ := mustOpen(t, o)
	armed.Store(true)
	return w
}

func TestDurableComesAfterTheSync(t *testing.T) {
	for _, m := range []syncmethod.Method{syncmethod.DirectDsync, syncmethod.BufferedFdatasync} {
		o := testOptions(vfs.NewMem())
		o.Method = m
		var s source
		var synced, early atomic.Int32
		w := hooked(t, o, func(op vfs.Op) error {
			if s.told != 0 && synced.Load() == 0 {
				early.Add(1)
			}
			if op.Kind == vfs.OpSync || op.Kind == vfs.OpWrite && op.Durable {
				synced.Add(1)
			}
			return nil
		})
		s.add(w, func(b *Batch) { b.Entries(1, 1, ents(1, 1, "x")) })
		w.Drive()
		if s.told != 1 || synced.Load() != 1 || early.Load() != 0 {
			t.Errorf("%s: told %d times, %d syncs, told before %d of them", m, s.told, synced.Load(), early.Load())
		}
		if _, err := w.Entries(1, 1, 2, 10); err != nil {
			t.Error(err)
		}
	}
}

// What sources have for other nodes leaves when they are collected, before the write, and when they were told, behind it.
func TestOutgoingBeforeTheWriteAndBehindIt(t *testing.T) {
	var events []string
	var s source
	o := testOptions(vfs.NewMem())
	o.Outgoing = func() { events = append(events, fmt.Sprint("out, told ", s.told)) }
	w := hooked(t, o, func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite {
			events = append(events, "write")
		}
		return nil
	})
	events = nil
	s.add(w, func(b *Batch) {
		b.Entries(1, 1, ents(1, 1, "x"))
		events = append(events, "collect")
	})
	w.Drive()
	if want := []string{"collect", "out, told 0", "write", "out, told 1"}; !slices.Equal(events, want) {
		t.Errorf("%q, want %q", events, want)
	}
}

// While one batch is in flight, others who drive return at once, and all that they had goes into one next batch.
func TestOneBatchInFlight(t *testing.T) {
	started, goOn := make(chan struct{}), make(chan struct{})
	var writes atomic.Int32
	w := hooked(t, testOptions(vfs.NewMem()), func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && writes.Add(1) == 1 {
			close(started)
			<-goOn
		}
		return nil
	})
	var first source
	done := make(chan struct{})
	first.add(w, func(b *Batch) { b.Entries(1, 1, ents(1, 1, "first")) })
	go func() {
		w.Drive()
		close(done)
	}()
	<-started
	var others [5]waiter
	for i := range others {
		others[i].durable = make(chan id.LSN, 1)
		others[i].group = id.GroupID(i + 2)
		w.Signal(&others[i])
		w.Signal(&others[i])
		w.Drive() // must not block
	}
	if n := writes.Load(); n != 1 {
		t.Errorf("%d writes while one is in flight", n)
	}
	close(goOn)
	<-done
	end := <-others[0].durable
	for i := range others[1:] {
		if e := <-others[i+1].durable; e != end {
			t.Errorf("source %d was in the batch to %d, the first in that to %d", i+1, e, end)
		}
	}
	if n := writes.Load(); n != 2 {
		t.Errorf("%d writes, want 2", n)
	}
}

// waiter adds one entry per Collect.
type waiter struct {
	group   id.GroupID
	next    id.Index
	durable chan id.LSN
}

func (s *waiter) Collect(b *Batch) {
	s.next++
	b.Entries(s.group, 1, ents(s.next, 1, "entry"))
}

func (s *waiter) Durable(end id.LSN) { s.durable <- end }

// Any failed write or sync is the end: Fatal is called once, with the place, and nobody is told that anything is durable.
func TestFailureIsFinal(t *testing.T) {
	for _, m := range syncmethod.All() {
		for _, kind := range []vfs.Kind{vfs.OpWrite, vfs.OpSync} {
			if kind == vfs.OpSync && m != syncmethod.DirectFdatasync && m != syncmethod.BufferedFdatasync {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", m, kind), func(t *testing.T) { failure(t, m, kind) })
		}
	}
}

func failure(t *testing.T, m syncmethod.Method, kind vfs.Kind) {
	o := testOptions(vfs.NewMem())
	o.Method = m
	var fatal []error
	o.Fatal = func(err error) { fatal = append(fatal, err) }
	failed := false
	w := hooked(t, o, func(op vfs.Op) error {
		if op.Kind == kind && !failed {
			failed = true // only this once: a retry would succeed
			return syscall.EIO
		}
		return nil
	})
	var s source
	for i := range id.Index(3) {
		s.add(w, func(b *Batch) { b.Entries(1, 1, ents(i+1, 1, "x")) })
		w.Drive()
	}
	if len(fatal) != 1 || !errors.Is(fatal[0], syscall.EIO) || !strings.Contains(fatal[0].Error(), "/wal") {
		t.Errorf("Fatal was called with %v", fatal)
	}
	if s.told != 0 || len(s.lsns) != 1 {
		t.Errorf("told %d times that something is durable, collected %d times", s.told, len(s.lsns))
	}
	for what, err := range map[string]error{"Reclaim": w.Reclaim(), "Close": w.Close()} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s after the failure: %v", what, err)
		}
	}
	if _, err := w.Entries(1, 1, 2, 1); !errors.Is(err, syscall.EIO) {
		t.Errorf("Entries after the failure: %v", err)
	}
}

func TestFailedSuperblockIsFinal(t *testing.T) {
	o := testOptions(vfs.NewMem())
	var fatal error
	o.Fatal = func(err error) { fatal = err }
	w := hooked(t, o, func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && op.Off < 2*vfs.BlockSize {
			return syscall.EIO
		}
		return nil
	})
	var s source
	for i := range id.Index(2) { // the bound is not near yet
		s.add(w, func(b *Batch) { b.Checkpoint(1, 1, i, 1, hard(1, 1, i), nil) })
		w.Drive()
	}
	head, _ := w.queue.bounds()
	if err := w.Reclaim(); !errors.Is(err, syscall.EIO) || !errors.Is(fatal, syscall.EIO) {
		t.Errorf("Reclaim: %v, Fatal: %v", err, fatal)
	}
	if now, _ := w.queue.bounds(); now != head {
		t.Errorf("the head moved from %d to %d without a superblock", head, now)
	}
}

func TestBatchTooLarge(t *testing.T) {
	o := testOptions(vfs.NewMem())
	var fatal error
	o.Fatal = func(err error) { fatal = err }
	w, _ := mustOpen(t, o)
	var s source
	s.add(w, func(b *Batch) { b.Entries(1, 1, ents(1, 1, string(make([]byte, w.LargestBatch())))) })
	w.Drive()
	if fatal == nil || !strings.Contains(fatal.Error(), "the largest allowed is 16384") || s.told != 0 {
		t.Errorf("told %d times, Fatal: %v", s.told, fatal)
	}
}
