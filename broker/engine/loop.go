package engine

import "time"

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
	var due <-chan time.Time // nil while no group needs ticks: then nothing wakes this goroutine
	for {
		switch n := e.ticks.len(); {
		case n > 0 && timer == nil:
			timer = time.NewTicker(l.interval)
			due = timer.C
		case n == 0 && timer != nil:
			timer.Stop()
			timer, due = nil, nil
		}
		select {
		case <-l.stop:
			if timer != nil {
				timer.Stop()
			}
			return
		case <-due:
			e.Tick()
		case <-e.kick:
		}
		for e.Work() {
			select {
			case <-due:
				e.Tick() // a pass over many groups is no reason to miss leases
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
