// Package giveback frees the blocks of removed files a little at a time. The problem: a file system that is mounted with discard has
// the device trim what a removed file occupied, and a device that is at that answers nobody: 60 ms for 300 MB on the disk that this was
// measured on. A WAL beside it cannot sync meanwhile, and a restart, which removes what was flushed and not checkpointed, has a client
// waiting. So files lose their names at once and their blocks from the end, in steps that a sync hardly notices.
package giveback

import (
	"slices"
	"sync"
	"time"

	"ackline/broker/vfs"
)

const (
	// stepBytes every stepPause: the device is busy with it for less than a hundredth of the time.
	stepBytes = 4 << 20
	stepPause = 100 * time.Millisecond
	// restPause goes before the first step: whoever removed has something better to do now.
	restPause = 2 * time.Second
	// share is the least part of all that waits that a step gives back: however much is removed, half of it is free after 18 s.
	share = 256
)

// Queue gives back the blocks of files. The zero value is ready to use, and nil frees all at once; all methods may be called
// concurrently.
type Queue struct {
	// Free returns how much space is left. When it is less than what waits here, that is given back at once. Nil: there is enough.
	Free func() (int64, error)

	mu      sync.Mutex // guards the rest
	files   []file     // but for the one that run is at
	bytes   int64      // of files
	running bool
}

type file struct {
	vfs.File
	size int64
}

// Remove removes a name. Nothing happens to the file itself until giveBack, which is never nil, is called: when nobody reads it any more.
func (q *Queue) Remove(fsys vfs.FS, name string) (giveBack func(), err error) {
	f, opened := fsys.Open(name, vfs.OpenOptions{})
	err = fsys.Remove(name)
	switch {
	case opened != nil:
		return func() {}, err
	case err != nil:
		f.Close()
		return func() {}, err
	}
	return func() { q.add(f) }, nil
}

// add takes over a file that has no name any more.
func (q *Queue) add(f vfs.File) {
	if q == nil {
		f.Close() // the last reference frees the blocks; there is nothing to say if it fails
		return
	}
	size, err := f.Size()
	if err != nil || size <= stepBytes {
		go f.Close()
		return
	}
	q.mu.Lock()
	q.files = append(q.files, file{f, size})
	q.bytes += size
	if !q.running {
		q.running = true
		go q.run()
	}
	q.mu.Unlock()
	q.relieve() // now, since whoever removed may need the space for what comes next
}

// relieve gives back all that waits if space is short.
func (q *Queue) relieve() {
	if q.Free == nil {
		return
	}
	free, err := q.Free()
	if err != nil {
		return
	}
	var all []file
	q.mu.Lock()
	if free < q.bytes {
		all, q.files, q.bytes = q.files, nil, 0
	}
	q.mu.Unlock()
	for _, f := range all {
		f.Close()
	}
}

func (q *Queue) run() {
	for pause := restPause; ; pause = stepPause {
		time.Sleep(pause)
		q.relieve()
		f, step, ok := q.take()
		if !ok {
			return
		}
		// A sync has the journal, and so the trim, done now.
		if f.size <= step || f.Truncate(f.size-step) != nil || f.Sync() != nil {
			f.Close()
			continue
		}
		f.size -= step
		q.mu.Lock()
		q.files = slices.Insert(q.files, 0, f)
		q.bytes += f.size
		q.mu.Unlock()
	}
}

// take takes out the file that the next step is to shorten by step bytes. ok is false when there is none, and run ends.
func (q *Queue) take() (f file, step int64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.files) == 0 {
		q.running = false
		return f, 0, false
	}
	f, step = q.files[0], max(stepBytes, q.bytes/share)
	q.files = q.files[1:]
	q.bytes -= f.size
	return f, step, true
}
