package soak

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"ackline/loadgen/client"
	"ackline/loadgen/cluster"
	"ackline/loadgen/pace"
)

const (
	// launchStreams is how many streams a launch has numbers for. A launch that begins n seconds after the soak did has those
	// from n × launchStreams on: 48 days' worth.
	launchStreams = 1024
	// outageAfter is how long a due acknowledgement may stay away before that is an outage.
	outageAfter = time.Second
	// relaunchAfter is the pause before another launch, and thereby the least time between two.
	relaunchAfter = time.Second
	tick          = 50 * time.Millisecond
	// lastAnswers is how long answers are waited for when the context has ended.
	lastAnswers = time.Second
)

// write launches one driver after the other until the time is over. The error says why it is not.
func (s *soak) write(ctx context.Context) error {
	out := &outage{soak: s, since: pace.Now()}
	defer func() { out.close(pace.Now()) }()
	for {
		err := s.launch(ctx, out)
		if ctx.Err() != nil || s.soaked() >= s.cfg.For {
			return nil
		}
		if err == nil {
			continue
		}
		if final(err) {
			return err
		}
		out.look(math.MaxInt64, err.Error())
		if quiet := time.Duration(pace.Now() - out.since); quiet > s.cfg.GiveUp {
			return fmt.Errorf("nothing was acknowledged for %v: %w", quiet.Round(time.Second), err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(relaunchAfter):
		}
	}
}

// errState says that a launch could not begin because its streams could not be saved.
var errState = errors.New("a new launch is not known to the state file")

// final reports whether trying again would not help.
func final(err error) bool {
	if errors.Is(err, errState) || errors.Is(err, errChanged) {
		return true
	}
	k, ok := errors.AsType[*kerr.Error](err)
	return ok && !k.Retriable && !slices.Contains(producerErrors, k)
}

// producerErrors are about what a broker knows of a producer. The next launch has a new one.
var producerErrors = []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.DuplicateSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch,
	kerr.ProducerFenced, kerr.InvalidProducerIDMapping}

// errChanged says that the topic is not what it was.
var errChanged = errors.New("the topic has changed")

// launch opens a driver and writes with it until the time is over or an operation failed. Only wire's Resend will do as the
// driver: it is idempotent and survives failovers, and it hands answers back in order, on this thread.
func (s *soak) launch(ctx context.Context, out *outage) error {
	topic, err := s.cl.Led(ctx, s.cfg.Topic)
	if err != nil {
		return err
	}
	if len(topic.Partitions) != len(s.partitions) {
		return fmt.Errorf("%w: %q has %d partitions, it had %d", errChanged, topic.Name, len(topic.Partitions), len(s.partitions))
	}
	number := max(uint64(s.verify.highest()), uint64(max(time.Since(s.state.Started)/time.Second, 0))*launchStreams)
	if number > math.MaxUint32-launchStreams {
		return fmt.Errorf("%w: the soak began at %s, and a state serves for 48 days", errState, s.state.Started.Format(time.DateTime))
	}
	cfg := client.Config{Connections: connections(topic), InFlight: client.ResendInFlight, Threads: 1, Timeout: s.cfg.Timeout, Resend: true,
		FirstStream: uint32(number)}
	if cfg.Connections > launchStreams {
		return fmt.Errorf("%w: %d connections for %d partitions, want at most %d", errChanged, cfg.Connections, len(topic.Partitions), launchStreams)
	}
	d, err := client.OpenProduce(ctx, cfg, s.cl, topic, s.payloads)
	if err != nil {
		return err
	}
	defer d.Close()
	var partitions []int32
	for _, st := range d.Streams() {
		partitions = append(partitions, st.Partition)
	}
	s.verify.begin(cfg.FirstStream, partitions)
	defer s.verify.end()
	s.mu.Lock()
	s.state.Launches++
	n := s.state.Launches
	s.mu.Unlock()
	if err := s.save(); err != nil {
		return fmt.Errorf("%w: %w", errState, err)
	}
	s.say("launch %d: writing to %d partitions over %d connections", n, len(topic.Partitions), cfg.Connections)
	return (&writer{soak: s, out: out, driver: d.Workers()[0], first: cfg.FirstStream, arrivals: s.cfg.arrivals(s.state.Run+uint64(n)).Stream(0, 1)}).drive(ctx)
}

// connections is how many it takes for each to serve one partition: they are dealt over the leaders in turn.
func connections(t cluster.Topic) int {
	led := map[int32]int{}
	most := 0
	for _, p := range t.Partitions {
		led[p.Leader]++
		most = max(most, led[p.Leader])
	}
	return most * len(led)
}

// writer is one launch.
type writer struct {
	soak     *soak
	out      *outage
	driver   client.Worker
	first    uint32
	arrivals *pace.Stream
	failure  error // of the first operation that was handed back as failed
	held     bool  // reading is behind
}

// drive writes until the time is over, the context ends, or an operation failed: what a broker says after that is of a producer that
// left something out.
func (w *writer) drive(ctx context.Context) error {
	release, err := pace.LockThread()
	if err != nil {
		return err
	}
	defer release()
	start := pace.Now()
	next := start + w.arrivals.Next()
	for {
		now := pace.Now()
		if ctx.Err() != nil || w.soak.soaked() >= w.soak.cfg.For || w.failure != nil {
			break
		}
		next = w.submit(now, start, next)
		if w.driver.InFlight() == 0 {
			w.out.idle(now)
		}
		w.out.look(now, "")
		if err := w.driver.Wait(w.wake(now, next), w.answered); err != nil {
			w.driver.Abandon(w.answered)
			return err
		}
	}
	return w.drain(ctx)
}

// wake is when to look again: at the next arrival, if it could be sent then.
func (w *writer) wake(now, next int64) int64 {
	if w.driver.Room() == 0 || w.held {
		return now + tick.Nanoseconds()
	}
	return min(next, now+tick.Nanoseconds())
}

// submit sends the arrivals that are due and have room, and returns the time of the next one.
func (w *writer) submit(now, start, next int64) int64 {
	sent := false
	for room := min(w.driver.Room(), w.room()); next <= now && room > 0; room-- {
		w.soak.verify.issue()
		w.driver.Submit(next, now)
		next = start + w.arrivals.Next()
		sent = true
	}
	if sent {
		w.driver.Flush()
	}
	return next
}

// room is how many records may be sent until as many wait to be read back as may. Once there are so many, half of them have to
// be read before writing goes on.
func (w *writer) room() int {
	limit, n := w.soak.cfg.MaxUnread, w.soak.verify.waiting()
	room := limit - n - w.driver.InFlight()
	switch {
	case !w.held && room <= 0:
		w.held = true
		w.soak.say("writing waits: %d acknowledged records are not read back yet", n)
	case w.held && n <= limit/2:
		w.held = false
		w.soak.say("writing goes on: reading has caught up")
	}
	if w.held {
		return 0
	}
	return room
}

// drain waits for what is in flight.
func (w *writer) drain(ctx context.Context) error {
	deadline := pace.Now() + w.soak.cfg.Timeout.Nanoseconds()
	if w.failure != nil {
		deadline = 0
	} else if ctx.Err() != nil {
		deadline = pace.Now() + lastAnswers.Nanoseconds()
	}
	for w.driver.InFlight() > 0 && pace.Now() < deadline {
		if ctx.Err() != nil {
			deadline = min(deadline, pace.Now()+lastAnswers.Nanoseconds())
		}
		if err := w.driver.Wait(pace.Now()+tick.Nanoseconds(), w.answered); err != nil {
			break
		}
	}
	w.driver.Abandon(w.answered)
	return w.failure
}

func (w *writer) answered(op *client.Op) {
	id := w.first + op.Stream
	if op.Err == nil {
		w.soak.verify.acked(id, op.Seq, op.Records, op.Base)
		w.out.over(op.Acked)
		return
	}
	w.soak.verify.failed(id, op.Seq, op.Records)
	if w.failure == nil {
		w.failure = op.Err
	}
}

// outage tells when acknowledgements stay away. Used by the writer's thread.
type outage struct {
	soak  *soak
	since int64 // the last acknowledgement, or when there was nothing to acknowledge
	begun bool
}

// idle notes that nothing is due.
func (o *outage) idle(now int64) {
	if !o.begun {
		o.since = now
	}
}

// look begins an outage when it is time: at once if now is the end of time, which is for those who know.
func (o *outage) look(now int64, why string) {
	if o.begun || now-o.since < outageAfter.Nanoseconds() {
		return
	}
	o.begun = true
	if why != "" {
		why = ": " + why
	}
	o.soak.say("nothing is acknowledged%s", why)
}

// over notes an acknowledgement.
func (o *outage) over(now int64) {
	if o.begun {
		o.soak.say("acknowledged again after %.1f s", float64(now-o.since)/1e9)
	}
	o.close(now)
}

// close counts an outage, if there is one, as ended now.
func (o *outage) close(now int64) {
	if o.begun {
		ms := (now - o.since) / 1e6
		o.soak.mu.Lock()
		x := &o.soak.state.Outages
		x.Count, x.TotalMS, x.LongestMS = x.Count+1, x.TotalMS+ms, max(x.LongestMS, ms)
		o.soak.mu.Unlock()
	}
	o.begun, o.since = false, now
}
