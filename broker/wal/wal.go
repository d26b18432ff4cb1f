package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"ackline/broker/id"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/broker/wal/ring"
)

// Options says where the ring is and how it is written.
type Options struct {
	FS     vfs.FS            // required
	Path   string            // of the ring file; it is made, filled with zeros, if it is not there. Required
	Method syncmethod.Method // how a batch becomes durable. Required
	// RingBytes is the size of the ring, in bytes, when it is made: a multiple of 4 KiB, at least 64 × BatchBytes. 0 means
	// 256 MiB. A ring that is there keeps its size, which Recovery reports.
	RingBytes int64
	// BatchBytes is what a batch should not exceed. 0 means 1 MiB. A thirty-second of the ring, but at least four times
	// this, is the most that a batch, and so an entry or a group's unflushed rest, may have: LargestBatch.
	BatchBytes int
	// Window makes the syncer wait, before it collects a batch, for more to come. 0, the default, is not to wait. A
	// batch that Drive writes inline never waits.
	Window time.Duration
	// Inline is for a caller that steps everything from one goroutine: there is no syncer, and Drive goes on until
	// nothing is listed.
	Inline bool
	// AcceptLoss opens a ring that Open has refused with a CorruptError, at the last batch before the damage. Only for a
	// caller that makes sure that none of the node's replicas ever votes again under its ReplicaID.
	AcceptLoss bool
	// RingID marks the batches of a ring that is made. 0 means a random one; only tests give it.
	RingID uint64
	// Outgoing is called by whoever writes or tells sources, with no lock held: when a batch is collected and not written yet,
	// and when its sources have been told that it is durable. Sources that talk to other nodes have their messages sent from
	// it, so that what they replicate leaves before the sync and not behind it. It must not wait. May be nil.
	Outgoing func()
	// Fatal is called once, on the goroutine that met it, when a write or sync has failed. What was not durable then
	// never will be, and the process should exit. nil is a panic.
	Fatal func(error)
	// Progress hears of the filling of a new ring, in bytes. May be nil.
	Progress func(done, total int64)
}

// WithDefaults returns o with zeros replaced by what they mean.
func (o Options) WithDefaults() Options {
	if o.RingBytes == 0 {
		o.RingBytes = 256 << 20
	}
	if o.BatchBytes == 0 {
		o.BatchBytes = 1 << 20
	}
	return o
}

// minRingBatches is how many batches of BatchBytes the smallest ring holds: the reserve is then not quite half of it.
const minRingBatches = 64

// Validate checks o after WithDefaults.
func (o Options) Validate() error {
	switch {
	case o.FS == nil || o.Path == "" || o.Method == "":
		return fmt.Errorf("wal: FS, Path and Method are required, got path %q, method %q", o.Path, o.Method)
	case o.BatchBytes < vfs.BlockSize:
		return fmt.Errorf("wal: BatchBytes is %d, it must be at least %d", o.BatchBytes, vfs.BlockSize)
	case o.RingBytes%vfs.BlockSize != 0:
		return fmt.Errorf("wal: RingBytes is %d, it must be a multiple of %d", o.RingBytes, vfs.BlockSize)
	case o.Window < 0:
		return fmt.Errorf("wal: Window is %v, it must not be negative", o.Window)
	}
	return o.checkRing(o.RingBytes)
}

func (o Options) checkRing(ringBytes int64) error {
	if least := minRingBatches * int64(o.BatchBytes); ringBytes < least {
		return fmt.Errorf("wal: %s: a ring of %d bytes is too small for batches of %d: make it at least %d, or the batches at most %d",
			o.Path, ringBytes, o.BatchBytes, least, ringBytes/minRingBatches)
	}
	return nil
}

func largestBatch(ringBytes int64, batchBytes int) int64 {
	return vfs.RoundUp(max(4*int64(batchBytes), ringBytes/32))
}

// ErrClosed is returned after Close.
var ErrClosed = errors.New("wal: closed")

// WAL is an open ring. All methods may be called concurrently.
type WAL struct {
	opt   Options
	file  *ring.File
	queue queue
	index index

	// Owned by the writer's role.
	batch Batch
	last  ring.Header // of the batch before the next

	wake      chan struct{} // hands the writer's role to the syncer
	completed chan finished // from the syncer to the completer
	space     chan struct{} // asks the reclaimer for a Reclaim
	stop      chan struct{}
	stopped   sync.WaitGroup

	reclaiming sync.Mutex // one Reclaim, Forget or Close at a time

	superMu   sync.Mutex    // held while a superblock is written; guards super
	super     ring.Super    // as last written
	bound     atomic.Uint64 // of super
	extending atomic.Bool   // a goroutine is about to move it on

	poison atomic.Pointer[error]
	stats  *Stats
}

// finished is a batch that is durable and whose sources wait to hear of it.
type finished struct {
	end     id.LSN
	sources []Source
}

// Open opens the ring, makes it if there is none, and recovers what it holds. v, which may be nil, sees every live record
// once. The error is a *CorruptError when the file is not what was once synced.
func Open(o Options, v Visitor) (*WAL, Recovery, error) {
	o = o.WithDefaults()
	if err := o.Validate(); err != nil {
		return nil, Recovery{}, err
	}
	began := time.Now()
	w := &WAL{opt: o, stats: newStats()}
	if err := w.openFile(); err != nil {
		return nil, Recovery{}, err
	}
	rec, err := w.recover(v)
	if err != nil {
		return nil, rec, errors.Join(err, w.file.Close())
	}
	rec.Duration = time.Since(began)
	w.wake, w.completed = make(chan struct{}, 1), make(chan finished, 1)
	w.space, w.stop = make(chan struct{}, 1), make(chan struct{})
	if !o.Inline {
		w.stopped.Add(3)
		go w.syncer()
		go w.completer()
		go w.reclaimer()
	}
	return w, rec, nil
}

// openFile opens the ring file, and makes it first if there is none.
func (w *WAL) openFile() (err error) {
	o := &w.opt
	if _, err := o.FS.Stat(o.Path); errors.Is(err, fs.ErrNotExist) {
		if o.RingID == 0 {
			o.RingID = randomRingID()
		}
		if err := ring.Create(o.FS, o.Path, o.Method, o.RingBytes, o.RingID, o.Progress); err != nil {
			return err
		}
	} else if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	w.file, w.super, err = ring.Open(o.FS, o.Path, o.Method)
	w.bound.Store(uint64(w.super.Bound))
	return err
}

// Signal lists s for the next batch. It does no I/O and may be called with the source's lock held; call Drive, without the
// lock, soon after.
func (w *WAL) Signal(s Source) { w.queue.signal(s, forEntries) }

// SignalCheckpoint is Signal for a source whose records free space in the ring. It is collected even when the ring is too
// full for entries; see Batch.CheckpointsOnly. There is room for one round of all groups' checkpoints and some: call
// Reclaim after each.
func (w *WAL) SignalCheckpoint(s Source) { w.queue.signal(s, forCheckpoints) }

// SignalVote is Signal for a source that has a hard state with another term or vote, or the first entry of a leader's term. It too is
// collected when the ring is too full for entries; see Batch.Votes. There is room for thousands of such calls, not for one after the other without end.
func (w *WAL) SignalVote(s Source) { w.queue.signal(s, forVotes) }

// Drive writes a batch of what is listed, unless somebody else is writing, who then goes on with it. On return nothing is
// listed that nobody is going to write, except entries that wait for space.
func (w *WAL) Drive() {
	for w.claim() {
		done := w.write()
		if w.queue.release(done.end) {
			w.stats.HandOvers.Add(1)
			w.wake <- struct{}{} // the syncer writes while we tell the sources
		}
		w.finish(done)
		if !w.opt.Inline {
			w.kick()
			return
		}
	}
}

// syncer is the writer when more than one batch follows another. The role comes with each wake-up.
func (w *WAL) syncer() {
	defer w.stopped.Done()
	defer close(w.completed)
	for {
		select {
		case <-w.stop:
			return
		case <-w.wake:
		}
		for more := true; more; {
			if w.opt.Window > 0 {
				time.Sleep(w.opt.Window)
			}
			done := w.write()
			if more = w.queue.release(done.end); more {
				// The next batch goes before the sources of this one are told, but behind whoever is runnable now: they are
				// about to add to it, and would wait for it otherwise.
				w.completed <- done
				runtime.Gosched()
				continue
			}
			w.finish(done)
			more = w.claim()
		}
	}
}

// claim takes the writer's role if it is free and there is something to write. Checkpoints that do not fit have whatever
// can be freed freed: whoever waits for them may be the one who would call Reclaim next.
func (w *WAL) claim() bool {
	mine, stuck := w.queue.claim()
	switch {
	case stuck && w.opt.Inline:
		_ = w.Reclaim() // a failure is Fatal's, or the caller's own Reclaim's to report
		mine, _ = w.queue.claim()
	case stuck:
		select {
		case w.space <- struct{}{}:
		default:
		}
	}
	return mine
}

func (w *WAL) completer() {
	defer w.stopped.Done()
	for done := range w.completed {
		w.finish(done)
		w.kick()
	}
}

// reclaimer is neither of the other two: it waits for the writer's role.
func (w *WAL) reclaimer() {
	defer w.stopped.Done()
	for {
		select {
		case <-w.stop:
			return
		case <-w.space:
			_ = w.Reclaim() // as in claim
		}
	}
}

// kick gives the syncer the role if something is listed and nobody writes.
func (w *WAL) kick() {
	if !w.opt.Inline && w.claim() {
		w.wake <- struct{}{}
	}
}

// write collects, seals, writes, syncs and publishes one batch. The caller holds the writer's role.
func (w *WAL) write() finished {
	from := w.queue.begin()
	b := &w.batch
	b.reset(from.tail, w.opt.BatchBytes, from.fits)
	sources := from.list
	for c, n := range from.take {
		sources = w.collect(b, n, class(c), sources)
	}
	w.outgoing()
	if b.b.Records() > 0 && !w.commit(b) {
		sources = sources[:0]
	}
	return finished{end: w.last.End(), sources: sources}
}

// collect lets the first n listed sources add their records, while the batch has room, and appends to told those that did.
func (w *WAL) collect(b *Batch, n int, c class, told []Source) []Source {
	for ; n > 0 && b.b.Len() < b.soft; n-- {
		s, had := w.queue.take(c), b.b.Records()
		s.Collect(b)
		if b.b.Records() > had {
			told = append(told, s)
		}
	}
	return told
}

// commit makes the batch durable, or poisons the WAL.
func (w *WAL) commit(b *Batch) bool {
	h := ring.Header{RingID: w.file.ID(), Generation: w.last.Generation, LSN: b.lsn, Prev: w.last.LSN, Durable: b.lsn}
	batch, blocks := b.b.Seal(&h)
	err := w.fits(h.Size())
	if err == nil {
		err = w.reach(h.End())
	}
	if err != nil {
		w.fail(err)
		return false
	}
	began := time.Now()
	w.stats.batch.begin(began)
	err = w.file.Write(blocks, h.LSN)
	w.stats.batch.end()
	if err != nil {
		w.fail(err)
		return false
	}
	w.stats.count(len(blocks), b.entries, time.Since(began))
	if err := w.index.apply(h, batch); err != nil {
		panic(fmt.Sprintf("wal: batch at LSN %d was written and makes no sense: %v", h.LSN, err))
	}
	w.last = h
	return true
}

func (w *WAL) fits(size int64) error {
	head, tail := w.queue.bounds()
	if free := w.file.Size() - int64(tail-head); size > w.queue.largest || size > free {
		return fmt.Errorf("wal: %s: a batch of %d bytes; the largest allowed is %d and %d are free: raise RingBytes (%d)",
			w.opt.Path, size, w.queue.largest, free, w.file.Size())
	}
	return nil
}

// finish tells the sources of a batch that it is durable.
func (w *WAL) finish(done finished) {
	for _, s := range done.sources {
		if w.poison.Load() != nil {
			break
		}
		s.Durable(done.end)
	}
	w.outgoing()
	w.queue.recycle(done.sources)
}

func (w *WAL) outgoing() {
	if w.opt.Outgoing != nil {
		w.opt.Outgoing()
	}
}

// fail poisons the WAL: the kernel may have dropped what it could not write, and would report success the next time.
func (w *WAL) fail(err error) {
	if !w.poison.CompareAndSwap(nil, &err) {
		return
	}
	w.queue.close()
	if w.opt.Fatal == nil {
		panic(err)
	}
	w.opt.Fatal(err)
}

// failed returns what poisoned the WAL.
func (w *WAL) failed() error {
	if err := w.poison.Load(); err != nil {
		return *err
	}
	return nil
}

// Usage returns how many bytes of the ring are in use and how many entries may use before they have to wait for space. Slow
// producers down and take checkpoints well before used reaches usable; it may exceed it by checkpoints.
func (w *WAL) Usage() (used, usable int64) {
	head, tail := w.queue.bounds()
	return int64(tail - head), w.file.Size() - reserve[forEntries]*w.queue.largest
}

// LargestBatch is the size in bytes that a batch never exceeds: what a source adds in one Collect, its entries' and
// records' headers included, must fit behind BatchBytes of others, and a group's unflushed entries with its checkpoint must
// fit whole if Reclaim is to move them.
func (w *WAL) LargestBatch() int64 { return w.queue.largest }

// Close waits for the batch in flight, marks the ring as cleanly closed and closes it. What is listed and not written is
// dropped. It returns what poisoned the WAL, if anything did.
func (w *WAL) Close() error {
	if !w.queue.acquire() {
		if err := w.failed(); err != nil {
			return err
		}
		return ErrClosed
	}
	w.queue.close()
	close(w.stop)
	w.stopped.Wait()
	w.reclaiming.Lock() // a Reclaim under way may end; it finds no role to move anything with
	defer w.reclaiming.Unlock()
	closed := ErrClosed
	_, err := w.advance(ring.FlagClean)
	w.poison.CompareAndSwap(nil, &closed)
	return errors.Join(err, w.file.Close())
}

func randomRingID() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}
