package launch

import (
	"context"
	"fmt"
	"net"
	"time"

	"ackline/loadgen/cluster"
	"ackline/loadgen/secure"
	"ackline/profiles"
	"ackline/tools/bench/inside"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/target"
)

// There is a cluster that somebody else has started, with a floor beside it or not. A launch makes topics on it, each with a name of
// its own, and deletes them.
//
// Nothing is known of its processes and disks but what they say themselves: what cannot be seen from here is left out of the record.
type There struct {
	Brokers  []string // where clients connect, every node
	Security secure.Config
	Copies   int      // of each partition
	HTTP     []string // of the brokers, in their order; none: they are neither asked to settle nor counted
	Floor    string   // where a durable floor of as many nodes as there are copies listens; "" for none
	Echo     string   // where a bare echo listens; "" for none
}

// reachTimeout is how long anything may take to say that it is there.
const reachTimeout = 10 * time.Second

// open is a way to ask the cluster.
func (t *There) open(timeout time.Duration) (*cluster.Cluster, error) {
	papers, err := t.Security.Open()
	if err != nil {
		return nil, err
	}
	return cluster.NewSecure(t.Brokers, timeout, papers)
}

// Reach says what of it does not answer, nil when all does.
func (t *There) Reach(ctx context.Context) error {
	c, err := t.open(reachTimeout)
	if err == nil {
		err = c.Check(ctx)
	}
	if err != nil {
		return fmt.Errorf("the brokers: %w", err)
	}
	for what, addr := range map[string]string{"the floor": t.Floor, "the echo": t.Echo} {
		if addr == "" {
			continue
		}
		conn, err := net.DialTimeout("tcp", addr, reachTimeout)
		if err != nil {
			return fmt.Errorf("%s: nobody answers: %w", what, err)
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return nil
}

// gone says that a launch failed because what is measured went away: then no other launch would fare better.
func (l *launch) gone(ctx context.Context, failed error) error {
	if l.There == nil || failed == nil {
		return nil
	}
	if err := l.There.Reach(ctx); err != nil {
		return fmt.Errorf("launch %d of %s: went away: %w; the launch had failed with: %w", l.Number, l.Scenario.Name, err, failed)
	}
	return nil
}

// at is the floor at an address, nil for none.
func at(addr string) *target.Floor {
	if addr == "" {
		return nil
	}
	return target.FloorAt(addr)
}

// place is where the launch's sessions go.
func (l *launch) place(b *target.Brokers) session.Place {
	if t := l.There; t != nil {
		return session.Place{Brokers: t.Brokers, Security: t.Security, Topic: l.topic, Copies: t.Copies}
	}
	return session.Place{Brokers: b.Addrs(), Topic: l.topic, Copies: len(b.Addrs()), Keep: true}
}

// beside is the place of one more topic.
func (l *launch) beside(b *target.Brokers) session.Place {
	p := l.place(b)
	if p.Topic = single; l.There != nil {
		p.Topic = ""
	}
	return p
}

// openProduce makes the topic that is measured and connects to it.
func (l *launch) openProduce(ctx context.Context, w profiles.Workload, b *target.Brokers, runID uint64) (*session.Writer, error) {
	s, err := session.OpenProduce(ctx, w, l.place(b), runID)
	if err == nil {
		l.topic = s.Topic()
	}
	return s, err
}

// LeftBehind is a topic on somebody's cluster that could not be deleted.
type LeftBehind struct {
	Topic string
	Err   error
}

func (e *LeftBehind) Error() string {
	return fmt.Sprintf("topic %q is perhaps still there, delete it by hand: %v", e.Topic, e.Err)
}

// Unwrap returns the cause.
func (e *LeftBehind) Unwrap() error { return e.Err }

// shut closes a session that has made a topic.
func (l *launch) shut(s *session.Writer) {
	if err := s.Close(); err != nil && l.There != nil {
		l.left = append(l.left, &LeftBehind{Topic: s.Topic(), Err: err})
	}
}

// settle returns what makes the brokers write what they owe their disks; nothing does that for a cluster that cannot be asked.
func (l *launch) settle(b *target.Brokers) func(context.Context) error {
	if !l.countable() {
		return func(context.Context) error { return nil }
	}
	return b.Checkpoint
}

// countable says that the brokers can be asked what they have counted.
func (l *launch) countable() bool { return l.There == nil || len(l.There.HTTP) > 0 }

// counters are what the brokers have counted so far, none if they cannot be asked.
func (l *launch) counters(ctx context.Context, b *target.Brokers) ([]target.Metrics, error) {
	if !l.countable() {
		return nil, nil
	}
	return b.Metrics(ctx)
}

// leads is which node leads the first partition: its place among those that were started, or the number of one that is elsewhere.
func (l *launch) leads(ctx context.Context, b *target.Brokers) (int, error) {
	if l.There == nil {
		return l.nodes(b).Leads(ctx)
	}
	p, err := l.leader(ctx)
	return int(p.Leader) - 1, err
}

// leader is the first partition, of a cluster that is elsewhere.
func (l *launch) leader(ctx context.Context) (cluster.Partition, error) {
	c, err := l.There.open(l.Scenario.Workload.Timeout())
	if err != nil {
		return cluster.Partition{}, err
	}
	t, err := c.Led(ctx, l.topic)
	if err != nil {
		return cluster.Partition{}, err
	}
	return t.Partitions[0], nil
}

// first is whose counters come first: of nodes that are elsewhere none are read.
func (l *launch) first(lead int) int {
	if l.There != nil {
		return 0
	}
	return lead
}

// muchLonger is by how many bytes one side's answers may be longer than the other's before a comparison of the two says little.
const muchLonger = 256

// compareAnswers notes that a floor which was started by somebody else answers with other lengths than the brokers. One that is started
// here is told.
func (c *contest) compareAnswers() {
	if c.There == nil {
		return
	}
	mine, theirs := c.loads[record.System].ReplyBytes(), c.loads[record.Floor].ReplyBytes()
	text := fmt.Sprintf("the floor's answers have %d bytes, the brokers' %d: start it with --reply-bytes %d", theirs, mine, mine)
	switch {
	case mine-theirs > muchLonger || theirs-mine > muchLonger:
		c.Invalid("%s", text)
	case mine != theirs:
		c.Rec.Notes = append(c.Rec.Notes, text)
	}
}

// insideThere records what brokers say of themselves that run elsewhere. The size of their rings is not known, and so not whether the
// slices have paid for what a broker puts off.
func (c *contest) insideThere(nodes []target.Metrics) {
	lead := -1
	if p, err := c.leader(context.Background()); err == nil {
		for i, addr := range c.There.Brokers {
			if addr == p.Addr {
				lead = i
			}
		}
	}
	if lead < 0 {
		c.Rec.Notes = append(c.Rec.Notes, "which of the http addresses is the leader's is not known, so there are no stages: name the brokers by the addresses that they advertise")
	}
	in := inside.Elsewhere(nodes, lead, float64(c.all[record.System]))
	c.Rec.Stages = append(c.Rec.Stages, in.Stages...)
	for _, f := range in.Figures {
		c.Figure(f.Side, f.Name, f.Unit, f.Value)
	}
}

// beyond measures what explains the figures of a cluster that is elsewhere: the links' round trip, and what a client library costs. The
// floor cannot be told from its parts, one of which is its disk.
func (c *contest) beyond(ctx context.Context, b *target.Brokers) error {
	if c.There.Echo != "" {
		if err := c.roundTrip(ctx); err != nil {
			return err
		}
	}
	if !c.Scenario.Workload.OneAtATime() {
		return nil
	}
	return c.library(ctx, b)
}
