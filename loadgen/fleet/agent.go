package fleet

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"ackline/loadgen/result"
	"ackline/loadgen/run"
)

// Agent makes parts of loads, one at a time, for whoever connects.
type Agent struct {
	// Token is what a lead has to know; "" lets everybody in who reaches the agent.
	Token string
	// Run makes a load. nil means run.Run.
	Run func(context.Context, run.Config, run.Spec, run.Events) (*result.Result, error)
	// Say is called with what whoever runs the agent would want to know. nil is allowed.
	Say func(text string)
	// Idle ends Serve when no load has been made for so long; 0 never does.
	Idle time.Duration

	busy sync.Mutex // held by the one that makes a load
	mu   sync.Mutex // guards who and last
	who  string     // whom it works for
	last time.Time  // when it last ceased to
}

// Serve takes leads until ctx ends, or nobody has come for Idle. It returns when the load under way, if any, is at its end.
func (a *Agent) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	a.last = time.Now()
	a.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	if a.Idle > 0 {
		go a.leave(ctx, cancel)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		nc, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("agent: %w", err)
		}
		wg.Go(func() {
			defer nc.Close()
			a.serve(ctx, &peer{nc: nc})
		})
	}
}

// leave ends the agent when it has had nothing to do for long.
func (a *Agent) leave(ctx context.Context, cancel context.CancelFunc) {
	tick := time.NewTicker(min(a.Idle, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		a.mu.Lock()
		idle := a.who == "" && time.Since(a.last) >= a.Idle
		a.mu.Unlock()
		if idle {
			a.say("nobody has come for %v: leaving", a.Idle)
			cancel()
			return
		}
	}
}

func (a *Agent) say(format string, args ...any) {
	if a.Say != nil {
		a.Say(fmt.Sprintf(format, args...))
	}
}

// serve is one connection.
func (a *Agent) serve(ctx context.Context, p *peer) {
	from := p.nc.RemoteAddr().String()
	var h hello
	if err := p.receive(&h, silence); err != nil {
		a.say("%s is no lead: %s", from, gone(err))
		return
	}
	if why := a.refuses(&h); why != "" {
		a.say("refused %s: %s", from, why)
		_ = p.send(event{Error: why}) // it may be gone
		return
	}
	if !a.busy.TryLock() {
		a.mu.Lock()
		who := a.who
		a.mu.Unlock()
		_ = p.send(event{Error: "it makes a load for " + who + " at the moment"})
		return
	}
	defer a.busy.Unlock()
	a.works(from)
	defer a.works("")
	a.say("a load for %s: %s", from, h.Config.Driver)
	r, err := a.load(ctx, p, h)
	e := event{Result: r}
	if err != nil {
		e.Error = err.Error()
	}
	if err := p.send(e); err != nil {
		a.say("what came of it could not be sent to %s: %v", from, err)
	}
}

func (a *Agent) works(who string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.who, a.last = who, time.Now()
}

// refuses says why a lead is not served.
func (a *Agent) refuses(h *hello) string {
	switch {
	case h.Format != format:
		return fmt.Sprintf("the lead speaks version %d and the agent version %d: use the same loadgen for both", h.Format, format)
	case subtle.ConstantTimeCompare([]byte(h.Token), []byte(a.Token)) != 1:
		return "the agent wants another token: set LOADGEN_AGENT_TOKEN to the same on both sides"
	}
	if err := errors.Join(h.Config.Validate(), h.Spec.Validate()); err != nil {
		return err.Error()
	}
	return ""
}

// load makes a part, telling the lead how it goes. It ends early when the lead says so or is gone.
func (a *Agent) load(ctx context.Context, p *peer, h hello) (*result.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begin := make(chan struct{})
	go func() { // ends with the connection, which serve's caller closes
		began := false
		for {
			var o order
			if err := p.receive(&o, 0); err != nil || o.Stop {
				cancel()
				return
			}
			if o.Go && !began {
				began = true
				close(begin)
			}
		}
	}()
	var beats sync.WaitGroup
	defer beats.Wait()
	over := make(chan struct{})
	defer close(over)
	beats.Go(func() {
		tick := time.NewTicker(beatEvery)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				if p.send(event{Beat: true}) != nil {
					cancel() // nobody waits for it
					return
				}
			}
		}
	})
	h.Spec.Progress = func(s run.Progress) {
		if p.send(event{Second: &s}) != nil {
			cancel()
		}
	}
	do := a.Run
	if do == nil {
		do = run.Run
	}
	return do(ctx, h.Config, h.Spec, run.Events{Opened: func(*run.Session) {
		if p.send(event{Ready: true}) != nil {
			cancel()
		}
		select {
		case <-begin:
		case <-ctx.Done():
		}
	}})
}
