package fleet

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/client"
	"ackline/loadgen/pace"
	"ackline/loadgen/result"
	"ackline/loadgen/run"
)

const patience = 2 * time.Minute

// agents starts n of them and returns where they are, and their connections as they come.
func agents(t *testing.T, n int, a func() *Agent) (addrs []string, conns chan net.Conn) {
	t.Helper()
	conns = make(chan net.Conn, 100)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(cancel)
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, ln.Addr().String())
		wg.Go(func() {
			if err := a().Serve(ctx, telling{ln, conns}); err != nil {
				t.Error(err)
			}
		})
	}
	return addrs, conns
}

// telling is a listener that hands out what it accepts.
type telling struct {
	net.Listener
	conns chan net.Conn
}

func (l telling) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err == nil {
		l.conns <- nc
	}
	return nc, err
}

func plain() *Agent { return &Agent{} }

// load is a placed load on a cluster.
func load(t *testing.T, b *brokertest.Cluster, d time.Duration) (run.Config, run.Spec) {
	t.Helper()
	cfg, remove, err := run.Place(context.Background(), run.Config{Brokers: b.Addrs(), Topic: "t", Partitions: 2, ValueBytes: 100, Client: client.Config{Timeout: patience}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(); err != nil || b.Has("t") {
			t.Errorf("the topic is still there: %v", err)
		}
	})
	return cfg, run.Spec{Arrivals: pace.Spec{Kind: pace.Constant, RatePerSecond: 600, Seed: 1}, For: d, Discard: 100 * time.Millisecond}
}

// Three agents together make what was asked for, begin together, and their parts are one result whose data was checked.
func TestAgentsMakeOneLoad(t *testing.T) {
	b := brokertest.Start(t, 1)
	addrs, _ := agents(t, 3, plain)
	cfg, spec := load(t, b, 1500*time.Millisecond)
	var seconds []result.Second
	l := Lead{Agents: addrs, Second: func(s result.Second) { seconds = append(seconds, s) }}
	r, err := l.Run(context.Background(), cfg, spec)
	if err != nil {
		t.Fatal(err)
	}
	if r.Counts.Acked < 800 || r.Counts.Acked > 910 || r.Latency.Set.Response.Count() != r.Counts.Acked || len(r.Effective.Connections) != 3 || len(r.Agents) != 3 {
		t.Errorf("%+v, %d in the histogram, agents %+v", r.Counts, r.Latency.Set.Response.Count(), r.Agents)
	}
	stored := int64(b.Stored("t", 0) + b.Stored("t", 1))
	if c := r.Check; c == nil || !c.Done || c.Faults() != 0 || c.Acked != stored || c.Read != stored || c.Foreign != 0 {
		t.Errorf("%d stored, check %+v", stored, r.Check)
	}
	var acked, told, byPartition int64
	for _, a := range r.Agents {
		acked += a.Acked
		if a.Lost != "" || a.Acked == 0 || a.Verdict.Status == "" {
			t.Errorf("%+v", a)
		}
	}
	for _, s := range seconds {
		told += s.Acked
	}
	for _, p := range r.ByPartition {
		byPartition += p.Acked
	}
	if acked != r.Counts.Acked || byPartition != acked || told == 0 || len(r.ByPartition) != 2 {
		t.Errorf("%d of %d by agents, %d by partition, %d told in %d seconds", acked, r.Counts.Acked, byPartition, told, len(seconds))
	}
	var text strings.Builder
	if err := r.Print(&text); err != nil || strings.Count(text.String(), " acknowledged, p50 ") != 3 {
		t.Errorf("%v\n%s", err, text.String())
	}
}

// An agent that is lost is named, and the others' part is a result, which is not VALID.
func TestAgentIsLost(t *testing.T) {
	b := brokertest.Start(t, 1)
	addrs, conns := agents(t, 2, plain)
	cfg, spec := load(t, b, 2*time.Second)
	var once sync.Once
	var said []string
	l := Lead{Agents: addrs, Say: func(s string) { said = append(said, s) }, Second: func(result.Second) {
		once.Do(func() { (<-conns).Close() })
	}}
	r, err := l.Run(context.Background(), cfg, spec)
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, a := range r.Agents {
		if a.Lost != "" {
			lost++
		}
	}
	if lost != 1 || r.Verdict.Status != result.Invalid || !r.Verdict.Has(result.AgentLost) || r.Counts.Acked == 0 || !r.Check.Done {
		t.Errorf("%+v\n%+v", r.Verdict, r.Agents)
	}
	if s := strings.Join(said, "\n"); !strings.Contains(s, "is lost: it closed the connection") {
		t.Errorf("said %q", s)
	}
}

func async[T any](f func() T) chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	return c
}

// Who is told to stop ends the load on all agents, and checks what there was.
func TestStop(t *testing.T) {
	b := brokertest.Start(t, 1)
	addrs, _ := agents(t, 2, plain)
	cfg, spec := load(t, b, time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l := Lead{Agents: addrs, Second: func(result.Second) { cancel() }}
	r, err := l.Run(ctx, cfg, spec)
	if err != nil {
		t.Fatal(err)
	}
	if r.Counts.Acked == 0 || r.Check == nil || !r.Check.Done || r.Check.Faults() > 0 || r.Verdict.Has(result.AgentLost) {
		t.Errorf("%+v, check %+v, %+v", r.Counts, r.Check, r.Verdict)
	}
}

// What an agent does not take is said by the lead, with the agent's name, and nothing is begun.
func TestAgentsThatRefuse(t *testing.T) {
	b := brokertest.Start(t, 1)
	cfg, spec := load(t, b, time.Second)
	secret, _ := agents(t, 1, func() *Agent { return &Agent{Token: "s3cret"} })
	good, _ := agents(t, 1, plain)
	broken, _ := agents(t, 1, func() *Agent {
		return &Agent{Run: func(context.Context, run.Config, run.Spec, run.Events) (*result.Result, error) {
			return nil, errors.New("no route")
		}}
	})
	for name, c := range map[string]struct {
		lead Lead
		says []string
	}{
		"no token":    {Lead{Agents: []string{good[0], secret[0]}}, []string{secret[0], "another token"}},
		"wrong token": {Lead{Agents: secret, Token: "secret"}, []string{"another token"}},
		"nobody":      {Lead{Agents: []string{good[0], brokertest.Refused(t)}}, []string{"connection refused", "loadgen agent"}},
		"cannot":      {Lead{Agents: []string{broken[0], good[0]}}, []string{broken[0], "no route"}},
		"none":        {Lead{}, []string{"no agents"}},
	} {
		r, err := c.lead.Run(context.Background(), cfg, spec)
		if err == nil || r != nil {
			t.Errorf("%s: %+v, %v", name, r, err)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %q does not say %q", name, err, s)
			}
		}
	}
	l := Lead{Agents: secret, Token: "s3cret"}
	if r, err := l.Run(context.Background(), cfg, spec); err != nil || r.Counts.Acked == 0 {
		t.Errorf("with the token: %v", err)
	}
}

// An agent makes one load at a time, says for whom, and is free again afterwards.
func TestAgentIsBusy(t *testing.T) {
	goOn := make(chan struct{})
	opened := make(chan struct{}, 2)
	addrs, _ := agents(t, 1, func() *Agent {
		return &Agent{Run: func(_ context.Context, _ run.Config, _ run.Spec, ev run.Events) (*result.Result, error) {
			ev.Opened(nil)
			opened <- struct{}{}
			<-goOn
			return nil, errors.New("over")
		}}
	})
	b := brokertest.Start(t, 1)
	cfg, spec := load(t, b, time.Second)
	l := Lead{Agents: addrs}
	first := async(func() error { _, err := l.Run(context.Background(), cfg, spec); return err })
	<-opened
	if _, err := l.Run(context.Background(), cfg, spec); err == nil || !strings.Contains(err.Error(), "at the moment") {
		t.Errorf("a second lead: %v", err)
	}
	close(goOn)
	if err := <-first; err == nil || !strings.Contains(err.Error(), "over") {
		t.Errorf("the first lead: %v", err)
	}
	if _, err := l.Run(context.Background(), cfg, spec); err == nil || !strings.Contains(err.Error(), "over") {
		t.Errorf("afterwards: %v", err)
	}
}

// Nobody begins before all have reached the system.
func TestAgentsBeginTogether(t *testing.T) {
	opening, began := make(chan struct{}), make(chan struct{})
	quick, _ := agents(t, 1, func() *Agent {
		return &Agent{Run: func(_ context.Context, _ run.Config, _ run.Spec, ev run.Events) (*result.Result, error) {
			close(opening)
			ev.Opened(nil)
			close(began)
			return nil, errors.New("over")
		}}
	})
	slow, _ := agents(t, 1, func() *Agent {
		return &Agent{Run: func(_ context.Context, _ run.Config, _ run.Spec, ev run.Events) (*result.Result, error) {
			<-opening
			select {
			case <-began:
				t.Error("one began while another had not reached the system")
			case <-time.After(300 * time.Millisecond): // what must not come does not by then
			}
			ev.Opened(nil)
			return nil, errors.New("over")
		}}
	})
	b := brokertest.Start(t, 1)
	cfg, spec := load(t, b, time.Second)
	l := Lead{Agents: []string{quick[0], slow[0]}}
	if _, err := l.Run(context.Background(), cfg, spec); err == nil || !strings.Contains(err.Error(), "over") {
		t.Errorf("%v", err)
	}
	<-began
}

// What is no lead costs the agent a connection, and nothing else.
func TestStrangersAtAnAgent(t *testing.T) {
	addrs, _ := agents(t, 1, plain)
	for _, bytes := range []string{"GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff\xff", "\x00\x00\x00\x02{]", "\x00\x00\x00\x02{}"} {
		nc, err := net.Dial("tcp", addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Write([]byte(bytes)); err != nil {
			t.Fatal(err)
		}
		_ = nc.(*net.TCPConn).CloseWrite()
		_ = nc.SetReadDeadline(time.Now().Add(patience))
		buf := make([]byte, 1024)
		for {
			if _, err := nc.Read(buf); err != nil {
				var timeout net.Error
				if errors.As(err, &timeout) && timeout.Timeout() {
					t.Errorf("%q: the agent keeps the connection", bytes)
				}
				break
			}
		}
		nc.Close()
	}
	b := brokertest.Start(t, 1)
	cfg, spec := load(t, b, 300*time.Millisecond)
	l := Lead{Agents: addrs}
	if _, err := l.Run(context.Background(), cfg, spec); err != nil {
		t.Errorf("a lead after strangers: %v", err)
	}
}

func TestIdleAgentLeaves(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := Agent{Idle: 20 * time.Millisecond}
	if err := a.Serve(context.Background(), ln); err != nil {
		t.Error(err)
	}
}

// Shares add up to the load, and no two draw the same arrivals.
func TestShare(t *testing.T) {
	spec := run.Spec{Arrivals: pace.Spec{Kind: pace.Poisson, RatePerSecond: 900, Seed: 7, Shape: pace.Shape{RampTo: 1800, RampOver: time.Second}}, WarmUp: time.Minute, Percentile: 99, For: time.Second}
	seeds := map[uint64]bool{}
	var rate, to float64
	for i := range 3 {
		c, s := Share(run.Config{RunID: 5}, spec, i, 3)
		rate, to = rate+s.Arrivals.RatePerSecond, to+s.Arrivals.Shape.RampTo
		seeds[s.Arrivals.Seed] = true
		if c.RunID != 0 || s.WarmUp != 0 || s.Discard != FixedWarmUp || s.Percentile != 0 || s.For != time.Second {
			t.Errorf("%+v, %+v", c, s)
		}
	}
	if rate != 900 || to != 1800 || len(seeds) != 3 {
		t.Errorf("rates add up to %g and %g, %d seeds", rate, to, len(seeds))
	}
	if _, s := Share(run.Config{}, run.Spec{Arrivals: pace.Spec{Kind: pace.Closed, RatePerSecond: 8}}, 1, 2); s.Arrivals.RatePerSecond != 8 || s.Arrivals.Seed != 0 {
		t.Errorf("a closed loop: %+v", s)
	}
}
