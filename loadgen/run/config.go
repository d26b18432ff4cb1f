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
	"ackline/loadgen/place"
	"ackline/loadgen/result"
	"ackline/loadgen/secure"
	"ackline/loadgen/workload"
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
	// Security is what the brokers ask of their clients. It names where secrets are and holds none.
	Security secure.Config `json:"security,omitzero"`
	// Topic is written to or read from, or several with commas between them. "" means one of the run's own, with a name that no other run has.
	Topic string `json:"topic"`
	// Topics is how many topics are made, with numbers behind a name that they have in common; 0 means as many as Topic names.
	Topics int `json:"topics,omitempty"`
	// Existing says that the topic is there, and has to be; it is never deleted. Otherwise it must not be there: it is made, and
	// deleted in Close unless Keep is set.
	Existing bool `json:"existing,omitempty"`
	Keep     bool `json:"keep,omitempty"`
	// Partitions (of each), Replication and TopicConfig are for topics that are made. 0 partitions means 1; replication 0 leaves it to the cluster.
	Partitions  int32             `json:"partitions,omitempty"`
	Replication int16             `json:"replication,omitempty"`
	TopicConfig map[string]string `json:"topic_config,omitempty"`

	// Driver is one of the Driver constants; "" means wire. Workload is Produce or Fetch; "" means produce.
	Driver   string `json:"driver"`
	Workload string `json:"workload"`
	// ValueBytes is the size of a record's value, at least frame.MinPayload. 0 means 1024. When Shape has sizes it is the largest of them.
	ValueBytes int `json:"value_bytes"`
	// Shape is what records look like beside that. With a compression its ratio 0 means 1.
	Shape workload.Shape `json:"shape,omitzero"`
	// FetchBytes bounds an answer of a fetch; 0 means 1 MiB. FetchOrder: "" means sequential.
	FetchBytes int32             `json:"fetch_bytes,omitempty"`
	FetchOrder client.FetchOrder `json:"fetch_order,omitempty"`
	// EndToEnd adds a consumer that waits at the end of each partition. One record per request only.
	EndToEnd bool `json:"end_to_end,omitempty"`
	// Consumers is how many more consumers read all of the topic at its end, without being timed.
	Consumers int `json:"consumers,omitempty"`
	// Client has the connections, windows and threads.
	Client client.Config `json:"client"`

	// NoCheck leaves out the ledger, and so the check.
	NoCheck bool `json:"no_check,omitempty"`
	// SpinMax is how long a thread may spin before an arrival instead of sleeping, because sleeping threads wake late.
	// 0 means 250 µs; negative never spins.
	SpinMax time.Duration `json:"spin_max"`
	// NoRealtime leaves the threads that keep a schedule at the usual priority. Otherwise they get a real-time one where that is
	// permitted (pace.LockRealtime).
	NoRealtime bool `json:"no_realtime,omitempty"`
	// NoAwake leaves idle CPUs to halt. Otherwise they are kept from it while the session is open, where that is permitted
	// (pace.KeepAwake).
	NoAwake bool `json:"no_awake,omitempty"`
	// Watch is told what the workers do, a Portion for about each second of each, from a goroutine that is not in the way; nil is allowed.
	Watch func(result.Portion) `json:"-"`
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
	if c.Shape.Size.IsZero() {
		c.Shape.Size = workload.Fixed(c.ValueBytes)
	}
	c.Shape.Size = c.Shape.Size.AtLeast(c.leastBytes())
	if c.Topics == 1 {
		c.Topics = 0
	}
	if c.Client.PartitionBy == workload.ByRoundRobin {
		c.Client.PartitionBy = ""
	}
	c.ValueBytes = c.Shape.Size.Max()
	if z := c.Client.Compression; z != "" && z != frame.Codecs[frame.None] && c.Shape.Ratio == 0 {
		c.Shape.Ratio = 1
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
	case c.Floor != "" && c.Security != secure.Config{}:
		return errors.New("a floor speaks neither TLS nor SASL, because it is the least that any program could do: leave the --tls and --sasl flags away")
	case c.Existing && c.Floor != "":
		return errors.New("a floor has no topics: leave --existing away")
	case c.Existing && c.Topic == "":
		return errors.New("--existing needs --topic, the name of the topic that is there")
	case c.Existing && (c.Replication != 0 || len(c.TopicConfig) > 0):
		return errors.New("replication and topic configuration are for a topic that is made, not for one that is there")
	case c.Driver != DriverWire && c.Driver != DriverKgo && c.Driver != DriverKgoDefault:
		return fmt.Errorf("driver %q: want %s, %s or %s", c.Driver, DriverWire, DriverKgo, DriverKgoDefault)
	case c.Workload != Produce && c.Workload != Fetch:
		return fmt.Errorf("workload %q: want %s or %s", c.Workload, Produce, Fetch)
	case c.Workload == Fetch && (c.Driver != DriverWire || c.EndToEnd):
		return errors.New("the fetch workload reads with the wire driver, and without a consumer beside it")
	case c.Workload == Fetch && !c.Existing:
		return errors.New("the fetch workload reads what is there: give --topic NAME --existing, such as a topic that a run was told to --keep")
	case c.FetchOrder != client.Sequential && c.FetchOrder != client.Random:
		return fmt.Errorf("fetch order %q: want %s or %s", c.FetchOrder, client.Sequential, client.Random)
	case c.FetchBytes < 0 || c.Partitions < 0 || c.Replication < 0:
		return fmt.Errorf("fetch bytes %d, partitions %d, replication %d: none may be negative", c.FetchBytes, c.Partitions, c.Replication)
	case c.Client.Resend && (c.Driver != DriverWire || c.Workload != Produce || c.Floor != ""):
		return errors.New("resend is for the wire driver's produce requests to brokers: franz-go does it by itself")
	case c.Client.Stages && (c.Driver != DriverWire || c.Workload != Produce):
		return errors.New("stages are asked for with the wire driver's produce requests only")
	case c.EndToEnd && c.Client.RecordsPerRequest > 1:
		return fmt.Errorf("end to end with %d records per request: want 1, so that each record has a time of its own", c.Client.RecordsPerRequest)
	}
	return errors.Join(c.Shape.Validate(c.leastBytes(), frame.MaxPayload), c.Security.Validate(), c.validateTopics(), c.validateRequests(), c.Client.Validate())
}

// byKey reports whether keys choose the partitions.
func (c Config) byKey() bool { return c.Client.PartitionBy == workload.ByKey }

// leastBytes is the size of the smallest value: it says which record it is, and where keys choose, which draw.
func (c Config) leastBytes() int {
	if c.byKey() {
		return frame.MinDrawn
	}
	return frame.MinPayload
}

// validateTopics looks at where records go.
func (c Config) validateTopics() error {
	switch {
	case c.Floor != "" && (c.Topics > 1 || place.Parse(c.Topic).Several()):
		return errors.New("a floor has no topics: leave --topics away, or give --brokers beside --floor")
	case c.byKey() && c.Floor != "":
		return errors.New("partition-by key with a floor: it has no partitions to choose from; give --brokers beside --floor")
	case c.byKey() && c.Workload == Fetch:
		return errors.New("partition-by key with the fetch workload: keys choose where records are written")
	case c.byKey() && c.Shape.Key.IsZero():
		return errors.New("partition-by key without keys: say which the records have, such as --key uniform:100000 or --key zipf:100000,1.1")
	}
	return place.Check(c.Topic, c.Topics, c.Existing)
}

// maxConsumers bounds Consumers: each has a thread for every partition.
const maxConsumers = 1000

// validateRequests looks at what does not go together.
func (c Config) validateRequests() error {
	k := c.Client
	switch {
	case c.Workload == Fetch && (k.Compression != "" || k.Idempotence != "" || k.Acks == client.AcksNone):
		return errors.New("the fetch workload reads: compression, idempotence and acks are for what writes")
	case c.Consumers < 0 || c.Consumers > maxConsumers:
		return fmt.Errorf("consumers %d: want 0 to %d", c.Consumers, maxConsumers)
	case c.Consumers > 0 && (c.Floor != "" || c.Workload == Fetch):
		return errors.New("consumers read what is written to brokers: neither a floor nor the fetch workload has any")
	case c.Floor != "" && (k.Acks == client.AcksNone || k.Idempotence == client.On):
		return errors.New("a floor answers everything and knows no producers: acks 0 and idempotence are for brokers")
	case k.Acks == client.AcksNone && c.EndToEnd:
		return errors.New("end to end with acks 0: want acks 1 or all, because it stands beside the time of the acknowledgement")
	case k.Idempotence == client.On && c.Driver == DriverWire && k.InFlight > client.ResendInFlight:
		return fmt.Errorf("in-flight %d with idempotence: want at most %d, which is how many of a producer's batches brokers know again", k.InFlight, client.ResendInFlight)
	}
	return nil
}

// answered reports whether operations have answers: without them there are no latencies, and nothing can be checked.
func (c Config) answered() bool { return c.Client.Acks != client.AcksNone }

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
