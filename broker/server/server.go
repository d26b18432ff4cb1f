// Package server stands between the handlers of requests and clients that may be slow, broken or hostile, and takes
// part in the latency of every produce while it does. Two things are asked of it.
//
// To cost nothing: one produce at a time on a connection is one read that parks, the handler, and one non-blocking
// write by whichever goroutine completes the request; no channel, no goroutine switch, no allocation beside the
// frame. Pipelined requests share reads, and replies that are completed together share writes (Corker).
//
// To bound everything: connections, a frame's length before it is allocated, memory in flight over all connections,
// requests and reply bytes outstanding on one, and the time that a silent client, a dripping one or one that does
// not read may take. Whatever a client does costs that client its connection, and nobody else anything.
//
// Replies go out in the order of the requests, whoever completes them when.
//
// Locks: Server.mu before Conn.mu; budget.mu is taken with neither held. None is held across a call to the handler
// or to the kernel, and all may be taken under the handler's own locks where Complete is called.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Server serves one handler on any number of listeners.
type Server struct {
	// Counters count since New.
	Counters Counters

	cfg     Config
	handler Handler
	budget  budget
	buffers *sync.Pool // of *readBuffer

	mu        sync.Mutex
	listeners map[net.Listener]struct{} // owned by mu
	conns     map[*Conn]struct{}        // owned by mu
	lastID    uint64                    // owned by mu
	closing   bool                      // owned by mu
	deaf      bool                      // owned by mu: nothing is accepted any more
	stop      chan struct{}             // closed, once, when deaf is set
	empty     chan struct{}             // closed, once, when closing is set and conns is empty
	sweeping  bool                      // owned by mu: the sweeper was started
}

// New checks the configuration.
func New(cfg Config, h Handler) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &Server{
		cfg:       cfg,
		handler:   h,
		budget:    budget{limit: cfg.MaxInflightBytes},
		buffers:   newReadBuffers(cfg.ReadBufferBytes),
		listeners: map[net.Listener]struct{}{},
		conns:     map[*Conn]struct{}{},
		stop:      make(chan struct{}),
		empty:     make(chan struct{}),
	}, nil
}

// Serve accepts connections until StopAccepting or Shutdown, which make it return nil, or until the listener fails for good.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	if s.deaf {
		s.mu.Unlock()
		ln.Close()
		return nil
	}
	s.listeners[ln] = struct{}{}
	if !s.sweeping {
		s.sweeping = true
		go s.sweeper()
	}
	s.mu.Unlock()
	defer ln.Close()
	var pause time.Duration
	for {
		nc, err := ln.Accept()
		if err == nil {
			pause = 0
			s.accept(nc)
			continue
		}
		select {
		case <-s.stop:
			return nil
		default:
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("server: %s: listener was closed: %w", ln.Addr(), err)
		}
		// Out of descriptors, most likely: connections that end will bring them back.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		select {
		case <-time.After(pause):
		case <-s.stop:
			return nil
		}
	}
}

// accept starts a connection's reader, or refuses it.
func (s *Server) accept(nc net.Conn) {
	c := &Conn{server: s, nc: nc, taker: newTaker()}
	c.room.L = &c.mu
	switch plain := nc.(type) {
	case *net.TCPConn:
		c.raw, _ = plain.SyscallConn()
	case *net.UnixConn:
		c.raw, _ = plain.SyscallConn()
	}
	c.read.c = c
	c.read.newAttempt()
	c.newAttempt()
	c.lastActive.Store(s.cfg.Now())
	s.mu.Lock()
	refused := len(s.conns) >= s.cfg.MaxConnections
	if s.deaf || refused {
		s.mu.Unlock()
		if refused {
			s.Counters.Refused.Add(1)
		}
		abort(nc) // as in unheard
		return
	}
	s.lastID++
	c.ID = s.lastID
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.Counters.Accepted.Add(1)
	go func() {
		c.finish(c.read.run())
		s.remove(c)
	}()
}

func (s *Server) remove(c *Conn) {
	s.Counters.Closed.Add(1)
	s.mu.Lock()
	delete(s.conns, c)
	last := s.closing && len(s.conns) == 0
	s.mu.Unlock()
	if last {
		close(s.empty)
	}
}

// Connections returns how many are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// InflightBytes returns what of MaxInflightBytes is in use.
func (s *Server) InflightBytes() int64 { return s.budget.used.Load() }

// StopAccepting closes the listeners; connections that are open are served on. The kernel resets those that wait to be accepted,
// and refuses later ones, so their clients turn to another broker.
func (s *Server) StopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopAccepting()
}

// stopAccepting needs mu.
func (s *Server) stopAccepting() {
	if s.deaf {
		return
	}
	s.deaf = true
	close(s.stop)
	for ln := range s.listeners {
		ln.Close()
	}
}

// Shutdown stops accepting and reading, lets requests that reached the handler get their replies, and closes each
// connection behind its last one. When ctx ends first, what is left is closed, and ctx's error returned; handlers
// that still run may still complete their requests. Shutdown may be called once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		panic("server: Shutdown was called twice")
	}
	s.closing = true
	s.stopAccepting()
	for c := range s.conns {
		c.shutDown()
	}
	if len(s.conns) == 0 {
		close(s.empty)
	}
	s.mu.Unlock()
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
	}
	for _, c := range s.list(nil) {
		c.close(CauseShutdown)
	}
	return fmt.Errorf("server: connections were closed with requests unanswered: %w", context.Cause(ctx))
}

// list appends every connection.
func (s *Server) list(to []*Conn) []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		to = append(to, c)
	}
	return to
}
