package quorum

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"ackline/broker/vfs"
	"ackline/tools/floor/echo"
	"ackline/tools/floor/link"
	"ackline/tools/floor/sock"
)

// FollowerConfig is what a Follower needs to know.
type FollowerConfig struct {
	ListenAddr string // host:port; port 0 takes a free one
	BatchBytes int    // most bytes in one write, header and padding included; a multiple of echo.BlockSize, at least the leader's
	Alone      bool   // the process does nothing else and has two Ps: see sock.Poller.Hold
	Log        *slog.Logger
}

// FollowerStats counts what was done. It is final once Serve has returned.
type FollowerStats struct {
	Messages, Frames, Syncs, Bytes int64 // Bytes of frames, without header and padding
	Refused                        int64 // connections closed because of bytes that no leader sends
}

// Follower makes durable what leaders send. It is the echo's loop with other frames: one thread, all that was read when a
// sync begins is one write, and one acknowledgement for each connection goes out as soon as the write returns. Any number
// of leaders may be connected, so that Measure can ask beside one that serves; each is acknowledged its own bytes.
type Follower struct {
	cfg    FollowerConfig
	disk   echo.Appender
	poll   *sock.Poller
	listen int
	addr   string

	uplinks []*uplink // by file descriptor
	waiting []*uplink // have messages in the batch
	full    []*uplink // hold complete messages that did not fit into the batch
	batch   []byte    // aligned, BatchBytes long
	fill    int       // bytes of batch in use, the header included
	frames  int
	timed   bool // a trial is in the batch
	seq     uint64
	stats   FollowerStats
}

// uplink is the connection of one leader.
type uplink struct {
	fd      int
	in      inbox
	out     outbox
	greeted bool
	seq     uint64 // of the last message that was taken
	queued  bool   // on waiting
	over    bool   // on full
	stuck   bool   // the socket took only part of out: nothing is read until the rest is gone
}

const firstReadBytes = 64 << 10

// ListenFollower binds the address; Serve does the rest.
func ListenFollower(cfg FollowerConfig, disk echo.Appender) (*Follower, error) {
	if cfg.BatchBytes < echo.BlockSize || cfg.BatchBytes%echo.BlockSize != 0 {
		return nil, fmt.Errorf("floor: batch of %d bytes, want a multiple of %d", cfg.BatchBytes, echo.BlockSize)
	}
	f := &Follower{cfg: cfg, disk: disk, listen: -1, batch: vfs.Aligned(cfg.BatchBytes), fill: echo.HeaderBytes}
	if err := f.open(); err != nil {
		f.release()
		return nil, fmt.Errorf("floor: listen on %s: %w", cfg.ListenAddr, err)
	}
	return f, nil
}

// Addr returns the address that leaders connect to.
func (f *Follower) Addr() string { return f.addr }

// Stats returns the counters; only meaningful after Serve has returned.
func (f *Follower) Stats() FollowerStats { return f.stats }

// Serve runs the loop until ctx ends (nil) or the disk fails (its error). It may be called once.
func (f *Follower) Serve(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer f.release()
	defer f.poll.WakeWith(ctx)()
	events := make([]unix.EpollEvent, 64)
	for {
		done, err := f.round(events)
		if done || err != nil {
			return err
		}
	}
}

// round is one turn of the loop: wait, read everything that is ready, make it durable, acknowledge.
func (f *Follower) round(events []unix.EpollEvent) (done bool, err error) {
	timeoutMs := -1
	if len(f.full) > 0 {
		timeoutMs = 0
	}
	n, err := f.poll.Wait(events, timeoutMs)
	if err != nil {
		return false, err
	}
	left := f.full
	f.full = f.full[:0]
	for _, u := range left {
		u.over = false
		if f.uplinks[u.fd] == u {
			f.parse(u)
		}
	}
	for i := range n {
		switch fd := int(events[i].Fd); fd {
		case f.poll.WakeFD:
			return true, nil
		case f.listen:
			if err := f.accept(); err != nil {
				return false, err
			}
		default:
			if u := f.uplinks[fd]; u != nil {
				f.ready(u)
			}
		}
	}
	if len(f.waiting) > 0 {
		return false, f.sync()
	}
	return false, nil
}

func (f *Follower) ready(u *uplink) {
	if u.stuck {
		f.flush(u)
		return
	}
	for !u.over {
		switch u.in.fill(u.fd) {
		case gotAll:
			if !f.parse(u) {
				return
			}
		case gotShort:
			f.parse(u)
			return
		case gotNothing:
			return
		case gotEnd:
			f.drop(u)
			return
		}
	}
}

// parse moves every complete message of u into the batch. It returns false when u was dropped.
func (f *Follower) parse(u *uplink) bool {
	if !u.greeted && !f.greet(u) {
		return f.uplinks[u.fd] == u
	}
	for {
		b := u.in.bytes()
		if len(b) < echo.HeaderBytes {
			u.in.room(echo.HeaderBytes)
			return true
		}
		m, err := link.ParseMessage(b, f.cfg.BatchBytes, u.seq)
		if err != nil {
			f.refuse(u, err)
			return false
		}
		if len(b) < m.Size() {
			u.in.room(m.Size())
			return true
		}
		if f.fill+m.PayloadLen > f.cfg.BatchBytes {
			u.over = true
			f.full = append(f.full, u)
			return true
		}
		f.take(u, m, b[echo.HeaderBytes:m.Size()])
		if f.uplinks[u.fd] != u {
			return false
		}
	}
}

// greet answers a greeting. It returns false when u has none yet, or had a wrong one.
func (f *Follower) greet(u *uplink) bool {
	b := u.in.bytes()
	if len(b) < link.GreetingBytes {
		u.in.room(link.GreetingBytes)
		return false
	}
	theirs, err := link.ParseGreeting(b)
	if err != nil {
		f.refuse(u, err)
		return false
	}
	u.in.take(link.GreetingBytes)
	u.greeted = true
	// A leader with larger batches learns so from the answer.
	link.PutGreeting(u.reply(link.GreetingBytes), f.cfg.BatchBytes)
	if theirs > f.cfg.BatchBytes {
		f.log().Warn("a leader's batches are too large", "theirs_bytes", theirs, "most_bytes", f.cfg.BatchBytes)
	}
	f.flush(u)
	return f.uplinks[u.fd] == u
}

// take puts a message into the batch, or answers it when it is a ping.
func (f *Follower) take(u *uplink, m link.Message, frames []byte) {
	u.seq = m.Sequence
	u.in.take(m.Size())
	if m.Kind == link.KindPing {
		if !u.queued { // else the batch's acknowledgement covers it
			link.PutAck(u.reply(link.AckBytes), u.seq, 0)
			f.flush(u)
		}
		return
	}
	copy(f.batch[f.fill:], frames)
	f.fill += len(frames)
	f.frames += m.Frames
	f.timed = f.timed || m.Kind == link.KindTrial
	f.stats.Messages++
	f.stats.Frames += int64(m.Frames)
	if !u.queued {
		u.queued = true
		f.waiting = append(f.waiting, u)
	}
}

// sync makes the batch durable and acknowledges it. An error ends the follower: whether the bytes are on disk is
// unknown, and no acknowledgement goes out.
func (f *Follower) sync() error {
	f.seq++
	f.stats.Bytes += int64(f.fill - echo.HeaderBytes)
	end := echo.Pad(f.fill)
	clear(f.batch[f.fill:end])
	echo.PutHeader(f.batch, echo.Header{Sequence: f.seq, PayloadLen: f.fill - echo.HeaderBytes, Frames: f.frames})
	var start time.Time
	if f.timed {
		start = time.Now()
	}
	if err := f.disk.Append(f.batch[:end]); err != nil {
		return fmt.Errorf("floor: block %d: %w", f.seq, err)
	}
	writeNs := uint64(0)
	if f.timed {
		writeNs = uint64(time.Since(start))
	}
	f.stats.Syncs++
	for _, u := range f.waiting {
		u.queued = false
		if f.uplinks[u.fd] == u {
			link.PutAck(u.reply(link.AckBytes), u.seq, writeNs)
			if !u.stuck {
				f.flush(u)
			}
		}
	}
	f.waiting = f.waiting[:0]
	f.fill, f.frames, f.timed = echo.HeaderBytes, 0, false
	return nil
}

// reply returns the place for n more bytes of answer.
func (u *uplink) reply(n int) []byte {
	at := len(u.out.buf)
	u.out.buf = sock.Extend(u.out.buf, n)
	u.out.due = len(u.out.buf)
	return u.out.buf[at:]
}

// flush writes u's answers as far as the socket takes them. u is not read until the rest is gone.
func (f *Follower) flush(u *uplink) {
	all, errno := u.out.flush(u.fd)
	if errno != 0 {
		f.drop(u)
		return
	}
	if u.stuck == !all {
		return
	}
	u.stuck = !all
	events := uint32(unix.EPOLLIN)
	if u.stuck {
		events = unix.EPOLLOUT
	}
	if f.poll.Watch(unix.EPOLL_CTL_MOD, u.fd, events) != nil {
		f.drop(u)
	}
}

func (f *Follower) refuse(u *uplink, why error) {
	f.stats.Refused++
	f.log().Warn("a connection was refused", "why", why)
	f.drop(u)
}

// drop closes u and forgets it. Messages of u that are already in the batch are still written: they were received.
func (f *Follower) drop(u *uplink) {
	if f.uplinks[u.fd] == u {
		f.uplinks[u.fd] = nil
		unix.Close(u.fd)
	}
}

func (f *Follower) log() *slog.Logger { return orDiscard(f.cfg.Log) }

func orDiscard(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

func (f *Follower) open() (err error) {
	if f.listen, f.addr, err = sock.Listen(f.cfg.ListenAddr); err != nil {
		return err
	}
	if f.poll, err = sock.NewPoller(); err != nil {
		return err
	}
	f.poll.Hold = f.cfg.Alone
	return f.poll.Watch(unix.EPOLL_CTL_ADD, f.listen, unix.EPOLLIN)
}

func (f *Follower) accept() error {
	return sock.Accept(f.listen, func(fd int) {
		if f.poll.Watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN) != nil {
			unix.Close(fd)
			return
		}
		for len(f.uplinks) <= fd {
			f.uplinks = append(f.uplinks, nil)
		}
		f.uplinks[fd] = &uplink{fd: fd, in: inbox{buf: make([]byte, firstReadBytes)}}
	})
}

func (f *Follower) release() {
	// First, so that a leader which sees its connection end can rely on it that nobody takes another one here.
	if f.listen >= 0 {
		unix.Close(f.listen)
	}
	for _, u := range f.uplinks {
		if u != nil {
			unix.Close(u.fd)
		}
	}
	if f.poll != nil {
		f.poll.Close()
	}
	f.uplinks, f.listen, f.poll = nil, -1, nil
}
