// Package config is everything that can be set on a broker. The same structs are the TOML file, the flags and the
// documentation: each field says its unit in its name, and what zero means.
package config

import (
	"errors"
	"fmt"
	"net"
	"time"

	"ackline/broker/syncmethod"
)

// Config is everything that can be set on a broker: the struct of the TOML file, with the unit of every field in its name.
type Config struct {
	Node    Node    `toml:"node"`
	WAL     WAL     `toml:"wal"`
	Storage Storage `toml:"storage"`
	Limits  Limits  `toml:"limits"`
	Topics  Topics  `toml:"topics"`
	Cluster Cluster `toml:"cluster"`
	// Nodes are all nodes that the cluster begins with, this one included; the same list on every machine. Empty: a cluster of
	// one.
	Nodes []ClusterNode `toml:"nodes"`
}

// Node says who the node is and where it is reached.
type Node struct {
	// ID is Kafka's broker id, at least 1. A data directory belongs to one id for ever.
	ID int32 `toml:"id"`
	// DataDir holds everything the node keeps. One process at a time.
	DataDir string `toml:"data_dir"`
	// ListenAddr is where Kafka clients connect, host:port; port 0 takes a free one.
	ListenAddr string `toml:"listen_addr"`
	// AdvertiseAddr is what clients are told to connect to, host:port. Empty: ListenAddr, which must then name a host.
	AdvertiseAddr string `toml:"advertise_addr"`
	// HTTPAddr serves /metrics, /healthz and /readyz. Empty: no HTTP.
	HTTPAddr string `toml:"http_addr"`
	// Pprof serves /debug/pprof on HTTPAddr.
	Pprof bool `toml:"pprof"`
	// Region and Zone are where the node is; replicas are spread over zones. May be empty.
	Region string `toml:"region"`
	Zone   string `toml:"zone"`
}

// WAL is about the write-ahead log.
type WAL struct {
	// RingBytes is the size of the ring, a multiple of 4096. It is fixed when the data directory is made. 0: 1 GiB.
	RingBytes int64 `toml:"ring_bytes"`
	// BatchBytes is what one write should not exceed. 0: 1 MiB, or a sixty-fourth of a smaller ring.
	BatchBytes int `toml:"batch_bytes"`
	// SyncMethod is how a write becomes durable; "auto" or empty tries them all once and keeps the fastest.
	SyncMethod string `toml:"sync_method"`
	// WindowUs delays a batch that follows another by so many microseconds, for more to come. 0: no delay.
	WindowUs int `toml:"window_us"`
}

// Storage is about segments and checkpoints.
type Storage struct {
	// CheckpointPercent of the ring in use starts a checkpoint. 0: 50.
	CheckpointPercent int `toml:"checkpoint_percent"`
	// CheckpointIntervalS is the longest time between checkpoints of a node that writes, in seconds. 0: 300.
	CheckpointIntervalS int `toml:"checkpoint_interval_s"`
	// FlushBytes of applied records in one partition are moved to its segment, ahead of the checkpoint. 0: 4 MiB.
	FlushBytes int64 `toml:"flush_bytes"`
	// OpenFiles bounds the descriptors of segments that are kept open. 0: 512.
	OpenFiles int `toml:"open_files"`
	// RetentionIntervalS is how often leaders look whether segments have become too old or too many, in seconds. Kafka's
	// log.retention.check.interval.ms is five minutes; a minute keeps small disks safer and costs a look at each segment list. 0: 60.
	RetentionIntervalS int `toml:"retention_interval_s"`
}

// Limits protects memory.
type Limits struct {
	// CacheBytes is what all partitions together keep in memory of their newest entries. 0: 64 MiB. Above half of it what
	// segments hold already is let go, above all of it what the WAL holds.
	CacheBytes int64 `toml:"cache_bytes"`
	// InflightBytes is what requests may hold that are being received or answered. 0: 64 MiB.
	InflightBytes int64 `toml:"inflight_bytes"`
	// FrameBytes is the longest request. 0: 16 MiB.
	FrameBytes int `toml:"frame_bytes"`
	// Connections is how many clients may be connected at once. 0: 10,000.
	Connections int `toml:"connections"`
	// IdleTimeoutS closes a connection that asks nothing for so many seconds. 0: 600.
	IdleTimeoutS int `toml:"idle_timeout_s"`
	// ThrottlePercent of the ring in use is where producers begin to be slowed: from there on Produce responses carry a
	// throttle time, and the broker does not read a connection for as long once it has sent one. Above
	// storage.checkpoint_percent, so that a checkpoint has had room to free the ring first; 100 is never. 0: halfway between
	// storage.checkpoint_percent and 100, which is 75.
	ThrottlePercent int `toml:"throttle_percent"`
	// ThrottleMaxMs is the longest throttle time, in milliseconds. It is as long as it takes to free what is used above
	// ThrottlePercent, at the rate of the last flushes. 0: 1000.
	ThrottleMaxMs int `toml:"throttle_max_ms"`
	// GCPercent is Go's GOGC: by how much the heap may grow, in percent of what lives, before it is collected. 0: what the
	// environment says, or 300 and at most 64 MiB.
	GCPercent int `toml:"gc_percent"`
	// TimerSlackUs is how much later than asked for the kernel may wake the process's threads, in microseconds: at least so much, since more that
	// the process was started with stays. It keeps Go's monitor thread, which looks at long system calls, from looking every 20 µs. 0: 1000; -1: as the process was started.
	TimerSlackUs int `toml:"timer_slack_us"`
}

// Topics is about topics.
type Topics struct {
	// AutoCreate makes a topic when a client asks for its metadata.
	AutoCreate bool `toml:"auto_create"`
	// DefaultPartitions is the number of partitions of a topic whose creator does not say. 0: 1.
	DefaultPartitions int32 `toml:"default_partitions"`
}

// Default returns a single node on loopback.
func Default() Config {
	return Config{Node: Node{ID: 1, ListenAddr: "127.0.0.1:9092", HTTPAddr: "127.0.0.1:9644"}}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// WithDefaults returns c with zeros replaced by what they mean, and what the list of nodes says.
func (c Config) WithDefaults() Config {
	setDefault(&c.Node.ID, 1)
	setDefault(&c.WAL.RingBytes, 1<<30)
	setDefault(&c.WAL.BatchBytes, int(min(1<<20, c.WAL.RingBytes/64&^4095)))
	setDefault(&c.WAL.SyncMethod, "auto")
	setDefault(&c.Storage.CheckpointPercent, 50)
	setDefault(&c.Storage.CheckpointIntervalS, 300)
	setDefault(&c.Storage.FlushBytes, 4<<20)
	setDefault(&c.Storage.OpenFiles, 512)
	setDefault(&c.Storage.RetentionIntervalS, 60)
	setDefault(&c.Limits.CacheBytes, 64<<20)
	setDefault(&c.Limits.InflightBytes, 64<<20)
	setDefault(&c.Limits.FrameBytes, 16<<20)
	setDefault(&c.Limits.Connections, 10_000)
	setDefault(&c.Limits.IdleTimeoutS, 600)
	setDefault(&c.Limits.ThrottlePercent, (c.Storage.CheckpointPercent+100)/2)
	setDefault(&c.Limits.ThrottleMaxMs, 1000)
	setDefault(&c.Limits.TimerSlackUs, 1000)
	setDefault(&c.Topics.DefaultPartitions, 1)
	c.Cluster = c.Cluster.withDefaults()
	return c.fromNodes()
}

// Validate says what is wrong and what would be right. Zero means the default.
func (c Config) Validate() error {
	c = c.WithDefaults()
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Node.DataDir == "" {
		wrong("node.data_dir (--data-dir) is not set: name the directory that is to hold the broker's data")
	}
	if c.Node.ID < 1 {
		wrong("node.id is %d, it must be at least 1", c.Node.ID)
	}
	errs = append(errs, c.checkAddresses(), c.checkCluster())
	if c.WAL.SyncMethod != "auto" {
		if _, err := syncmethod.Parse(c.WAL.SyncMethod); err != nil {
			errs = append(errs, fmt.Errorf("wal.sync_method (--sync-method): %w", err))
		}
	}
	if r := c.WAL.RingBytes; r < 64*4096 || r%4096 != 0 {
		wrong("wal.ring_bytes (--ring-bytes) is %d, it must be a multiple of 4096 and at least %d", r, 64*4096)
	}
	if p := c.Storage.CheckpointPercent; p < 5 || p > 75 {
		wrong("storage.checkpoint_percent is %d, it must be 5 to 75", p)
	} else if t := c.Limits.ThrottlePercent; t <= p || t > 100 {
		wrong("limits.throttle_percent is %d, it must be above storage.checkpoint_percent, which is %d, and at most 100", t, p)
	}
	if ms := c.Limits.ThrottleMaxMs; ms < 1 || ms > MaxThrottleMs {
		wrong("limits.throttle_max_ms is %d, it must be 1 to %d", ms, MaxThrottleMs)
	}
	if us := c.Limits.TimerSlackUs; us < -1 || us > MaxTimerSlackUs {
		wrong("limits.timer_slack_us is %d, it must be -1 (as the process was started) to %d", us, MaxTimerSlackUs)
	}
	for _, f := range []struct {
		name string
		v    int64
	}{
		{"wal.window_us", int64(c.WAL.WindowUs)}, {"storage.checkpoint_interval_s", int64(c.Storage.CheckpointIntervalS)},
		{"storage.flush_bytes", c.Storage.FlushBytes}, {"storage.open_files", int64(c.Storage.OpenFiles)},
		{"storage.retention_interval_s", int64(c.Storage.RetentionIntervalS)},
		{"limits.cache_bytes", c.Limits.CacheBytes}, {"limits.inflight_bytes", c.Limits.InflightBytes},
		{"limits.frame_bytes", int64(c.Limits.FrameBytes)}, {"limits.connections", int64(c.Limits.Connections)},
		{"limits.idle_timeout_s", int64(c.Limits.IdleTimeoutS)}, {"limits.gc_percent", int64(c.Limits.GCPercent)},
		{"topics.default_partitions", int64(c.Topics.DefaultPartitions)},
	} {
		if f.v < 0 {
			wrong("%s is %d, it must not be negative", f.name, f.v)
		}
	}
	return errors.Join(errs...)
}

// checkAddresses refuses what clients could not reach: a client is told an address to connect to, and a wildcard is none.
func (c Config) checkAddresses() error {
	host, port, err := net.SplitHostPort(c.Node.ListenAddr)
	if err != nil {
		return fmt.Errorf("node.listen_addr (--listen-addr) %q is not host:port: %w", c.Node.ListenAddr, err)
	}
	if c.Node.AdvertiseAddr == "" {
		if host == "" || net.ParseIP(host).IsUnspecified() {
			return fmt.Errorf("--listen-addr %s listens on every address, and clients have to be told one: "+
				"give --advertise-addr with a host name or address that they can reach, such as --advertise-addr myhost:%s", c.Node.ListenAddr, port)
		}
		return nil
	}
	ahost, aport, err := net.SplitHostPort(c.Node.AdvertiseAddr)
	switch {
	case err != nil:
		return fmt.Errorf("node.advertise_addr (--advertise-addr) %q is not host:port: %w", c.Node.AdvertiseAddr, err)
	case ahost == "" || net.ParseIP(ahost).IsUnspecified():
		return fmt.Errorf("--advertise-addr %s is no address that a client could connect to: name a host", c.Node.AdvertiseAddr)
	case aport == "0":
		return fmt.Errorf("--advertise-addr %s has port 0: name the port that clients connect to", c.Node.AdvertiseAddr)
	}
	return nil
}

// MaxThrottleMs bounds limits.throttle_max_ms: what a client is told to wait it counts against its own time-outs.
const MaxThrottleMs = 30_000

// MaxTimerSlackUs bounds limits.timer_slack_us: raft's ticks are 10 ms.
const MaxTimerSlackUs = 5_000

// DefaultGCPercent is what the collector is set to when nothing else says: requests are short-lived garbage behind a small
// live heap, so that collecting less often costs little memory.
const DefaultGCPercent = 300

// MaxGarbageBytes bounds what that lets the heap grow by, in bytes: nothing at work comes near it, recovery of a large WAL does.
const MaxGarbageBytes = 64 << 20

// IdleTimeout is Limits.IdleTimeoutS.
func (c Config) IdleTimeout() time.Duration {
	return time.Duration(c.Limits.IdleTimeoutS) * time.Second
}
