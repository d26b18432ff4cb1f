package run

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"ackline/loadgen/check"
	"ackline/loadgen/client"
	"ackline/loadgen/client/franz"
	"ackline/loadgen/cluster"
	"ackline/loadgen/consume"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
	"ackline/loadgen/place"
	"ackline/loadgen/result"
)

// Session is an open way to one system, on which slices of load can be put one after the other. Used by one goroutine.
type Session struct {
	cfg       Config
	cl        *cluster.Cluster // nil towards a floor
	topic     cluster.Topic
	named     bool            // the topic's name is the run's own
	created   []string        // topics that the run made, or may have made
	start     map[int32]int64 // end offsets from before the run
	payloads  *frame.Payloads
	driver    client.Driver
	effective client.Effective // as it was when the session was opened
	ledger    *check.Ledger    // nil when nothing is to be checked
	join      *join            // nil without a consumer
	tail      *consume.Tail
	fan       *consume.Fan // nil without consumers beside it
	asleep    func()       // lets idle CPUs halt again; nil when they may
}

// Open connects to the system, makes the topic if it is told to, and notes where its partitions end.
func Open(ctx context.Context, cfg Config) (*Session, error) {
	s, err := begin(cfg)
	if err != nil {
		return nil, err
	}
	if !s.cfg.NoAwake {
		// Without the permission the generator is late more often, which its lag says.
		s.asleep, _ = pace.KeepAwake()
	}
	if err := s.open(ctx); err != nil {
		s.cfg.Keep = false // there is nothing in it
		return nil, errors.Join(err, s.Close())
	}
	s.effective = s.driver.Effective()
	return s, nil
}

// Place makes the topics that a session with cfg would make, for sessions elsewhere. placed is the configuration for these, to which the
// topics are there; remove deletes them if they were made and are not to be kept.
func Place(ctx context.Context, cfg Config) (placed Config, remove func() error, err error) {
	s, err := begin(cfg)
	if err != nil {
		return cfg, nil, err
	}
	placed = s.cfg
	if placed.RunID = cfg.RunID; placed.Floor != "" {
		return placed, func() error { return nil }, nil
	}
	if err := s.connect(ctx); err != nil {
		s.cfg.Keep = false
		return cfg, nil, errors.Join(err, s.deleteTopics())
	}
	placed.Existing, placed.Topics = true, 0
	return placed, s.deleteTopics, nil
}

// begin returns a session that is not open.
func begin(cfg Config) (*Session, error) {
	cfg = cfg.normal()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.RunID == 0 {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return nil, fmt.Errorf("run id: %w", err)
		}
		cfg.RunID = binary.BigEndian.Uint64(b[:])
	}
	named := cfg.Topic == ""
	if named {
		cfg.Topic = ownTopic(time.Now(), cfg.RunID)
	}
	if cfg.Topics > 1 {
		cfg.Topic = place.Numbered(cfg.Topic, cfg.Topics).String()
	}
	s := &Session{cfg: cfg, named: named}
	if cfg.byKey() {
		s.payloads = frame.NewDrawnPayloads(cfg.RunID, cfg.Shape)
	} else {
		s.payloads = frame.NewShapedPayloads(cfg.RunID, cfg.Shape)
	}
	return s, nil
}

func (s *Session) open(ctx context.Context) error {
	if s.cfg.Floor != "" {
		d, err := client.OpenFloor(ctx, s.cfg.Client, s.cfg.Floor, s.cfg.Topic, s.payloads)
		if err == nil {
			s.driver = d
		}
		return err
	}
	if err := s.connect(ctx); err != nil {
		return err
	}
	var err error
	if s.start, err = s.cl.EndOffsets(ctx, s.topic); err != nil {
		return err
	}
	if err := s.openDriver(ctx); err != nil {
		return err
	}
	streams := s.driver.Streams()
	if s.cfg.Workload == Produce && !s.cfg.NoCheck && s.cfg.answered() {
		partitions := make([]int32, len(streams))
		for i, st := range streams {
			partitions[i] = st.Partition
		}
		s.ledger = check.NewLedger(partitions)
	}
	if s.cfg.EndToEnd {
		s.join = newJoin(s.payloads, len(streams))
		s.tail = consume.StartTail(context.Background(), s.cl, s.topic, s.start, s.join.consumed)
	}
	if n := s.cfg.Consumers; n > 0 {
		s.fan = consume.StartFan(n, s.cl, s.topic, s.start, s.payloads)
	}
	return nil
}

// connect reaches the cluster, and finds or makes the topic.
func (s *Session) connect(ctx context.Context) error {
	papers, err := s.cfg.Security.Open()
	if err != nil {
		return err
	}
	if s.cl, err = cluster.NewSecure(s.cfg.Brokers, s.cfg.Client.Timeout, papers); err != nil {
		return err
	}
	if err := s.cl.Through(s.cfg.Client.Way).Check(ctx); err != nil {
		return err
	}
	return s.findTopics(ctx)
}

func (s *Session) openDriver(ctx context.Context) error {
	var d client.Driver
	var err error
	switch {
	case s.cfg.Workload == Fetch:
		d, err = client.OpenFetch(ctx, s.cfg.Client, s.cl, s.topic,
			client.Reading{Order: s.cfg.FetchOrder, MaxBytes: s.cfg.FetchBytes, Seed: s.cfg.RunID})
	case s.cfg.Driver == DriverWire:
		d, err = client.OpenProduce(ctx, s.cfg.Client, s.cl, s.topic, s.payloads)
	default:
		d, err = franz.Open(s.cfg.Client, s.cl, s.topic, s.payloads, s.cfg.Driver == DriverKgoDefault)
	}
	if err == nil {
		s.driver = d
	}
	return err
}

// Config is the session's configuration with every default filled in.
func (s *Session) Config() Config { return s.cfg }

// Effective describes what is open. Not while a slice runs.
func (s *Session) Effective() client.Effective { return s.driver.Effective() }

// Target describes what is measured.
func (s *Session) Target() result.Target {
	t := result.Target{Brokers: s.cfg.Brokers, Floor: s.cfg.Floor, Workload: s.cfg.Workload}
	if s.cfg.Floor == "" {
		t.Security = s.cfg.Security.String()
		t.Topic, t.Partitions, t.Replication = s.topic.Name, len(s.topic.Partitions), s.topic.Replication
		if n := len(s.topic.Topics()); n > 1 {
			t.Topics = n
		}
	}
	if s.cfg.EndToEnd || s.cfg.Consumers > 0 {
		t.Workload += " + consume"
	}
	return t
}

// Check reads back everything that was acknowledged since Open. nil without an error: there is nothing to check (a floor, a
// fetch, or NoCheck). Not while a slice runs.
func (s *Session) Check(ctx context.Context, progress func(read, acked int64)) (*check.Report, error) {
	if s.ledger == nil {
		return nil, nil
	}
	r := client.NewReader(s.cl, s.cfg.Topic).Prompt()
	defer r.Close()
	return check.Verify(ctx, r, s.ledger, s.payloads, check.Options{Start: s.start, Topics: s.topic.Topics(), Progress: progress})
}

// Close closes everything, and deletes the topics that Open made unless Keep is set. It returns what went wrong with that, and
// with the consumer.
func (s *Session) Close() error {
	var errs []error
	if s.tail != nil {
		errs = append(errs, s.tail.Stop())
		s.tail = nil
	}
	if s.fan != nil {
		errs = append(errs, s.fan.Stop())
		s.fan = nil
	}
	if s.driver != nil {
		errs = append(errs, s.driver.Close())
	}
	errs = append(errs, s.deleteTopics())
	if s.asleep != nil {
		s.asleep()
		s.asleep = nil
	}
	return errors.Join(errs...)
}
