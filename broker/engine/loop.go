package engine

import "time"

// restTicks is for how many ticks that no group needed the timer runs on: a group that gets a record now and then is awake for a few
// ticks of each, and whoever proposes the next one should not have to wake this goroutine.
const restTicks = 100

// loop is the goroutine that ticks and works.
type loop struct {
	interval    time.Duration
	stop, ended chan struct{}
}

// Start runs Tick, once per interval while any group needs it, and Work from one goroutine, until Close.
func (e *Engine) Start(interval time.Duration) {
	e.loopMu.Lock()
	defer e.loopMu.Unlock()
	if e.loop != nil {
		panic("engine: started twice")
	}
	e.loop = &loop{interval, make(chan struct{}), make(chan struct{})}
	go e.run(e.loop)
}

// Close ends the goroutine and stops every group. Close the transport first, the WAL after.
func (e *Engine) Close() {
	e.loopMu.Lock()
	defer e.loopMu.Unlock()
	if l := e.loop; l != nil {
		close(l.stop)
		<-l.ended
		e.loop = nil
	}
	for _, m := range e.groups.all(nil) {
		m.group.Stop()
	}
}

func (e *Engine) run(l *loop) {
	defer close(l.ended)
	var timer *time.Ticker
	var due <-chan time.Time // nil when no group has needed ticks for a while: then nothing wakes this goroutine
	interval := l.interval
	tick := func() {
		e.Tick()
		if e.cfg.Interval != nil {
			if d := e.cfg.Interval(); d != interval {
				interval = d
				timer.Reset(d)
			}
		}
	}
	for rest := 0; ; {
		if rest == restTicks {
			e.ticks.timed.Store(false) // before the look: who lists a member after it calls nudge
		}
		switch n := e.ticks.len(); {
		case n > 0 && timer == nil:
			timer = time.NewTicker(interval)
			due = timer.C
			e.ticks.timed.Store(true)
		case n > 0:
			rest = 0
			e.ticks.timed.Store(true)
		case rest == restTicks:
			timer.Stop()
			timer, due, rest = nil, nil, 0
		}
		select {
		case <-l.stop:
			if timer != nil {
				timer.Stop()
			}
			return
		case <-due:
			rest++
			tick()
		case <-e.kick:
		}
		for e.Work() {
			select {
			case <-due:
				tick() // a pass over many groups is no reason to miss leases
			case <-l.stop:
				if timer != nil {
					timer.Stop()
				}
				return
			default:
			}
		}
	}
}
