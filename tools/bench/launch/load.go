package launch

import (
	"context"
	"fmt"
	"strings"
	"time"

	"ackline/loadgen/client"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
	"ackline/loadgen/run"
	"ackline/profiles"
	"ackline/tools/bench/probe"
	"ackline/tools/bench/record"
)

// topic is written to. Its length is part of every frame, on both sides.
const topic = "bench"

// session is a load over loadgen's pre-encoded frames.
type session struct {
	s        *run.Session
	workload profiles.Workload
	acked    int64 // operations since it was opened
	records  int64
	bytes    int64 // of the values of records that were written
}

// produceLoad is a session whose acknowledgements are remembered, so that they can be read back.
type produceLoad struct{ session }

func clientConfig(w profiles.Workload) client.Config {
	return client.Config{Connections: w.Connections, Threads: w.Threads, InFlight: w.InFlight, RecordsPerRequest: w.RecordsPerRequest, Timeout: w.Timeout()}
}

func open(ctx context.Context, w profiles.Workload, c run.Config) (session, error) {
	c.NoAwake = true // the suite's tuning says so for the whole run, floors included
	s, err := run.Open(ctx, c)
	return session{s: s, workload: w}, err
}

// openProduce makes the topic on a fresh broker and connects to it.
func openProduce(ctx context.Context, w profiles.Workload, addrs []string, runID uint64) (*produceLoad, error) {
	return openTopic(ctx, w, topic, addrs, runID)
}

// openTopic is openProduce with a topic of another name. Every node has a copy.
func openTopic(ctx context.Context, w profiles.Workload, topic string, addrs []string, runID uint64) (*produceLoad, error) {
	c := run.Default()
	c.Brokers, c.Topic, c.Keep = addrs, topic, true // the directory goes, and the topic with it
	c.Replication = int16(len(addrs))
	c.Partitions, c.ValueBytes, c.Client, c.RunID, c.EndToEnd = int32(w.Partitions), w.RecordBytes, clientConfig(w), runID, w.EndToEnd
	s, err := open(ctx, w, c)
	return &produceLoad{s}, err
}

// openAgain connects to the topic that openProduce has made, with franz-go set up to measure the system, or with frames that ask for stages.
func openAgain(ctx context.Context, w profiles.Workload, addrs []string, runID uint64, driver string, stages bool) (*produceLoad, error) {
	c := run.Default()
	c.Brokers, c.Topic, c.Existing, c.Driver, c.ValueBytes, c.Client, c.RunID = addrs, topic, true, driver, w.RecordBytes, clientConfig(w), runID
	c.Client.Stages = stages
	s, err := open(ctx, w, c)
	return &produceLoad{s}, err
}

// openFloor connects to a floor with the frames that openProduce sends.
func openFloor(ctx context.Context, w profiles.Workload, addr string, runID uint64) (*session, error) {
	c := run.Default()
	c.Floor, c.Topic, c.ValueBytes, c.Client, c.RunID, c.NoCheck = addr, topic, w.RecordBytes, clientConfig(w), runID, true
	s, err := open(ctx, w, c)
	return &s, err
}

// openFetch connects to a topic that was filled before.
func openFetch(ctx context.Context, w profiles.Workload, addrs []string, runID uint64) (*session, error) {
	c := run.Default()
	c.Brokers, c.Topic, c.Existing, c.Workload, c.FetchBytes = addrs, topic, true, run.Fetch, int32(w.FetchBytes)
	c.ValueBytes, c.Client, c.RunID = w.RecordBytes, clientConfig(w), runID
	s, err := open(ctx, w, c)
	return &s, err
}

// openEcho connects to a bare echo with the smallest frames there are, about as long as a Fetch request.
func openEcho(ctx context.Context, w profiles.Workload, addr string, runID uint64) (*session, error) {
	w.RecordBytes, w.RecordsPerRequest = frame.MinPayload, 1
	return openFloor(ctx, w, addr, runID)
}

// slice runs the load for a length of time.
func (l *session) slice(ctx context.Context, what stretch) (sample, error) {
	if what.rate == 0 {
		what.rate = l.workload.RatePerSecond
	}
	s, err := l.s.Slice(ctx, run.Spec{For: what.length - what.discard, Discard: what.discard,
		Arrivals: pace.Spec{Kind: pace.Kind(l.workload.Arrivals), RatePerSecond: what.rate, Seed: what.seed}})
	if err != nil {
		return sample{}, err
	}
	if s.Interrupted {
		return sample{}, context.Cause(ctx)
	}
	if s.Ended != "" {
		return sample{}, fmt.Errorf("%s:%s", s.Ended, oneLine(s.Counts.Errors))
	}
	bytes := int64(0)
	if l.s.Config().Workload == run.Produce {
		bytes = s.Counts.AllRecords * int64(l.workload.RecordBytes)
	}
	l.acked, l.records, l.bytes = l.acked+s.Counts.AllAcked, l.records+s.Counts.AllRecords, l.bytes+bytes
	return l.sample(s, bytes), nil
}

// sample is what counts of a slice.
func (l *session) sample(s *run.Slice, userBytes int64) sample {
	out := sample{hist: s.Set, counted: time.Duration(s.Counts.WindowSeconds * 1e9), endedNS: s.Tail.Window.To, requests: s.Counts.Acked,
		failures: s.Counts.Failed, unsent: s.Counts.Unsent, all: s.Counts.AllAcked, userBytes: userBytes,
		stages: s.Stages, stolen: s.Generator.StolenSeconds > 0 && s.Generator.ThrottledSeconds == 0,
		ends: l.workload.EndToEnd, endToEnd: s.EndToEnd, delivery: s.Delivery, early: s.EarlyReads}
	out.rated, out.replyBytes = out.counted, s.Counts.AllAcked*int64(l.replyBytes())
	for _, r := range s.Verdict().Reasons {
		out.invalid = append(out.invalid, cause{r.Text, r.Code})
	}
	failed := s.Counts.Failed
	if l.workload.Kind == profiles.Sweep {
		failed -= s.Counts.Unsent // a side that is saturated is what a sweep looks for
	}
	if failed > 0 {
		out.invalid = append(out.invalid, cause{text: fmt.Sprintf("%d operations failed:%s", failed, oneLine(s.Counts.Errors))})
	}
	if s.Unread > 0 {
		out.invalid = append(out.invalid, cause{text: fmt.Sprintf("the consumer never saw %d of the records that were acknowledged", s.Unread)})
	}
	return out
}

func oneLine(errs []string) string { return " " + strings.Join(errs, "; ") }

// replyBytes is the size of the last answer.
func (l *session) replyBytes() int { return l.s.Effective().ReplyBytes }

func (l *session) close() error { return l.s.Close() }

// verify reads back everything that was acknowledged.
func (l *produceLoad) verify(ctx context.Context) (*record.DataCheck, error) {
	r, err := l.s.Check(ctx, nil)
	if err != nil {
		return nil, err
	}
	return record.Checked(r), nil
}

// caughtUp waits until the broker's partitions end at or behind everything that was acknowledged, to this load and by others
// to others, and returns when.
func (l *produceLoad) caughtUp(ctx context.Context, addr string, others int64) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, probe.FirstAckLimit)
	defer cancel()
	c, err := cluster.New([]string{addr}, l.workload.Timeout())
	if err != nil {
		return time.Time{}, err
	}
	for {
		t, err := c.Led(ctx, topic)
		if err != nil {
			return time.Time{}, err
		}
		ends, err := c.EndOffsets(ctx, t)
		if err != nil {
			return time.Time{}, err
		}
		var sum int64
		for _, e := range ends {
			sum += e
		}
		if sum >= l.records+others {
			return time.Now(), nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		case <-time.After(probe.FirstAckPoll):
		}
	}
}
