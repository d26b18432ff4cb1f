package soak

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/metrics"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"ackline/loadgen/check"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/place"
)

// Events are what a soak tells while it goes on, from several goroutines, one call at a time. Any of them may be nil.
type Events struct {
	// Say is called with what an operator would want to know at once: a finding, an outage, a new launch.
	Say func(text string)
	// Report is called every Config.ReportEvery.
	Report func(Status)
	// Watch is called once, when the soak has begun, with what says how it stands, at any time and in any goroutine. RatePerSecond is then 0.
	Watch func(look func() Status)
}

// Status is how a soak stands.
type Status struct {
	Soaked        time.Duration // all starts together
	For           time.Duration
	RatePerSecond float64 // acknowledged since the last report
	Unread        int     // acknowledged and not read back yet
	MostKept      int     // the most that had to be remembered at once: rows of the window, and records passed over
	MemoryBytes   uint64  // of this process, as Go's runtime counts it
	Outages       Outages
	Check         check.Report
}

// Outcome is how a soak ended.
type Outcome struct {
	Status
	Complete    bool   // it was written for as long as was asked for, and everything was read back or is lost
	Interrupted bool   // by the context
	Ended       string // why it ended before its time, "" if it did not
	Starts      int
	Launches    int
	State       string // where it can be resumed from
	Deleted     bool   // the soak's own topic is gone
}

// Failed reports whether something is wrong with the data.
func (o *Outcome) Failed() bool { return o.Check.Faults() > 0 }

// Valid reports whether the soak is over and nothing is wrong with the data.
func (o *Outcome) Valid() bool { return o.Complete && !o.Failed() }

// ErrComplete says that the soak of the state file is over.
var ErrComplete = errors.New("the soak of this state is complete: give a longer time to go on with it, or another file to begin a new one")

// soak is one start of the program.
type soak struct {
	cfg        Config
	id         uint64 // drawn for a soak that begins
	ev         Events
	cl         *cluster.Cluster
	payloads   *frame.Payloads
	verify     *verifier
	topics     place.Topics
	partitions []int32 // places
	began      time.Time
	finishing  chan struct{} // closed when nothing more will be written
	saving     sync.Mutex    // held while the state is encoded and the file replaced, so that none replaces a newer one; before the other locks

	mu       sync.Mutex // guards the rest; Say and Report are called with it held. Taken after verifier.mu where both are
	state    State      // all but the verifier's part
	before   int64      // SoakedMS of earlier starts
	saveErr  error      // of the last attempt
	lastSeen int64      // acknowledged at the last report
	lastTime time.Time
}

// Run soaks a cluster. The error says that it could not begin, or that its state or its topic could not be put in order at the
// end; how the soak itself went is in the outcome, which is nil if it did not begin. When ctx ends, the state is saved.
func Run(ctx context.Context, cfg Config, ev Events) (*Outcome, error) {
	cfg = cfg.normal()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &soak{cfg: cfg, ev: ev, finishing: make(chan struct{})}
	if cfg.State != "" {
		release, err := hold(cfg.State)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	if ev.Watch != nil {
		ev.Watch(s.look)
	}
	out := s.run(ctx)
	var errs []error
	over := out.Complete || cfg.State == "" // nobody will go on with it
	if s.state.Created && !cfg.Keep && over && !out.Failed() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err := s.deleteTopics(clean)
		errs, out.Deleted = append(errs, err), err == nil
	}
	s.state.Done = out.Complete
	errs = append(errs, s.save())
	return out, errors.Join(errs...)
}

// open connects, and begins a soak or goes on with the one of the state file.
func (s *soak) open(ctx context.Context) (err error) {
	papers, err := s.cfg.Security.Open()
	if err != nil {
		return err
	}
	if s.cl, err = cluster.NewSecure(s.cfg.Brokers, min(s.cfg.Timeout, 10*time.Second), papers); err != nil {
		return err
	}
	if err := s.cl.Check(ctx); err != nil {
		return err
	}
	var old *State
	if s.cfg.State != "" {
		if old, err = load(s.cfg.State); err != nil {
			return err
		}
	}
	if err := s.name(old); err != nil {
		return err
	}
	id, err := s.cl.ID(ctx, s.cfg.Topic)
	if err != nil {
		return err
	}
	if old == nil {
		return s.first(ctx, id)
	}
	if err := s.resume(ctx, old, id); err != nil {
		return fmt.Errorf("state %s: %w", s.cfg.State, err)
	}
	return nil
}

// name gives a soak its id and its topic's name, unless it has them.
func (s *soak) name(old *State) error {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return fmt.Errorf("run id: %w", err)
	}
	s.id = binary.BigEndian.Uint64(b[:])
	switch {
	case s.cfg.Topic != "":
		s.cfg.Topic = place.Numbered(s.cfg.Topic, s.cfg.Topics).String()
	case old != nil:
		s.cfg.Topic = old.Topic
	default:
		s.cfg.Topic = place.Numbered(fmt.Sprintf("loadgen-check-%s-%08x", time.Now().UTC().Format("20060102"), uint32(s.id)), s.cfg.Topics).String()
	}
	s.topics = place.Parse(s.cfg.Topic)
	if old != nil && s.cfg.Topics > 1 && s.cfg.Topics != len(s.topics) {
		return fmt.Errorf("state %s: it is of %d topics, not of %d: give --topics %d, or another state file", s.cfg.State, len(s.topics), s.cfg.Topics, len(s.topics))
	}
	return nil
}

// makeTopics makes the topics of a soak that begins.
func (s *soak) makeTopics(ctx context.Context) error {
	replication := s.cfg.Replication
	if replication == 0 {
		replication = -1
	}
	for i, name := range s.topics {
		err := s.cl.CreateTopic(ctx, name, s.cfg.Partitions, replication, s.cfg.TopicConfig)
		if errors.Is(err, kerr.TopicAlreadyExists) {
			err = fmt.Errorf("%w: say --existing to use it as it is (it is not deleted then), or choose another name", err)
		}
		if err != nil {
			s.topics = s.topics[:i]
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return errors.Join(err, s.deleteTopics(clean)) // those before it are empty
		}
		s.say("made the topic %s", name)
	}
	s.state.Created = true
	return nil
}

// deleteTopics deletes what makeTopics made.
func (s *soak) deleteTopics(ctx context.Context) error {
	var errs []error
	for _, name := range s.topics {
		errs = append(errs, s.cl.DeleteTopic(ctx, name))
	}
	return errors.Join(errs...)
}

// first begins a soak: at the end of what its topic holds.
func (s *soak) first(ctx context.Context, clusterID string) error {
	s.state = State{Run: s.id, Cluster: clusterID, Topic: s.cfg.Topic, ValueBytes: s.cfg.ValueBytes, Started: time.Now(), Starts: 1}
	if !s.cfg.Existing {
		if err := s.makeTopics(ctx); err != nil {
			return err
		}
	}
	topic, err := s.cl.Led(ctx, s.cfg.Topic)
	if errors.Is(err, cluster.ErrNoTopic) {
		return fmt.Errorf("%w: leave --existing away to have it made, or say which topic is there", err)
	}
	if err != nil {
		return err
	}
	ends, err := s.cl.EndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	s.prepare(topic)
	s.verify.at = ends
	return s.save()
}

// resume goes on with a soak.
func (s *soak) resume(ctx context.Context, old *State, clusterID string) error {
	switch {
	case old.Topic != s.cfg.Topic:
		return fmt.Errorf("it is of topic %q, not of %q: give --topic %s, or another state file", old.Topic, s.cfg.Topic, old.Topic)
	case old.Cluster != "" && clusterID != "" && old.Cluster != clusterID:
		return fmt.Errorf("it is of the cluster %q, and this is %q: give that cluster's brokers, or another state file", old.Cluster, clusterID)
	case old.ValueBytes != s.cfg.ValueBytes:
		return fmt.Errorf("its records have values of %d bytes, not of %d: give --size %d, or another state file", old.ValueBytes, s.cfg.ValueBytes, old.ValueBytes)
	case old.Done && time.Duration(old.SoakedMS)*time.Millisecond >= s.cfg.For:
		return ErrComplete
	}
	topic, err := s.cl.Led(ctx, s.cfg.Topic)
	if err != nil {
		return err
	}
	if got := len(topic.Partitions); got != len(old.Positions) {
		return fmt.Errorf("it is of a topic with %d partitions, and topic %q has %d: give another state file", len(old.Positions), s.cfg.Topic, got)
	}
	s.state, s.before = *old, old.SoakedMS
	s.state.Positions, s.state.Streams, s.state.Done = nil, nil, false
	s.state.Starts++
	s.prepare(topic)
	s.verify.restore(old)
	s.say("resumed after %v of soaking, as it stood at %s: %d records to read back", time.Duration(old.SoakedMS)*time.Millisecond,
		old.Saved.Format(time.DateTime), s.verify.unread)
	return nil
}

func (s *soak) prepare(topic cluster.Topic) {
	for _, p := range topic.Partitions {
		s.partitions = append(s.partitions, p.ID)
	}
	s.payloads = frame.NewPayloads(s.state.Run, s.cfg.ValueBytes)
	s.verify = newVerifier(s.payloads, s.topics, func(text string) { s.say("FOUND: %s", text) })
}

// run writes and reads until the time is over, the context ends or there is no point in going on.
func (s *soak) run(ctx context.Context) *Outcome {
	s.began, s.lastTime, s.lastSeen = time.Now(), time.Now(), s.verify.look().Acked
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var readers, others sync.WaitGroup
	for _, share := range deal(s.partitions, maxReaders) {
		readers.Go(func() {
			if err := s.read(work, share); err != nil {
				stop(err)
			}
		})
	}
	idle := make(chan struct{})
	others.Go(func() { every(idle, s.cfg.SaveEvery, s.keep) })
	others.Go(func() { every(idle, s.cfg.ReportEvery, s.report) })
	if err := s.write(work); err != nil {
		stop(err)
	}
	close(s.finishing)
	readers.Wait()
	close(idle)
	others.Wait()
	out := &Outcome{State: s.cfg.State, Interrupted: ctx.Err() != nil}
	switch cause := context.Cause(work); {
	case out.Interrupted:
		out.Ended = "it was interrupted"
	case cause != nil:
		out.Ended = cause.Error()
		if errors.Is(cause, errNotThere) {
			s.verify.close()
		}
	default:
		s.verify.close()
		out.Complete = true
	}
	out.Status = s.status()
	out.Starts, out.Launches = s.state.Starts, s.state.Launches
	return out
}

// every calls f again and again until stop is closed.
func every(stop <-chan struct{}, d time.Duration, f func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
			f()
		}
	}
}

// deal splits partitions into at most n shares.
func deal(partitions []int32, n int) [][]int32 {
	out := make([][]int32, min(n, len(partitions)))
	for i, p := range partitions {
		out[i%len(out)] = append(out[i%len(out)], p)
	}
	return out
}

// save writes the state as it is now.
func (s *soak) save() error {
	if s.cfg.State == "" {
		return nil
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	st := s.state
	s.mu.Unlock()
	st.Saved, st.SoakedMS = time.Now(), s.soaked().Milliseconds()
	b, err := s.verify.encode(st)
	if err == nil {
		err = replace(s.cfg.State, b)
	}
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// keep saves the state, and says when that ceases to be possible or is possible again. Meanwhile the soak goes on: it is
// only that a restart would begin further back.
func (s *soak) keep() {
	err := s.save()
	s.mu.Lock()
	before := s.saveErr
	s.saveErr = err
	s.mu.Unlock()
	switch {
	case err != nil && before == nil:
		s.say("the state cannot be saved, and a restart would go on from the last time that it could: %v", err)
	case err == nil && before != nil:
		s.say("the state is saved again")
	}
}

// soaked is how long was soaked, earlier starts included.
func (s *soak) soaked() time.Duration {
	d := time.Duration(s.before) * time.Millisecond
	if !s.began.IsZero() {
		d += time.Since(s.began)
	}
	return d
}

func (s *soak) report() {
	st := s.status()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ev.Report != nil {
		s.ev.Report(st)
	}
}

// look is how it stands, without the rate, which is that since the last report.
func (s *soak) look() Status {
	st := Status{Soaked: s.soaked(), For: s.cfg.For, Unread: s.verify.waiting(), Check: s.verify.look(), MostKept: s.verify.mostKept(), MemoryBytes: memory()}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Outages = s.state.Outages
	return st
}

func (s *soak) status() Status {
	st := s.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	st.RatePerSecond = float64(st.Check.Acked-s.lastSeen) / now.Sub(s.lastTime).Seconds()
	s.lastSeen, s.lastTime = st.Check.Acked, now
	return st
}

// memory is what the process has from the system and has not given back.
func memory() uint64 {
	m := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(m)
	return m[0].Value.Uint64() - m[1].Value.Uint64()
}

func (s *soak) say(format string, args ...any) {
	text := []rune(fmt.Sprintf(format, args...))
	if len(text) > maxRunes {
		text = append(slices.Clip(text[:maxRunes]), '…')
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ev.Say != nil {
		s.ev.Say(string(text))
	}
}
