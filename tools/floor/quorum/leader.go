package quorum

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"ackline/broker/vfs"
	"ackline/tools/floor/echo"
	"ackline/tools/floor/link"
	"ackline/tools/floor/sock"
)

// Config is what a Leader needs to know.
type Config struct {
	ListenAddr  string   // host:port for clients; port 0 takes a free one
	Followers   []string // host:port each
	ReplyBytes  int      // size of an answer including its 4-byte length; at least echo.MinReplyBytes
	BatchBytes  int      // most bytes in one write, header and padding included; a multiple of echo.BlockSize; bounds a frame too
	WindowBytes int      // a copy that is this far behind gets no further batch until it has caught up; at least BatchBytes
	Alone       bool     // the process does nothing else, with a P for each of Pollers and one more: see sock.Poller.Hold
	Log         *slog.Logger
}

// MaxFollowers keeps the copies of a batch in one word.
const MaxFollowers = 30

// DefaultWindowBytes is far more than 256 requests of 1 KiB, and little enough to be lost by a follower that comes back.
const DefaultWindowBytes = 4 * echo.DefaultBatchBytes

// Validate says what cannot be right.
func (c Config) Validate() error {
	switch {
	case c.ReplyBytes < echo.MinReplyBytes:
		return fmt.Errorf("floor: reply of %d bytes, want at least %d (length and correlation id)", c.ReplyBytes, echo.MinReplyBytes)
	case c.BatchBytes < echo.BlockSize || c.BatchBytes%echo.BlockSize != 0:
		return fmt.Errorf("floor: batch of %d bytes, want a multiple of %d", c.BatchBytes, echo.BlockSize)
	case c.WindowBytes < c.BatchBytes:
		return fmt.Errorf("floor: window of %d bytes, want at least a batch's %d", c.WindowBytes, c.BatchBytes)
	case len(c.Followers) == 0 || len(c.Followers) > MaxFollowers:
		return fmt.Errorf("floor: %d followers, want 1 to %d", len(c.Followers), MaxFollowers)
	}
	return nil
}

// Majority is how many of the nodes, the leader being one, must have a request's bytes before it is answered.
func Majority(followers int) int { return (followers+1)/2 + 1 }

// Stats counts what was done, for the figures per request. It is final once Serve has returned.
type Stats struct {
	Requests, Syncs, Bytes int64 // Syncs of the leader's own disk; Bytes of frames, without header and padding
	Batches                int64 // as forwarded
	Refused                int64 // connections closed because of a frame that cannot be right
	Lost                   int64 // connections closed because no majority could be had
	Skipped                int64 // times that a batch was not given to a copy which was WindowBytes behind
	Reconnects             int64
}

// Leader is the quorum's echo; the package comment explains it.
type Leader struct {
	cfg      Config
	disk     echo.Appender // used by whoever work has given a block to
	majority int
	poll     *sock.Poller
	nudge    int // eventfd: written to let a poller take up the tray
	listen   int
	addr     string
	dials    sync.WaitGroup // goroutines that look for a lost follower

	mu   sync.Mutex // guards tray and busy; held for a few instructions, never for a system call
	tray []event    // to be handled by whoever is busy
	busy bool       // a thread works on what follows, and takes up the tray before it stops

	// Everything below belongs to the thread that has set busy.
	redial  func(*peer)
	handled []event   // the tray's other half, to be used again
	clients []*client // by file descriptor
	peers   []*peer
	peerOf  []*peer // by file descriptor
	held    []*client
	answers []*client // have something due
	open    *batch    // takes requests until it is sealed
	idle    []*batch  // to be used again
	pending fifo[*batch]
	own     fifo[*batch] // not yet on the leader's disk; the first writing of them are being written
	ownSize int          // bytes in own
	writing int
	written func() // the method, made once
	merged  []byte // aligned, BatchBytes long: several batches as one block; unchanged while writing
	seq     uint64
	failure error // the reason for the end, if it is not the context's
	stats   Stats
}

// event is what a thread has learned: from the poller, or by itself.
type event struct {
	fd   int
	what uint32
	call func() // instead of a descriptor's event
}

// Listen binds the address and connects to every follower: a quorum that starts without one of its copies is another
// quorum than was asked for, with other latencies. Followers may start later than the leader, until ctx ends.
func Listen(ctx context.Context, cfg Config, disk echo.Appender) (*Leader, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l := &Leader{cfg: cfg, disk: disk, majority: Majority(len(cfg.Followers)), nudge: -1, listen: -1}
	for i, addr := range cfg.Followers {
		l.peers = append(l.peers, &peer{bit: 1 << (i + 1), addr: addr, fd: -1})
	}
	if err := l.start(ctx); err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

func (l *Leader) start(ctx context.Context) (err error) {
	if l.listen, l.addr, err = sock.Listen(l.cfg.ListenAddr); err != nil {
		return fmt.Errorf("floor: listen on %s: %w", l.cfg.ListenAddr, err)
	}
	if l.poll, err = sock.NewPoller(); err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	l.poll.Hold = l.cfg.Alone
	if err := l.poll.Watch(unix.EPOLL_CTL_ADD, l.listen, unix.EPOLLIN|unix.EPOLLET); err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	if l.nudge, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return fmt.Errorf("floor: %w", os.NewSyscallError("eventfd", err))
	}
	if err := l.poll.Watch(unix.EPOLL_CTL_ADD, l.nudge, unix.EPOLLIN|unix.EPOLLET); err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	l.written = l.onDisk
	l.merged = vfs.Aligned(l.cfg.BatchBytes)
	l.open = l.batch()
	for _, k := range l.peers {
		fd, err := link.DialUntil(ctx, k.addr, l.cfg.BatchBytes)
		if err == nil {
			err = l.join(k, fd)
		}
		if err != nil {
			return fmt.Errorf("floor: follower %s: %w", k.addr, err)
		}
	}
	return nil
}

// Addr returns the address that clients connect to.
func (l *Leader) Addr() string { return l.addr }

// Stats returns the counters; only meaningful after Serve has returned.
func (l *Leader) Stats() Stats { return l.stats }

// Pollers is how many threads wait for events: one may be writing to the disk, the other is there meanwhile.
const Pollers = 2

// Serve answers until ctx ends (nil) or the disk fails (its error). It may be called once.
func (l *Leader) Serve(ctx context.Context) error {
	var loops []func() error
	for range Pollers {
		loops = append(loops, l.loop)
	}
	return l.serve(ctx, loops...)
}

// serve runs the loops, which end when the poller is woken, each in a goroutine of its own.
func (l *Leader) serve(ctx context.Context, loops ...func() error) error {
	defer l.release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := l.poll.WakeWith(ctx)
	l.redial = func(k *peer) { l.dials.Go(func() { l.look(ctx, k) }) }
	ends := make(chan error, len(loops))
	for _, loop := range loops {
		go func() {
			ends <- loop()
			cancel() // one has ended: all do
		}()
	}
	var err error
	for range loops {
		err = errors.Join(err, <-ends)
	}
	stop() // before dials.Wait: a loop may have ended because of the descriptor alone, which orders nothing in Go's eyes
	l.dials.Wait()
	return errors.Join(err, l.failure)
}

// loop is one poller: wait, carry what came as far as it goes, the disk's write included.
func (l *Leader) loop() error {
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := l.poll.Wait(events, -1)
		if err != nil || woken(events[:n], l.poll.WakeFD) {
			return err
		}
		if err := l.write(l.work(events[:n], nil)); err != nil {
			return err
		}
	}
}

func woken(events []unix.EpollEvent, fd int) bool {
	return slices.ContainsFunc(events, func(e unix.EpollEvent) bool { return int(e.Fd) == fd })
}

// write makes blocks durable until there is none.
func (l *Leader) write(block []byte) error {
	for block != nil {
		if err := l.disk.Append(block); err != nil {
			// Whether it is on disk is unknown. Nobody is told that it is written, so nobody writes again.
			h, _ := echo.ParseHeader(block)
			return fmt.Errorf("floor: batch %d: %w", h.Sequence, err)
		}
		block = l.work(nil, l.written)
	}
	return nil
}

// lateRounds is how often work takes up the tray when it has a block already. What comes later is left to the other
// thread, or the disk would idle for as long as that one finds events.
const lateRounds = 1

// work handles what the caller has learned. If another thread is at work it only leaves it on the tray, which that thread
// takes up: to wait for it would cost a wake-up. A block that work returns is for the caller to write, and the disk is
// the caller's until it calls work with written.
func (l *Leader) work(events []unix.EpollEvent, call func()) (block []byte) {
	l.mu.Lock()
	for _, e := range events {
		l.tray = append(l.tray, event{fd: int(e.Fd), what: e.Events})
	}
	if call != nil {
		l.tray = append(l.tray, event{call: call})
	}
	if l.busy {
		l.mu.Unlock()
		return nil
	}
	l.busy = true
	for late := 0; len(l.tray) > 0; {
		if block != nil {
			if late++; late > lateRounds {
				l.busy = false
				l.mu.Unlock()
				unix.Write(l.nudge, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // an edge, whatever the count
				return block
			}
		}
		l.tray, l.handled = l.handled[:0], l.tray
		l.mu.Unlock()
		for i, e := range l.handled {
			l.handled[i].call = nil
			l.handle(e)
		}
		l.settle()
		if l.writing == 0 && l.own.len() > 0 {
			block, l.writing = l.block()
		}
		l.mu.Lock()
	}
	l.busy = false
	l.mu.Unlock()
	return block
}

func (l *Leader) handle(e event) {
	switch fd := e.fd; {
	case e.call != nil:
		e.call()
	case fd == l.listen:
		if err := l.accept(); err != nil {
			l.failure = err
			l.poll.Wake()
		}
	case fd < len(l.peerOf) && l.peerOf[fd] != nil:
		l.peerReady(l.peerOf[fd], e.what)
	case fd < len(l.clients) && l.clients[fd] != nil:
		l.clientReady(l.clients[fd], e.what)
	}
}

// settle draws every conclusion from what has changed: it forwards the open batch, answers what a majority has, and takes
// up clients that had to wait, until nothing more follows.
func (l *Leader) settle() {
	for {
		l.seal()
		l.decide()
		l.answer()
		if !l.takeUp() {
			return
		}
	}
}

// onDisk counts the block that was being written.
func (l *Leader) onDisk() {
	l.stats.Syncs++
	for ; l.writing > 0; l.writing-- {
		b := l.own.pop()
		l.ownSize -= b.fill
		b.hopes &^= ownBit
		b.durable |= ownBit
		l.unref(b)
	}
}

// block returns the next block for the disk and of how many batches it is made: one as it is, or as many as fit.
func (l *Leader) block() (block []byte, n int) {
	b := *l.own.at(0)
	if l.own.len() == 1 || b.fill+(*l.own.at(1)).fill-echo.HeaderBytes > len(l.merged) {
		return b.buf[:echo.Pad(b.fill)], 1
	}
	h := echo.Header{}
	fill := echo.HeaderBytes
	for ; n < l.own.len(); n++ {
		b := *l.own.at(n)
		if fill+b.fill-echo.HeaderBytes > len(l.merged) {
			break
		}
		fill += copy(l.merged[fill:], b.buf[echo.HeaderBytes:b.fill])
		h.Sequence, h.Frames = b.seq, h.Frames+b.frames
	}
	h.PayloadLen = fill - echo.HeaderBytes
	echo.PutHeader(l.merged, h)
	end := echo.Pad(fill)
	clear(l.merged[fill:end])
	return l.merged[:end], n
}

// look dials a lost follower until it is back or ctx ends.
func (l *Leader) look(ctx context.Context, k *peer) {
	log := orDiscard(l.cfg.Log)
	fd, err := link.DialUntil(ctx, k.addr, l.cfg.BatchBytes)
	if err != nil {
		if ctx.Err() == nil {
			log.Error("follower is not looked for any more", "follower", k.addr, "why", err)
		}
		return
	}
	// What the new socket brings about, beginning with the edge that it can be written, a poller carries on.
	block := l.work(nil, func() {
		if err := l.join(k, fd); err != nil {
			log.Warn("follower not taken back", "follower", k.addr, "why", err)
			l.redial(k)
			return
		}
		l.stats.Reconnects++
		log.Info("follower is back", "follower", k.addr, "copies", l.alive(), "majority", l.majority)
	})
	if err := l.write(block); err != nil {
		l.work(nil, func() { l.failure = err })
		l.poll.Wake()
	}
}

// Close gives up a leader that was not served.
func (l *Leader) Close() { l.release() }

func (l *Leader) release() {
	for _, c := range l.clients {
		if c != nil {
			unix.Close(c.fd)
		}
	}
	for _, k := range l.peers {
		if k.fd >= 0 {
			unix.Close(k.fd)
		}
	}
	for _, fd := range []int{l.listen, l.nudge} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	if l.poll != nil {
		l.poll.Close()
	}
	l.clients, l.peers, l.peerOf, l.listen, l.nudge, l.poll = nil, nil, nil, -1, -1, nil
}
