package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/secure"
)

// Config says who this node is and bounds what peers can take. In every field of a size, a count or a time, zero means
// the default, which is in DefaultConfig.
type Config struct {
	// Node, Identity and Cluster are what this node introduces itself with. All are required.
	Node     id.NodeID
	Identity frame.Identity
	Cluster  string
	// Features is this node's feature level; a peer below MinFeatures is refused.
	Features, MinFeatures uint32

	// HeartbeatInterval is the time between two heartbeats to a peer; a peer that is silent for DeadAfter is dead.
	HeartbeatInterval, DeadAfter time.Duration
	// DialTimeout bounds resolving a name and connecting, HandshakeTimeout what follows until the welcome.
	DialTimeout, HandshakeTimeout time.Duration
	// RedialMin and RedialMax bound the waits between dials that fail.
	RedialMin, RedialMax time.Duration
	// WriteTimeout is how long a peer may take to read 256 KiB when its socket is full.
	WriteTimeout time.Duration

	// MaxFrameBytes bounds a frame that comes, and a message that goes. It must leave room for raft's MaxSizePerMsg and for
	// the largest entry: a message that does not fit never arrives.
	MaxFrameBytes int
	// BulkQueueBytes and ControlQueueBytes bound what may wait for one peer. The first is at least MaxFrameBytes.
	BulkQueueBytes, ControlQueueBytes int
	// MinRefBytes is from which size on an entry's data is sent from where it lies and not copied first. link's
	// BenchmarkSend compares the two: below the default no difference was established, above it the copy costs a third to a
	// half of the rate.
	MinRefBytes int
	// ReadBytes is how much one read takes of small frames.
	ReadBytes int
	// MaxCallBytes bounds what a call sends and what its answer may have. It must leave room for the largest request of a
	// client, which may be passed on.
	MaxCallBytes int
	// CallsOut is how many calls to one peer may be without an answer, CallsIn how many of one peer's are worked on.
	// CallQueueBytes bounds both in bytes: what waits to be sent to one peer, and what is worked on for it.
	CallsOut, CallsIn, CallQueueBytes int
	// MaxHandshakes is how many strangers may be at the door at once.
	MaxHandshakes int

	// LineRate is what the line to a peer carries, in bytes per second: connections of class bulk get buffers for it (package wide). 0
	// leaves them to the kernel.
	LineRate int64
	// SocketSendBytes and SocketReceiveBytes are the kernel's buffers; 0 leaves them to the kernel.
	SocketSendBytes, SocketReceiveBytes int
	// UserTimeout is how long the kernel may find what was sent unacknowledged before it gives the connection up
	// (TCP_USER_TIMEOUT); KeepAlive is how long a connection may be idle before the kernel asks.
	UserTimeout, KeepAlive time.Duration

	// SnapshotRate bounds all snapshots that this node sends, in bytes per second; 0 means no bound.
	SnapshotRate int64
	// MaxSnapshotsOut and MaxSnapshotsIn bound how many are sent and taken at once.
	MaxSnapshotsOut, MaxSnapshotsIn int
	// SnapshotTimeout is how long a snapshot may make no progress; SnapshotResultTimeout how long the receiver may take
	// once it has all of it.
	SnapshotTimeout, SnapshotResultTimeout time.Duration

	// TLS makes the links mutual TLS; nil means plain TCP.
	TLS *secure.Keys
	// Resolve turns a peer's address into what is dialled, in the order of trying, each time that it is dialled. Nil:
	// the system's resolver. Dial connects. Nil: TCP.
	Resolve func(ctx context.Context, addr string) ([]string, error)
	Dial    func(ctx context.Context, addr string) (net.Conn, error)
	// Admit may refuse a peer's process for what the caller knows about it: an incarnation that is not the recorded one.
	// It is called with nothing held. Nil: nobody is refused so.
	Admit func(peer id.NodeID, who frame.Identity) error

	// Seed determines the jitter of redials; each node needs its own.
	Seed uint64
	// Now reads a monotonic clock in nanoseconds. Required.
	Now func() int64
	// Log receives a line for each change that an operator would act on. Nil: nobody does.
	Log *slog.Logger
}

// DefaultConfig returns the default of every field that has one.
func DefaultConfig() Config {
	return Config{
		HeartbeatInterval: 100 * time.Millisecond, DeadAfter: 700 * time.Millisecond,
		DialTimeout: 2 * time.Second, HandshakeTimeout: 5 * time.Second,
		RedialMin: 10 * time.Millisecond, RedialMax: time.Second,
		WriteTimeout: 10 * time.Second, UserTimeout: 10 * time.Second, KeepAlive: 5 * time.Second,
		MaxFrameBytes: 64 << 20, MinRefBytes: 16 << 10, ReadBytes: 64 << 10,
		BulkQueueBytes: 128 << 20, ControlQueueBytes: 8 << 20, CallQueueBytes: 64 << 20,
		CallsOut: 4096, CallsIn: 256, MaxCallBytes: 20 << 20,
		MaxHandshakes:   64,
		MaxSnapshotsOut: 4, MaxSnapshotsIn: 4, SnapshotTimeout: 30 * time.Second, SnapshotResultTimeout: 5 * time.Minute,
		Resolve: resolve, Dial: dialTCP,
		Log: slog.New(slog.DiscardHandler),
	}
}

// bounds are the fields that have a default, and what is possible.
func (c *Config) bounds() (sizes []bound[int], times []bound[time.Duration]) {
	const most = 1 << 30
	sizes = []bound[int]{
		{"MaxFrameBytes", &c.MaxFrameBytes, 64 << 10, most}, {"BulkQueueBytes", &c.BulkQueueBytes, 128 << 10, 16 * most},
		{"ControlQueueBytes", &c.ControlQueueBytes, 128 << 10, 16 * most}, {"MinRefBytes", &c.MinRefBytes, 1, most},
		{"ReadBytes", &c.ReadBytes, 4 << 10, 16 << 20}, {"MaxHandshakes", &c.MaxHandshakes, 1, 1 << 16},
		{"MaxCallBytes", &c.MaxCallBytes, 4 << 10, most}, {"CallQueueBytes", &c.CallQueueBytes, 64 << 10, 16 * most},
		{"CallsOut", &c.CallsOut, 1, 1 << 20}, {"CallsIn", &c.CallsIn, 1, 1 << 16},
		{"MaxSnapshotsOut", &c.MaxSnapshotsOut, 1, 1 << 10}, {"MaxSnapshotsIn", &c.MaxSnapshotsIn, 1, 1 << 10},
	}
	const least, longest = time.Millisecond, 24 * time.Hour
	times = []bound[time.Duration]{
		{"HeartbeatInterval", &c.HeartbeatInterval, least, longest}, {"DeadAfter", &c.DeadAfter, 2 * least, longest},
		{"DialTimeout", &c.DialTimeout, least, longest}, {"HandshakeTimeout", &c.HandshakeTimeout, least, longest},
		{"RedialMin", &c.RedialMin, least, longest}, {"RedialMax", &c.RedialMax, least, longest},
		{"WriteTimeout", &c.WriteTimeout, least, longest}, {"UserTimeout", &c.UserTimeout, least, longest},
		{"KeepAlive", &c.KeepAlive, time.Second, longest}, {"SnapshotTimeout", &c.SnapshotTimeout, least, longest},
		{"SnapshotResultTimeout", &c.SnapshotResultTimeout, least, longest},
	}
	return sizes, times
}

// bound is a field and its limits.
type bound[T int | time.Duration] struct {
	name        string
	p           *T
	least, most T
}

func (b bound[T]) check() error {
	if *b.p < b.least || *b.p > b.most {
		return fmt.Errorf("transport: %s is %v; %v to %v is possible", b.name, *b.p, b.least, b.most)
	}
	return nil
}

// withDefaults replaces zeros.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	sizes, times := c.bounds()
	defaultSizes, defaultTimes := d.bounds()
	for i, b := range sizes {
		if *b.p == 0 {
			*b.p = *defaultSizes[i].p
		}
	}
	for i, b := range times {
		if *b.p == 0 {
			*b.p = *defaultTimes[i].p
		}
	}
	if c.Resolve == nil {
		c.Resolve = d.Resolve
	}
	if c.Dial == nil {
		c.Dial = d.Dial
	}
	if c.Log == nil {
		c.Log = d.Log
	}
	return c
}

// Validate checks what is set.
func (c Config) Validate() error {
	d := c.withDefaults()
	sizes, times := d.bounds()
	var errs []error
	for _, b := range sizes {
		errs = append(errs, b.check())
	}
	for _, b := range times {
		errs = append(errs, b.check())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	switch {
	case d.Node < 0 || d.Identity.Incarnation == 0 || d.Identity.Boot == 0 || d.Now == nil:
		return errors.New("transport: Node, Identity and Now are required")
	case d.Cluster == "" || len(d.Cluster) > frame.MaxText:
		return fmt.Errorf("transport: the cluster id %q has %d bytes; 1 to %d are possible", d.Cluster, len(d.Cluster), frame.MaxText)
	case d.DeadAfter < 2*d.HeartbeatInterval:
		return fmt.Errorf("transport: DeadAfter is %v; less than two heartbeats of %v make the living look dead", d.DeadAfter, d.HeartbeatInterval)
	case d.RedialMax < d.RedialMin:
		return fmt.Errorf("transport: RedialMax is %v, below RedialMin of %v", d.RedialMax, d.RedialMin)
	case d.BulkQueueBytes < d.MaxFrameBytes+frame.HeaderSize:
		return fmt.Errorf("transport: BulkQueueBytes is %d; the largest message needs MaxFrameBytes, %d, and a header", d.BulkQueueBytes, d.MaxFrameBytes)
	case d.SnapshotRate < 0 || d.LineRate < 0 || d.SocketSendBytes < 0 || d.SocketReceiveBytes < 0:
		return errors.New("transport: SnapshotRate, LineRate and the socket's buffer sizes cannot be negative")
	}
	return nil
}

// resolve looks a host name up with the system's resolver.
func resolve(ctx context.Context, addr string) ([]string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("transport: %w: want HOST:PORT", err)
	}
	if net.ParseIP(host) != nil || strings.Contains(host, "%") {
		return []string{addr}, nil
	}
	hosts, err := net.DefaultResolver.LookupHost(ctx, host)
	for i := range hosts {
		hosts[i] = net.JoinHostPort(hosts[i], port)
	}
	return hosts, err
}

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
