// Package session is how bench puts load on what it measures: with loadgen's frames, on the brokers and on the floor alike.
//
// Two sides can be compared only if both get the same bytes at the same moments. So there is one kind of session, whatever it is
// connected to, and a slice of it says everything that counts: what was answered when, how many bytes went over, and what the
// generator has against it.
package session

import (
	"context"
	"fmt"
	"strings"
	"time"

	"ackline/loadgen/client"
	"ackline/loadgen/client/sock"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
	"ackline/loadgen/run"
	"ackline/loadgen/secure"
	"ackline/profiles"
	"ackline/tools/bench/record"
)

// Place is where a session goes.
type Place struct {
	Brokers  []string
	Security secure.Config
	// Topic is written to. Its length is part of every frame, on both sides. "" is one of the session's own, see Session.Topic.
	Topic string
	// Copies is how many nodes have each partition of a topic that is made.
	Copies int
	// Way is how connections get there; nil: as addresses say.
	Way sock.Way
	// From is where the producers say that they are (client.Config.Place), to the floor too, whose frames are to be as long.
	From string
	// Keep leaves a topic that was made: its brokers' directories go, and it with them.
	Keep bool
}

// Session is a load over loadgen's pre-encoded frames. Connections stay open from slice to slice.
type Session struct {
	s        *run.Session
	workload profiles.Workload
	acked    int64 // operations since it was opened
	records  int64
	bytes    int64 // of the values of records that were written
}

// Writer is a session whose acknowledgements are remembered, so that they can be read back.
type Writer struct{ Session }

// Stretch says how one slice of load is to be.
type Stretch struct {
	Length, Discard time.Duration // of the length, the beginning is not counted
	Seed            uint64        // two slices with one seed have the same arrivals
	Rate            float64       // arrivals per second where there is a schedule; 0: the workload's
}

func clientConfig(w profiles.Workload) client.Config {
	return client.Config{Connections: w.Connections, Threads: w.Threads, InFlight: w.InFlight, RecordsPerRequest: w.RecordsPerRequest, Timeout: w.Timeout()}
}

func (p Place) config(w profiles.Workload, runID uint64) run.Config {
	c := run.Default()
	c.Brokers, c.Security, c.Topic, c.ValueBytes, c.Client, c.RunID = p.Brokers, p.Security, p.Topic, w.RecordBytes, clientConfig(w), runID
	c.Client.Way, c.Client.Place = p.Way, p.From
	return c
}

func open(ctx context.Context, w profiles.Workload, c run.Config) (Session, error) {
	c.NoAwake = true // the suite's tuning says so for the whole run, floors included
	s, err := run.Open(ctx, c)
	return Session{s: s, workload: w}, err
}

// OpenProduce makes the topic and connects to it.
func OpenProduce(ctx context.Context, w profiles.Workload, at Place, runID uint64) (*Writer, error) {
	c := at.config(w, runID)
	c.Keep, c.Replication, c.Partitions, c.EndToEnd = at.Keep, int16(at.Copies), int32(w.Partitions), w.EndToEnd
	s, err := open(ctx, w, c)
	return &Writer{s}, err
}

// OpenAgain connects to the topic that OpenProduce has made, with franz-go set up to measure the system, or with frames that ask for stages.
func OpenAgain(ctx context.Context, w profiles.Workload, at Place, runID uint64, driver string, stages bool) (*Writer, error) {
	c := at.config(w, runID)
	c.Existing, c.Driver, c.Client.Stages = true, driver, stages
	s, err := open(ctx, w, c)
	return &Writer{s}, err
}

// OpenFloor connects to a floor with the frames that OpenProduce sends to a topic.
func OpenFloor(ctx context.Context, w profiles.Workload, addr, topic string, runID uint64) (*Session, error) {
	return OpenFloorAt(ctx, w, addr, Place{Topic: topic}, runID)
}

// OpenFloorAt is OpenFloor on the way of a place with that topic.
func OpenFloorAt(ctx context.Context, w profiles.Workload, addr string, at Place, runID uint64) (*Session, error) {
	c := at.config(w, runID)
	c.Floor, c.NoCheck = addr, true
	s, err := open(ctx, w, c)
	return &s, err
}

// OpenFetch connects to a topic that was filled before.
func OpenFetch(ctx context.Context, w profiles.Workload, at Place, runID uint64) (*Session, error) {
	c := at.config(w, runID)
	c.Existing, c.Workload, c.FetchBytes = true, run.Fetch, int32(w.FetchBytes)
	s, err := open(ctx, w, c)
	return &s, err
}

// OpenEcho connects to a bare echo with the smallest frames there are, about as long as a Fetch request.
func OpenEcho(ctx context.Context, w profiles.Workload, addr, topic string, runID uint64) (*Session, error) {
	w.RecordBytes, w.RecordsPerRequest = frame.MinPayload, 1
	return OpenFloor(ctx, w, addr, topic, runID)
}

// Slice runs the load for a length of time.
func (l *Session) Slice(ctx context.Context, what Stretch) (Sample, error) {
	if what.Rate == 0 {
		what.Rate = l.workload.RatePerSecond
	}
	s, err := l.s.Slice(ctx, run.Spec{For: what.Length - what.Discard, Discard: what.Discard,
		Arrivals: pace.Spec{Kind: pace.Kind(l.workload.Arrivals), RatePerSecond: what.Rate, Seed: what.Seed}})
	if err != nil {
		return Sample{}, err
	}
	if s.Interrupted {
		return Sample{}, context.Cause(ctx)
	}
	if s.Ended != "" {
		return Sample{}, fmt.Errorf("%s:%s", s.Ended, oneLine(s.Counts.Errors))
	}
	bytes := int64(0)
	if l.s.Config().Workload == run.Produce {
		bytes = s.Counts.AllRecords * int64(l.workload.RecordBytes)
	}
	l.acked, l.records, l.bytes = l.acked+s.Counts.AllAcked, l.records+s.Counts.AllRecords, l.bytes+bytes
	return l.sample(s, bytes), nil
}

// sample is what counts of a slice.
func (l *Session) sample(s *run.Slice, userBytes int64) Sample {
	out := Sample{Hist: s.Set, Counted: time.Duration(s.Counts.WindowSeconds * 1e9), EndedNS: s.Tail.Window.To,
		Answered: time.Duration(pace.Now() - s.Tail.Window.From), Requests: s.Counts.Acked,
		Failures: s.Counts.Failed, Unsent: s.Counts.Unsent, All: s.Counts.AllAcked, UserBytes: userBytes,
		Stages: s.Stages, Stolen: s.Generator.StolenSeconds > 0 && s.Generator.ThrottledSeconds == 0,
		Ends: l.workload.EndToEnd, EndToEnd: s.EndToEnd, Delivery: s.Delivery, Early: s.EarlyReads}
	out.Rated = out.Counted
	out.ReplyBytes = s.Counts.AllAcked * int64(l.ReplyBytes())
	for _, r := range s.Verdict().Reasons {
		out.Invalid = append(out.Invalid, Cause{r.Text, r.Code})
	}
	failed := s.Counts.Failed
	if l.workload.Ladder() {
		failed -= s.Counts.Unsent // a side that is saturated is what a sweep looks for
	}
	if failed > 0 {
		out.Invalid = append(out.Invalid, Cause{Text: fmt.Sprintf("%d operations failed:%s", failed, oneLine(s.Counts.Errors))})
	}
	if s.Unread > 0 {
		out.Invalid = append(out.Invalid, Cause{Text: fmt.Sprintf("the consumer never saw %d of the records that were acknowledged", s.Unread)})
	}
	return out
}

func oneLine(errs []string) string { return " " + strings.Join(errs, "; ") }

// ReplyBytes is the size of the last answer.
func (l *Session) ReplyBytes() int { return l.s.Effective().ReplyBytes }

// Topic is the name of the topic that the session writes to or reads from.
func (l *Session) Topic() string { return l.s.Config().Topic }

// Acked is how many operations were acknowledged since the session was opened, Records how many records, and Bytes those of the
// values of records that were written.
func (l *Session) Acked() int64 { return l.acked }

// Records is said with Acked.
func (l *Session) Records() int64 { return l.records }

// Bytes is said with Acked.
func (l *Session) Bytes() int64 { return l.bytes }

// Close closes the connections, and deletes a topic that was made and is not kept.
func (l *Session) Close() error { return l.s.Close() }

// Verify reads back everything that was acknowledged.
func (l *Writer) Verify(ctx context.Context) (*record.DataCheck, error) {
	r, err := l.s.Check(ctx, nil)
	if err != nil {
		return nil, err
	}
	return record.Checked(r), nil
}
