package server

import "time"

// Timeouts are found by one sweeper that looks at every connection now and then, and not by timers: a deadline set
// and reset for every request costs more than the rest of this package.

// Bounds of the time between two sweeps, which is otherwise a quarter of the shortest timeout.
const (
	minSweep = 10 * time.Millisecond
	maxSweep = time.Second
)

// sweeper runs until shutdown is complete.
func (s *Server) sweeper() {
	every := min(s.cfg.IdleTimeout, s.cfg.FrameTimeout, s.cfg.WriteTimeout) / 4
	t := time.NewTicker(min(max(every, minSweep), maxSweep))
	defer t.Stop()
	var conns []*Conn
	for {
		select {
		case <-t.C:
			conns = s.sweep(conns)
		case <-s.empty:
			return
		}
	}
}

// sweep closes the connections that have exceeded a timeout. It uses the memory of conns and returns it, emptied.
func (s *Server) sweep(conns []*Conn) []*Conn {
	now := s.cfg.Now()
	conns = s.list(conns[:0])
	pressed := s.budget.used.Load() > s.budget.limit
	for i, c := range conns {
		conns[i] = nil
		if cause, ok := c.overdue(now, pressed); ok {
			c.close(cause)
		}
	}
	return conns[:0]
}

// overdue says whether the connection has exceeded a timeout. When the budget is exceeded (pressed), replies that
// nobody reads are what exceeds it, and the clients that do not read them get an eighth of the time.
func (c *Conn) overdue(now int64, pressed bool) (Cause, bool) {
	cfg := &c.server.cfg
	exceeds := func(since int64, limit time.Duration) bool { return since != 0 && now-since > int64(limit) }
	if exceeds(c.partialSince.Load(), cfg.FrameTimeout) {
		return CauseSlowFrame, true
	}
	limit := cfg.WriteTimeout
	if pressed {
		limit /= 8
	}
	if exceeds(c.blockedSince.Load(), limit) {
		return CauseSlowReader, true
	}
	c.mu.Lock()
	idle := c.n == 0 && !c.readDone
	c.mu.Unlock()
	since := max(c.lastActive.Load(), c.mutedUntil.Load()) // a muted client has no say
	if idle && c.partialSince.Load() == 0 && exceeds(since, cfg.IdleTimeout) {
		return CauseIdle, true
	}
	return 0, false
}
