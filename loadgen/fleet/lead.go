package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"ackline/loadgen/pace"
	"ackline/loadgen/result"
	"ackline/loadgen/run"
)

// Lead has agents make a load.
type Lead struct {
	// Agents are their addresses, host:port each.
	Agents []string
	// Token is what they want to hear.
	Token string
	// Say is called with what an operator would want to know at once, such as the loss of an agent. nil is allowed.
	Say func(text string)
	// Second is called about once a second with what the agents have done together, the worst of their percentiles. nil is allowed.
	Second func(result.Second)
}

// FixedWarmUp is what the agents run and discard where a load by one generator would warm up until it has settled: they do not know
// each other's medians, and their windows have to lie over each other.
const FixedWarmUp = 10 * time.Second

// Patience is how long an agent may take to reach the system.
const Patience = time.Minute

// Share is the i-th of n shares of a load: part of the rate, and arrivals and records of its own.
func Share(cfg run.Config, spec run.Spec, i, n int) (run.Config, run.Spec) {
	a := &spec.Arrivals
	if a.Kind != pace.Closed {
		a.RatePerSecond /= float64(n)
		a.Shape.RampTo /= float64(n)
		a.Seed += uint64(i)
	}
	if spec.WarmUp > 0 {
		spec.WarmUp, spec.Discard = 0, FixedWarmUp
	}
	spec.Percentile, spec.Seconds, spec.Progress = 0, nil, nil // all together are judged
	cfg.RunID = 0
	return cfg, spec
}

// Run has the agents make the load. They use a topic that is there: see run.Place. An error says that nothing came of it: an agent could
// not be reached, or would not begin. One that is lost later is a reason of the verdict. When ctx ends the load does, and is checked.
func (l *Lead) Run(ctx context.Context, cfg run.Config, spec run.Spec) (*result.Result, error) {
	if len(l.Agents) == 0 {
		return nil, errors.New("no agents are given")
	}
	if err := errors.Join(cfg.Validate(), spec.Validate()); err != nil {
		return nil, err
	}
	hands := make([]*hand, len(l.Agents))
	defer func() {
		for _, h := range hands {
			if h != nil && h.peer != nil {
				h.peer.nc.Close()
			}
		}
	}()
	if err := l.each(func(i int) (err error) {
		part, share := Share(cfg, spec, i, len(l.Agents))
		hands[i], err = l.hire(ctx, l.Agents[i], part, share)
		return err
	}); err != nil {
		return nil, err
	}
	l.say("%d agents have reached the system", len(hands))
	stop := context.AfterFunc(ctx, func() {
		for _, h := range hands {
			_ = h.peer.send(order{Stop: true}) // one that cannot be reached is lost, and will be said to be
		}
	})
	defer stop()
	for _, h := range hands {
		_ = h.peer.send(order{Go: true}) // likewise
	}
	sum := &seconds{tell: l.Second, agents: len(hands), at: map[int64]*second{}}
	parts := make([]result.Part, len(hands))
	var wg sync.WaitGroup
	for i, h := range hands {
		wg.Go(func() {
			parts[i] = h.follow(sum)
			if parts[i].Lost != "" {
				l.say("agent %s is lost: %s", parts[i].Addr, parts[i].Lost)
			}
		})
	}
	wg.Wait()
	r := result.Merge(parts, spec.Percentile)
	if r == nil {
		return nil, fmt.Errorf("nothing came of the load: agent %s: %s", parts[0].Addr, parts[0].Lost)
	}
	return r, nil
}

func (l *Lead) say(format string, args ...any) {
	if l.Say != nil {
		l.Say(fmt.Sprintf(format, args...))
	}
}

// each does something for all agents at the same time and joins what went wrong.
func (l *Lead) each(do func(i int) error) error {
	errs := make([]error, len(l.Agents))
	var wg sync.WaitGroup
	for i := range l.Agents {
		wg.Go(func() {
			if err := do(i); err != nil {
				errs[i] = fmt.Errorf("agent %s: %w", l.Agents[i], err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// hand is an agent at work.
type hand struct {
	addr string
	peer *peer
}

// hire gives an agent its share and waits until it has reached the system.
func (l *Lead) hire(ctx context.Context, addr string, cfg run.Config, spec run.Spec) (*hand, error) {
	nc, err := (&net.Dialer{Timeout: silence}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: is \"loadgen agent\" running there?", err)
	}
	h := &hand{addr: addr, peer: &peer{nc: nc}}
	err = h.peer.send(hello{Format: format, Token: l.Token, Config: cfg, Spec: spec})
	for began := time.Now(); err == nil && ctx.Err() == nil; { // a beat comes every second
		var e event
		if err = h.peer.receive(&e, silence); err != nil {
			err = errors.New(gone(err))
		}
		switch {
		case err != nil:
		case e.Error != "":
			err = errors.New(e.Error)
		case e.Ready:
			return h, nil
		case time.Since(began) > Patience:
			err = fmt.Errorf("it has not reached the system within %v", Patience)
		}
	}
	nc.Close()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nil, err
}

// follow hears what an agent says until its result, or until it is lost.
func (h *hand) follow(sum *seconds) result.Part {
	defer sum.left()
	for {
		var e event
		if err := h.peer.receive(&e, silence); err != nil {
			return result.Part{Addr: h.addr, Lost: gone(err)}
		}
		switch {
		case e.Second != nil:
			sum.add(*e.Second)
		case e.Result != nil:
			return result.Part{Addr: h.addr, Result: e.Result}
		case e.Error != "":
			return result.Part{Addr: h.addr, Lost: e.Error}
		}
	}
}

// seconds adds up what the agents say of a second, and tells it when all have spoken of it.
type seconds struct {
	mu     sync.Mutex // guards all below
	tell   func(result.Second)
	agents int // that still speak
	at     map[int64]*second
}

type second struct {
	sum   result.Second
	heard int
}

func (s *seconds) add(x result.Second) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.at[x.Second]
	if at == nil {
		at = &second{sum: result.Second{Second: x.Second}}
		s.at[x.Second] = at
	}
	at.heard++
	at.sum.Add(x)
	s.settle()
}

// left is called when an agent will say nothing more.
func (s *seconds) left() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents--
	s.settle()
}

// settle tells the seconds that all who still speak have spoken of. Called with mu held.
func (s *seconds) settle() {
	for _, n := range slices.Sorted(maps.Keys(s.at)) {
		if at := s.at[n]; at.heard >= s.agents {
			delete(s.at, n)
			if s.tell != nil {
				s.tell(at.sum)
			}
		}
	}
}
