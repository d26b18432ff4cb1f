// Package run drives a system with a schedule and turns what came back into a result.
//
// The problem: a figure is only worth something if the same load can be put on a system and on the floor that it is
// compared with, again and again, and if the load itself is beyond suspicion. A Session is an open way to one system; each
// Slice of it is a stretch of load by a schedule, with every operation timed at four places and recorded by the thread
// that made it. Run is a whole run: open, warm up until the medians stand still, measure, read everything back, judge.
//
// One worker is one locked thread, which is the schedule's, the driver's and the recorder's thread all at once: an operation
// passes no channel and wakes no goroutine. Whatever may be slow (merging, printing, judging) happens elsewhere, and the
// worker hands its histograms over once a second by swapping a pointer.
package run

import (
	"errors"
	"fmt"
	"math"
	"time"

	"ackline/loadgen/client"
	"ackline/loadgen/frame"
	"ackline/loadgen/hist"
	"ackline/loadgen/pace"
)

// The drivers.
const (
	DriverWire       = "wire"
	DriverKgo        = "kgo"
	DriverKgoDefault = "kgo-default"
)

// The workloads.
const (
	Produce = "produce"
	Fetch   = "fetch"
)

// Config is everything that a Session is opened with. Default fills it; zeros mean what each field says.
type Config struct {
	// Brokers are host:port addresses to ask first. Needed unless Floor is given.
	Brokers []string `json:"brokers,omitempty"`
	// Floor is the host:port of a floor server. It gets the frames that a broker would get; nothing can be checked.
	Floor string `json:"floor,omitempty"`
	// Topic is written to or read from.
	Topic string `json:"topic"`
	// Create makes the topic, which must not exist, and deletes it in Close unless Keep is set.
	Create bool `json:"create,omitempty"`
	Keep   bool `json:"keep,omitempty"`
	// Partitions and Replication are for Create. 0 partitions means 1; replication 0 leaves it to the cluster.
	Partitions  int32             `json:"partitions,omitempty"`
	Replication int16             `json:"replication,omitempty"`
	TopicConfig map[string]string `json:"topic_config,omitempty"`

	// Driver is one of the Driver constants; "" means wire. Workload is Produce or Fetch; "" means produce.
	Driver   string `json:"driver"`
	Workload string `json:"workload"`
	// ValueBytes is the size of a record's value, at least frame.MinPayload. 0 means 1024.
	ValueBytes int `json:"value_bytes"`
	// FetchBytes bounds an answer of a fetch; 0 means 1 MiB. FetchOrder: "" means sequential.
	FetchBytes int32             `json:"fetch_bytes,omitempty"`
	FetchOrder client.FetchOrder `json:"fetch_order,omitempty"`
	// EndToEnd adds a consumer that waits at the end of each partition. One record per request only.
	EndToEnd bool `json:"end_to_end,omitempty"`
	// Client has the connections, windows and threads.
	Client client.Config `json:"client"`

	// NoCheck leaves out the ledger, and so the check.
	NoCheck bool `json:"no_check,omitempty"`
	// SpinMax is how long a thread may spin before an arrival instead of sleeping, because sleeping threads wake late.
	// 0 means 250 µs; negative never spins.
	SpinMax time.Duration `json:"spin_max"`
	// RunID tells this run's records from others. 0 draws one.
	RunID uint64 `json:"run_id"`
}

// Default returns the configuration of a latency run against brokers.
func Default() Config {
	return Config{Driver: DriverWire, Workload: Produce, ValueBytes: 1024, Partitions: 1, SpinMax: 250 * time.Microsecond}
}

// normal replaces zeros by what they mean.
func (c Config) normal() Config {
	d := Default()
	if c.Driver == "" {
		c.Driver = d.Driver
	}
	if c.Workload == "" {
		c.Workload = d.Workload
	}
	if c.ValueBytes == 0 {
		c.ValueBytes = d.ValueBytes
	}
	if c.Partitions == 0 {
		c.Partitions = d.Partitions
	}
	if c.SpinMax == 0 {
		c.SpinMax = d.SpinMax
	}
	if c.FetchBytes == 0 {
		c.FetchBytes = 1 << 20
	}
	if c.FetchOrder == "" {
		c.FetchOrder = client.Sequential
	}
	if c.Client.Timeout == 0 {
		c.Client.Timeout = 10 * time.Second
	}
	return c
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	c = c.normal()
	switch {
	case c.Floor == "" && len(c.Brokers) == 0:
		return errors.New("neither brokers nor a floor are given")
	case c.Floor != "" && len(c.Brokers) > 0:
		return errors.New("both brokers and a floor are given: a session has one target")
	case c.Floor != "" && (c.Driver != DriverWire || c.Workload != Produce || c.EndToEnd):
		return errors.New("a floor knows only the wire driver's produce requests")
	case c.Topic == "":
		return errors.New("no topic is given")
	case c.Driver != DriverWire && c.Driver != DriverKgo && c.Driver != DriverKgoDefault:
		return fmt.Errorf("driver %q: want %s, %s or %s", c.Driver, DriverWire, DriverKgo, DriverKgoDefault)
	case c.Workload != Produce && c.Workload != Fetch:
		return fmt.Errorf("workload %q: want %s or %s", c.Workload, Produce, Fetch)
	case c.Workload == Fetch && (c.Driver != DriverWire || c.EndToEnd || c.Create):
		return errors.New("the fetch workload reads an existing topic with the wire driver")
	case c.ValueBytes < frame.MinPayload || c.ValueBytes > frame.MaxPayload:
		return fmt.Errorf("size %d: want %d to %d bytes", c.ValueBytes, frame.MinPayload, frame.MaxPayload)
	case c.FetchOrder != client.Sequential && c.FetchOrder != client.Random:
		return fmt.Errorf("fetch order %q: want %s or %s", c.FetchOrder, client.Sequential, client.Random)
	case c.FetchBytes < 0 || c.Partitions < 0 || c.Replication < 0:
		return fmt.Errorf("fetch bytes %d, partitions %d, replication %d: none may be negative", c.FetchBytes, c.Partitions, c.Replication)
	case c.Client.Resend && (c.Driver != DriverWire || c.Workload != Produce || c.Floor != ""):
		return errors.New("resend is for the wire driver's produce requests to brokers: franz-go does it by itself")
	case c.EndToEnd && c.Client.RecordsPerRequest > 1:
		return fmt.Errorf("end to end with %d records per request: want 1, so that each record has a time of its own", c.Client.RecordsPerRequest)
	}
	return c.Client.Validate()
}

// Spec is one slice of load.
type Spec struct {
	// Arrivals is the schedule.
	Arrivals pace.Spec `json:"arrivals"`
	// For is the length of the measured window; Count, when above 0, ends it as soon as so many operations were measured.
	For   time.Duration `json:"for"`
	Count int64         `json:"count,omitempty"`
	// Discard is how much of the beginning is run and not measured. Ignored with WarmUp.
	Discard time.Duration `json:"discard,omitempty"`
	// WarmUp, when above 0, runs the load until it has settled (see result.Settled), for at most so long, and then measures
	// without a pause.
	WarmUp time.Duration `json:"warm_up,omitempty"`
	// Percentile is the one that the run must have enough samples for; 0 judges none, 99 is a run's default.
	Percentile float64 `json:"percentile,omitempty"`
	// Gap is the least stretch without an acknowledgement that counts as an outage of its partition. 0 means 100 ms.
	Gap time.Duration `json:"gap,omitempty"`
	// Seconds is called with the histograms of every second, in order, for an interval log; they are reused afterwards. warm: it
	// lies before the measured window. nil is allowed.
	Seconds func(start, end time.Time, warm bool, set *hist.Set) `json:"-"`
	// Progress is called about once a second, from a goroutine that is not in the way; nil is allowed.
	Progress func(Progress) `json:"-"`
}

// gap is Gap, or what 0 means.
func (s *Spec) gap() time.Duration {
	if s.Gap == 0 {
		return 100 * time.Millisecond
	}
	return s.Gap
}

// Validate says what is wrong with s.
func (s Spec) Validate() error {
	if err := s.Arrivals.Validate(); err != nil {
		return err
	}
	if s.For <= 0 || s.For > 7*24*time.Hour {
		return fmt.Errorf("a measured window of %v: want more than 0 and at most a week", s.For)
	}
	if s.Count < 0 || s.Discard < 0 || s.WarmUp < 0 || s.Gap < 0 {
		return fmt.Errorf("count %d, discard %v, warm-up %v, gap %v: none may be negative", s.Count, s.Discard, s.WarmUp, s.Gap)
	}
	if s.WarmUp > 0 && !s.Arrivals.Shape.IsZero() {
		return errors.New("a rate that changes never settles: give a warm-up of a fixed length, or of none")
	}
	if math.IsNaN(s.Percentile) || s.Percentile < 0 || s.Percentile >= 100 {
		return fmt.Errorf("percentile %g: want 0 (none) or more, and less than 100", s.Percentile)
	}
	return nil
}
