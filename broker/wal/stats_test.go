package wal

import (
	"sync/atomic"
	"testing"
	"time"

	"ackline/broker/vfs"
)

// A disk that hangs is seen while it hangs: by the age of what is on its way, of a batch and of a superblock, and in nothing that has come back.
func TestOutstandingGrowsWhileTheDiskHangs(t *testing.T) {
	for what, write := range map[string]func(w *WAL){
		"a batch": func(w *WAL) {
			var s source
			s.add(w, func(b *Batch) { b.Entries(1, 1, ents(1, 1, "x")) })
			w.Drive()
		},
		"a superblock": func(w *WAL) {
			if err := w.writeSuper(w.index.oldest(), 0); err != nil {
				t.Error(err)
			}
		},
	} {
		hangs, goOn := make(chan struct{}), make(chan struct{})
		var once atomic.Bool
		w := hooked(t, testOptions(vfs.NewMem()), func(op vfs.Op) error {
			if op.Kind == vfs.OpWrite && once.CompareAndSwap(false, true) {
				close(hangs)
				<-goOn
			}
			return nil
		})
		if age := w.Stats().Outstanding(); age != 0 {
			t.Errorf("%s: %v outstanding before anything is written", what, age)
		}
		began, done := time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			write(w)
		}()
		<-hangs
		reached := time.Now()
		for w.Stats().Outstanding() < 20*time.Millisecond {
			if time.Since(reached) > time.Minute {
				t.Errorf("%s hangs, and %v are outstanding", what, w.Stats().Outstanding())
				break // the write must go on, or closing waits for it
			}
		}
		if age := w.Stats().Outstanding(); age > time.Since(began) {
			t.Errorf("%s: %v outstanding, %v after it was begun", what, age, time.Since(began))
		}
		if n := w.Stats().Sync.Snapshot().Count(); n != 0 {
			t.Errorf("%s: %d syncs are counted, and none came back", what, n)
		}
		close(goOn)
		<-done
		if age := w.Stats().Outstanding(); age != 0 {
			t.Errorf("%s: %v outstanding after all is on disk", what, age)
		}
	}
}
