package server

import "time"

// A reply may tell its client to send nothing for a while, and a client may not listen. So a request can ask for its
// connection not to be read for as long once the reply is out (Request.Mute; Kafka does the same since KIP-219). What the
// client sends meanwhile stays in the sockets and, when those are full, with the client: a muted connection holds no memory
// of ours but a frame that has begun to arrive, and what one read took at the very moment. Nothing else stops: requests that were read are handled and answered, and
// whoever waits is the connection's own reader, who has nothing else to do.
//
// A client of which several requests were read at once gets several replies, each with its time; the latest end counts.

// mute keeps the connection from being read for d. Needs mu.
func (c *Conn) mute(d time.Duration) {
	if until := c.server.cfg.Now() + int64(d); until > c.mutedUntil.Load() {
		c.mutedUntil.Store(until)
	}
}

// muted says whether the connection may not be read now. As long as nobody mutes, it is one load.
func (c *Conn) muted() bool {
	until := c.mutedUntil.Load()
	return until != 0 && c.server.cfg.Now() < until
}

// sitOut waits until the connection may be read. False: it ends.
func (r *reader) sitOut() bool {
	c := r.c
	c.server.Counters.Mutes.Add(1)
	c.partialSince.Store(0) // the rest of a frame may be here: it is us who do not look
	for !c.ending.Load() {
		until := c.mutedUntil.Load()
		left := until - c.server.cfg.Now()
		if left > 0 {
			timer := time.NewTimer(time.Duration(left))
			select {
			case <-timer.C:
			case <-c.taker.wake:
				timer.Stop()
			}
			continue
		}
		if c.mutedUntil.CompareAndSwap(until, 0) { // or another reply has left meanwhile
			r.resume()
			c.lastActive.Store(r.now)
			r.stamp()
			return true
		}
	}
	return false
}
