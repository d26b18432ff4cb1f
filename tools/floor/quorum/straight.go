package quorum

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sys/unix"

	"ackline/broker/vfs"
	"ackline/tools/floor/echo"
	"ackline/tools/floor/link"
	"ackline/tools/floor/sock"
)

// Straight is the plainest leader: one client, one request at a time, one thread, the calls in a line. No queue, no lock,
// no batch, no second thread; it waits for its own disk, needed or not, and ends when a follower is lost. A leader cannot
// do less, so it is the floor where one request is outstanding. It flatters nobody where the disks are alike: the leader's own write
// begins with the first copy's.
type Straight struct {
	cfg    Config
	disk   echo.Appender
	listen int
	addr   string
	poll   *sock.Poller // of the followers
	peers  []int
	events []unix.EpollEvent
	block  []byte // aligned, BatchBytes long: the header, then the request
	ack    [link.AckBytes]byte
	answer []byte
	seq    uint64
	stats  Stats
}

// ListenStraight binds the address and connects to every follower, as Listen does.
func ListenStraight(ctx context.Context, cfg Config, disk echo.Appender) (*Straight, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Straight{cfg: cfg, disk: disk, listen: -1, block: vfs.Aligned(cfg.BatchBytes), answer: make([]byte, cfg.ReplyBytes),
		events: make([]unix.EpollEvent, len(cfg.Followers))}
	binary.BigEndian.PutUint32(s.answer, uint32(cfg.ReplyBytes-4))
	if err := s.open(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Straight) open(ctx context.Context) (err error) {
	if s.listen, s.addr, err = sock.Listen(s.cfg.ListenAddr); err != nil {
		return fmt.Errorf("floor: listen on %s: %w", s.cfg.ListenAddr, err)
	}
	if s.poll, err = sock.NewPoller(); err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	s.poll.Hold = s.cfg.Alone
	for _, addr := range s.cfg.Followers {
		fd, err := link.DialUntil(ctx, addr, s.cfg.BatchBytes)
		if err == nil {
			s.peers = append(s.peers, fd)
			err = s.poll.Watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN)
		}
		if err != nil {
			return fmt.Errorf("floor: follower %s: %w", addr, err)
		}
	}
	return nil
}

// Addr returns the address that the client connects to.
func (s *Straight) Addr() string { return s.addr }

// Stats returns the counters; only meaningful after Serve has returned.
func (s *Straight) Stats() Stats { return s.stats }

// Serve answers one client after the other until ctx ends (nil), or the disk or a follower fails (its error).
func (s *Straight) Serve(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer s.Close()
	defer s.poll.WakeWith(ctx)()
	for {
		client, err := s.accept(ctx)
		if client < 0 || err != nil {
			return err
		}
		err = s.serve(ctx, client)
		unix.Close(client)
		if err != nil {
			return err
		}
	}
}

// accept waits for a client; -1 is the end.
func (s *Straight) accept(ctx context.Context) (client int, err error) {
	polls := []unix.PollFd{{Fd: int32(s.listen), Events: unix.POLLIN}, {Fd: int32(s.poll.WakeFD), Events: unix.POLLIN}}
	for client = -1; client < 0 && ctx.Err() == nil; {
		if _, err := unix.Poll(polls, -1); err != nil && err != unix.EINTR {
			return -1, fmt.Errorf("floor: poll: %w", err)
		}
		if err := sock.Accept(s.listen, func(fd int) {
			if client >= 0 {
				unix.Close(fd) // one at a time
				return
			}
			client = fd
		}); err != nil {
			return client, err
		}
	}
	return client, nil
}

// serve answers a client until it hangs up or sends what it may not.
func (s *Straight) serve(ctx context.Context, client int) error {
	if err := unix.SetNonblock(client, false); err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	// A read that blocks is ended by the connection's end.
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		unix.Shutdown(client, unix.SHUT_RDWR)
		close(ended)
	})
	defer func() {
		if !stop() {
			<-ended
		}
	}()
	for {
		size, err := s.read(client)
		if err != nil {
			return nil // the client's end, or its fault: the next one may do better
		}
		s.stats.Requests++
		s.stats.Bytes += int64(size)
		if err := s.replicate(size); err != nil || ctx.Err() != nil {
			return err
		}
		copy(s.answer[4:8], s.block[echo.HeaderBytes+8:])
		if n, errno := sock.Write(client, s.answer); n < len(s.answer) || errno != 0 {
			return nil
		}
	}
}

// read takes one request behind the block's header and returns its size.
func (s *Straight) read(client int) (size int, err error) {
	in := s.block[echo.HeaderBytes:]
	for n := 0; ; {
		k, err := s.readSome(client, in[n:])
		if k <= 0 || err != nil {
			return 0, errors.Join(err, io.ErrUnexpectedEOF)
		}
		if n += k; n < frameHead {
			continue
		}
		size := 4 + int(binary.BigEndian.Uint32(in))
		if size < frameHead || size > len(in) || n > size {
			s.stats.Refused++
			return 0, fmt.Errorf("%d bytes of a request of %d", n, size)
		}
		if n == size {
			return size, nil
		}
	}
}

// readSome is one read, which blocks; in a process of our own without telling the scheduler.
func (s *Straight) readSome(fd int, b []byte) (int, error) {
	if !s.cfg.Alone {
		return unix.Read(fd, b)
	}
	n, errno := sock.Read(fd, b)
	for errno == unix.EINTR {
		n, errno = sock.Read(fd, b)
	}
	if errno != 0 {
		return 0, errno
	}
	return n, nil
}

// replicate forwards the request in the block, makes it durable here, and returns when a majority has it.
func (s *Straight) replicate(size int) error {
	s.seq++
	fill := echo.HeaderBytes + size
	clear(s.block[fill:echo.Pad(fill)])
	link.PutMessage(s.block, link.Message{Header: echo.Header{Sequence: s.seq, PayloadLen: size, Frames: 1}, Kind: link.KindBatch})
	for i, fd := range s.peers {
		if err := send(fd, s.block[:fill]); err != nil {
			return fmt.Errorf("floor: follower %s: %w", s.cfg.Followers[i], err)
		}
	}
	if err := s.disk.Append(s.block[:echo.Pad(fill)]); err != nil {
		return fmt.Errorf("floor: batch %d: %w", s.seq, err)
	}
	s.stats.Batches++
	s.stats.Syncs++
	for copies := 1; copies < Majority(len(s.peers)); {
		n, err := s.poll.Wait(s.events, -1)
		if err != nil {
			return err
		}
		for _, e := range s.events[:n] {
			if int(e.Fd) == s.poll.WakeFD {
				return nil
			}
			k, errno := sock.Read(int(e.Fd), s.ack[:])
			if k != link.AckBytes || errno != 0 {
				return fmt.Errorf("floor: a follower ended (%d bytes, %v)", k, errno)
			}
			if seq, _ := link.ParseAck(s.ack[:]); seq == s.seq { // else it is late, for an earlier request
				copies++
			}
		}
	}
	return nil
}

// Close gives up a leader that is not served.
func (s *Straight) Close() {
	for _, fd := range append(s.peers, s.listen) {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	if s.poll != nil {
		s.poll.Close()
	}
	s.peers, s.listen, s.poll = nil, -1, nil
}
