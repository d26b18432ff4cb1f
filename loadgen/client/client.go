// Package client is how the generator reaches a system: drivers that put operations on the wire and hand back, for each,
// when it was sent and when it was answered.
//
// The problem: at a hundred microseconds a request, a client that wakes a goroutine, which wakes another, adds as
// much as the system takes. So the wire driver is an instrument: one locked thread per worker, frames that are laid out
// in advance, a non-blocking write and then a blocking read on the same thread, no netpoller and no channel; with
// several requests in flight, an epoll loop of its own. The same driver with the same frames talks to a floor server, so
// that what the client costs is equal on both sides of a ratio. The kgo driver is franz-go, set up to measure the system and not
// the library's defaults, and kgo-default is franz-go as people use it.
//
// What is not measured (finding leaders, creating topics) goes through package cluster.
package client

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ackline/loadgen/client/sock"
	"ackline/loadgen/frame"
	"ackline/loadgen/workload"
)

// Op is one operation: a request, or for kgo a group of records. A worker owns it; a completion callback may read it
// until it returns.
type Op struct {
	Intended int64 // CLOCK_MONOTONIC, ns: when the schedule said
	Ready    int64 // when the generator got to it
	Sent     int64 // when its first byte was offered to the socket (kgo: when it was given to the library)
	Acked    int64 // when the answer was in hand; 0 unless Err is nil

	Stream  uint32 // index into Driver.Streams
	Records int32
	Seq     uint64 // of its first record
	Base    int64  // offset of its first record, as acknowledged; for a fetch the offset asked for
	Bytes   int64  // of the answer's records, for a fetch; of the values, for a request whose frame has a length of its own
	Wire    int64  // such a frame's length; 0 where all frames have Effective.RequestBytes, or the library makes them
	Err     error

	Told   bool // the broker said what Stages holds, of this very request
	Stages frame.Stages
}

// Stream is one sequence of operations into (or out of) one partition. Acknowledgements of a stream come in order of Seq.
type Stream struct {
	Partition int32 `json:"partition"` // its place (see package place): with one topic Kafka's number
	Worker    int   `json:"worker"`
}

// Worker is one thread's share of a driver. All methods are called from one goroutine, which is locked to its thread.
type Worker interface {
	// Room is how many operations may be submitted now. 0 while the window is full or a connection is being restored.
	Room() int
	// InFlight is how many were submitted and not yet handed back.
	InFlight() int
	// Submit takes one operation, which needs Room. It may wait for Flush before it is sent.
	Submit(intended, ready int64)
	// Flush sends what was submitted.
	Flush()
	// Prepare does in advance what the next Submit would have to; called when there is time.
	Prepare()
	// Wait hands every answer that is there to done, and otherwise waits for one until the given time (CLOCK_MONOTONIC, ns;
	// in the past: does not wait). It may return early. An error is final: the system cannot be reached any more.
	Wait(until int64, done func(*Op)) error
	// Abandon hands every operation in flight to done, failed.
	Abandon(done func(*Op))
}

// Driver is an open way to a system.
type Driver interface {
	Workers() []Worker
	Streams() []Stream
	// Effective says what was really opened, read back from the open objects.
	Effective() Effective
	Close() error
}

// Effective is the configuration as it came out.
type Effective struct {
	Driver            string            `json:"driver"`
	Threads           int               `json:"threads"`
	Connections       []Connection      `json:"connections,omitempty"`
	InFlight          int               `json:"in_flight_per_connection"`
	RecordsPerRequest int               `json:"records_per_request,omitempty"`
	ValueBytes        int               `json:"value_bytes,omitempty"`
	RequestBytes      int               `json:"request_bytes,omitempty"` // the frame, with its length prefix
	ReplyBytes        int               `json:"reply_bytes,omitempty"`   // of the last reply seen, with its length prefix
	Options           map[string]string `json:"options,omitempty"`
}

// Connection is one open TCP connection.
type Connection struct {
	sock.Description
	Node       int32              `json:"node"`
	Partitions []int32            `json:"partitions,omitempty"`       // of one topic
	Topics     map[string][]int32 `json:"topic_partitions,omitempty"` // of several, by their names
	TLS        string             `json:"tls,omitempty"`              // version and cipher
}

// Config is what Open needs. Every driver reads what concerns it.
type Config struct {
	// Connections is the number of TCP connections, or of clients for kgo. 0 means 1.
	Connections int
	// InFlight is how many operations may be unanswered on each connection. 0 means 1.
	InFlight int
	// Threads is the number of workers. 0: one per connection for one in flight each (up to one per CPU), else half the CPUs.
	Threads int
	// RecordsPerRequest is the number of records of one operation. 0 means 1.
	RecordsPerRequest int
	// Timeout is how long an operation may stay unanswered, and how long a lost connection is tried again before the
	// run ends. 0 means 10 s.
	Timeout time.Duration
	// Resend makes the wire driver one that is set up for failovers. A connection or a leader that is lost costs no operation: the
	// leader is looked up again at once and then every few milliseconds, and what had no answer is sent there again, by a producer
	// whose id lets the broker recognise what it has already. A leader that is silent for SuspectAfter is looked up again too.
	// Each connection serves one partition then, and at most ResendInFlight operations are unanswered on it.
	Resend bool
	// Acks is AcksAll, AcksLeader or AcksNone; "" means AcksAll. With AcksNone there are no answers: an operation has succeeded when the socket took it.
	Acks string `json:",omitempty"`
	// Compression is one of frame.Codecs; "" means none, and for kgo-default what the library takes.
	Compression string `json:",omitempty"`
	// Idempotence is On or Off: whether batches carry a producer's id and their sequence number. "" means off, with Resend on, and for kgo on if Acks
	// allows it. The wire driver takes a new id after whatever fails, and sends nothing again without Resend.
	Idempotence string `json:",omitempty"`
	// PartitionBy is workload.ByRoundRobin or workload.ByKey, for which the payloads are those of drawn keys; "" means round-robin: the partitions of
	// a connection in turn. By key, each thread (for kgo each client) is a producer that reaches every partition, and a request of the wire driver
	// has one record.
	PartitionBy string `json:",omitempty"`
	// FirstStream is added to the number of each stream in the payloads, so that several drivers, one after the other, can write
	// payloads of one run. Op.Stream and Driver.Streams count from 0 all the same.
	FirstStream uint32 `json:",omitempty"`
	// Stages makes the wire driver ask, with every produce request, how long its stages took within the broker (see frame.Stages).
	// Brokers that do not know the question pass over it. A floor gets the same frames and does not answer it.
	Stages bool
	// Place is where the producers say that they are, a region or zone of the cluster's nodes (see frame.ClientOf); "": nowhere.
	Place string `json:",omitempty"`
	// Way is how the wire driver reaches a floor; towards brokers that of the cluster counts. nil: as addresses say.
	Way sock.Way `json:"-"`
}

// What Config.Acks and Config.Idempotence may be.
const (
	AcksAll    = "all"
	AcksLeader = "1"
	AcksNone   = "0"

	On  = "on"
	Off = "off"
)

// RequiredAcks is Acks as it stands in a request.
func (c Config) RequiredAcks() int16 {
	switch c.Acks {
	case AcksNone:
		return 0
	case AcksLeader:
		return 1
	}
	return -1
}

// Codec is Compression as it stands in a batch.
func (c Config) Codec() frame.Codec {
	return frame.Codec(max(0, slices.Index(frame.Codecs, c.Compression)))
}

// ResendInFlight is how many of a producer's batches brokers know again.
const ResendInFlight = 5

// SuspectAfter is how long a leader may be silent before another is looked for, with Resend.
const SuspectAfter = 100 * time.Millisecond

// Normal returns c with every zero replaced by what it means.
func (c Config) Normal(cpus int) Config {
	if c.Connections == 0 {
		c.Connections = 1
	}
	if c.InFlight == 0 {
		c.InFlight = 1
	}
	if c.RecordsPerRequest == 0 {
		c.RecordsPerRequest = 1
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Threads == 0 {
		c.Threads = max(1, cpus/2)
		if c.InFlight == 1 {
			c.Threads = cpus
		}
	}
	c.Threads = min(c.Threads, c.Connections)
	return c
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	for _, v := range []struct {
		name  string
		value int
		max   int
	}{
		{"connections", c.Connections, 10_000}, {"in-flight", c.InFlight, 100_000},
		{"threads", c.Threads, 1024}, {"records-per-request", c.RecordsPerRequest, 1 << 20},
	} {
		if v.value < 0 || v.value > v.max {
			return fmt.Errorf("%s %d: want 0 (which means the default) to %d", v.name, v.value, v.max)
		}
	}
	if c.Resend && c.InFlight > ResendInFlight {
		return fmt.Errorf("in-flight %d with resend: want at most %d, which is how many of a producer's batches brokers know again", c.InFlight, ResendInFlight)
	}
	if c.Timeout < 0 || c.Timeout > 10*time.Minute {
		return fmt.Errorf("timeout %v: want 0 (which means 10 s) to 10m", c.Timeout)
	}
	return c.validateRequests()
}

// validateRequests looks at what requests ask for.
func (c Config) validateRequests() error {
	all := c.Acks == "" || c.Acks == AcksAll
	switch {
	case !all && c.Acks != AcksLeader && c.Acks != AcksNone:
		return fmt.Errorf("acks %q: want %s, %s or %s", c.Acks, AcksAll, AcksLeader, AcksNone)
	case c.Compression != "" && !slices.Contains(frame.Codecs, c.Compression):
		return fmt.Errorf("compression %q: want one of %s", c.Compression, strings.Join(frame.Codecs, ", "))
	case c.Idempotence != "" && c.Idempotence != On && c.Idempotence != Off:
		return fmt.Errorf("idempotence %q: want %s or %s", c.Idempotence, On, Off)
	case !all && (c.Idempotence == On || c.Resend):
		return fmt.Errorf("acks %s with idempotence or resend: both want acks %s, or a batch that is known again may yet be lost", c.Acks, AcksAll)
	case c.PartitionBy != "" && c.PartitionBy != workload.ByRoundRobin && c.PartitionBy != workload.ByKey:
		return fmt.Errorf("partition-by %q: want %s or %s", c.PartitionBy, workload.ByRoundRobin, workload.ByKey)
	case c.PartitionBy == workload.ByKey && c.RecordsPerRequest > 1:
		return fmt.Errorf("partition-by key with records-per-request %d: want 1, because each record goes where its key says; for batches take --driver kgo, whose library fills them, by partition, with what is waiting",
			c.RecordsPerRequest)
	case c.Idempotence == Off && c.Resend:
		return errors.New("resend without idempotence: what is sent again would be stored again")
	}
	return nil
}

// Why operations fail, beside Kafka's error codes.
var (
	ErrTimeout    = errors.New("no answer within the time-out")
	ErrAbandoned  = errors.New("unanswered at the end of the run")
	ErrBehind     = errors.New("a batch of the same producer failed before it")
	errStillLeads = errors.New("the partition is led by the same node as before")
)

// tickNS bounds every blocking wait, so that time-outs and the end of a run are noticed by a thread that hears nothing.
const tickNS = int64(50 * time.Millisecond)

// reconnectEvery is the pause between two attempts to restore a connection.
const reconnectEvery = 10 * time.Millisecond

// lookEvery is how often a worker looks, with Resend, whether a leader has fallen silent.
const lookEvery = 5 * time.Millisecond
