package server

import (
	"fmt"
	"time"

	"ackline/broker/stage"
)

// Config bounds what clients can take. In every field zero means the default, which is in DefaultConfig; there is
// no value that means "no bound".
type Config struct {
	// MaxConnections is how many clients may be connected at once. The next one is closed at accept.
	MaxConnections int
	// MaxFrameBytes is the longest request, without its four bytes of length. It is checked before anything is
	// allocated; a longer one costs its connection.
	MaxFrameBytes int
	// MaxInflightBytes is what requests that are being received or handled, and large replies that are being sent,
	// may hold in all connections together. Above it readers stop reading, new connections included, until it drops;
	// one connection at a time may exceed it by one frame to finish what it has begun. At least MaxFrameBytes. Beside
	// it every connection holds about 6 KiB, and one that has unread replies or waits for memory a buffer of
	// ReadBufferBytes.
	MaxInflightBytes int64
	// MaxPipeline is how many requests of one connection may be without a reply. Above it that connection is not
	// read.
	MaxPipeline int
	// MaxQueuedReplyBytes is how many bytes of replies may wait for one client to read them. Above it that
	// connection is not read; requests that are already being handled may still add their replies.
	MaxQueuedReplyBytes int
	// ReadBufferBytes is how much one read takes from a socket beyond the frame in progress.
	ReadBufferBytes int
	// IdleTimeout closes a connection that has no request in progress for so long.
	IdleTimeout time.Duration
	// FrameTimeout is how long a frame may take to arrive, or each 64 KiB of a longer one.
	FrameTimeout time.Duration
	// WriteTimeout is how long a client may take to read each 256 KiB of replies when they do not fit its socket.
	WriteTimeout time.Duration
	// Stages receives the clock of every replied request that marked stage.Propose, the writes. Nil: nobody does.
	Stages *stage.Set
	// Now is the clock, in nanoseconds of any fixed start. Nil: stage.Now.
	Now func() int64
}

// DefaultConfig returns the default of every field.
func DefaultConfig() Config {
	return Config{
		MaxConnections:      10_000,
		MaxFrameBytes:       100 << 20, // Kafka's socket.request.max.bytes
		MaxInflightBytes:    512 << 20,
		MaxPipeline:         1024,
		MaxQueuedReplyBytes: 1 << 20,
		ReadBufferBytes:     64 << 10,
		IdleTimeout:         10 * time.Minute, // Kafka's connections.max.idle.ms
		FrameTimeout:        30 * time.Second,
		WriteTimeout:        30 * time.Second,
		Now:                 stage.Now,
	}
}

// withDefaults replaces zeros.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	for _, f := range []struct{ p, d *int }{
		{&c.MaxConnections, &d.MaxConnections}, {&c.MaxFrameBytes, &d.MaxFrameBytes},
		{&c.MaxPipeline, &d.MaxPipeline}, {&c.MaxQueuedReplyBytes, &d.MaxQueuedReplyBytes},
		{&c.ReadBufferBytes, &d.ReadBufferBytes},
	} {
		if *f.p == 0 {
			*f.p = *f.d
		}
	}
	for _, f := range []struct{ p, d *time.Duration }{
		{&c.IdleTimeout, &d.IdleTimeout}, {&c.FrameTimeout, &d.FrameTimeout}, {&c.WriteTimeout, &d.WriteTimeout},
	} {
		if *f.p == 0 {
			*f.p = *f.d
		}
	}
	if c.MaxInflightBytes == 0 {
		c.MaxInflightBytes = max(d.MaxInflightBytes, int64(c.MaxFrameBytes))
	}
	if c.Now == nil {
		c.Now = d.Now
	}
	return c
}

// Validate checks the values that are set.
func (c Config) Validate() error {
	d := c.withDefaults()
	for _, f := range []struct {
		name     string
		got, min int64
		max      int64
	}{
		{"MaxConnections", int64(d.MaxConnections), 1, 1 << 24},
		{"MaxFrameBytes", int64(d.MaxFrameBytes), 1 << 10, 1 << 30},
		{"MaxInflightBytes", d.MaxInflightBytes, int64(d.MaxFrameBytes) + requestOverhead, 1 << 50},
		{"MaxPipeline", int64(d.MaxPipeline), 1, 1 << 20},
		{"MaxQueuedReplyBytes", int64(d.MaxQueuedReplyBytes), 1, 1 << 40},
		{"ReadBufferBytes", int64(d.ReadBufferBytes), 512, 1 << 24},
		{"IdleTimeout (ns)", int64(d.IdleTimeout), 1, 1 << 62},
		{"FrameTimeout (ns)", int64(d.FrameTimeout), 1, 1 << 62},
		{"WriteTimeout (ns)", int64(d.WriteTimeout), 1, 1 << 62},
	} {
		if f.got < f.min || f.got > f.max {
			return fmt.Errorf("server: %s is %d; %d to %d is possible", f.name, f.got, f.min, f.max)
		}
	}
	return nil
}
