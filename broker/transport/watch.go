package transport

import (
	"sync"

	"ackline/broker/id"
	"ackline/broker/transport/detect"
	"ackline/broker/transport/frame"
)

// watch is the shell around the detector, and the queue of callbacks. Both are under one lock, so that callbacks come in
// the order of what they tell.
type watch struct {
	now   func() int64
	calls Callbacks
	kick  chan struct{} // of the herald

	mu    sync.Mutex // guards det and queue
	det   *detect.Detector
	queue []func()
}

// nudge wakes the herald. It never waits and may be called with any lock held.
func (w *watch) nudge() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// do tells the detector something, and queues what follows from it. It returns that, too.
func (w *watch) do(f func(d *detect.Detector, now int64)) []detect.Event {
	w.mu.Lock()
	f(w.det, w.now())
	events := w.det.Take()
	for _, e := range events {
		w.queue = append(w.queue, func() { w.announce(e) })
	}
	w.mu.Unlock()
	if len(events) > 0 {
		w.nudge()
	}
	return events
}

func (w *watch) announce(e detect.Event) {
	switch {
	case e.Kind == detect.Up && w.calls.PeerUp != nil:
		w.calls.PeerUp(e.Peer, e.Identity)
	case e.Kind == detect.Down && w.calls.PeerDown != nil:
		w.calls.PeerDown(e.Peer, e.Identity, e.Reason)
	case e.Kind == detect.NewIncarnation && w.calls.NewIncarnation != nil:
		w.calls.NewIncarnation(e.Peer, e.Old, e.Identity)
	}
}

// open tells of a control connection. 0 means that its process was replaced meanwhile.
func (w *watch) open(n id.NodeID, who frame.Identity, dir detect.Direction) (s detect.Line) {
	w.do(func(d *detect.Detector, _ int64) { s = d.Open(n, who, dir) })
	return s
}

func (w *watch) closed(n id.NodeID, dir detect.Direction, s detect.Line) {
	w.do(func(d *detect.Detector, now int64) { d.Closed(n, dir, s, now) })
}

func (w *watch) known(n id.NodeID, who frame.Identity) (known bool) {
	w.do(func(d *detect.Detector, _ int64) { known = d.Known(n, who) })
	return known
}

func (w *watch) push(f func()) {
	w.mu.Lock()
	w.queue = append(w.queue, f)
	w.mu.Unlock()
	w.nudge()
}

func (w *watch) lost(n id.NodeID, c frame.Class) {
	if f := w.calls.LinkLost; f != nil {
		w.push(func() { f(n, c) })
	}
}

func (w *watch) refused(n id.NodeID, err error) {
	if f := w.calls.Refused; f != nil {
		w.push(func() { f(n, err) })
	}
}

// herald makes the callbacks, until Close.
func (t *Transport) herald() {
	for {
		select {
		case <-t.watch.kick:
		case <-t.ctx.Done():
			return
		}
		t.watch.mu.Lock()
		queue := t.watch.queue
		t.watch.queue = nil
		t.watch.mu.Unlock()
		for _, f := range queue {
			f()
		}
		for _, p := range *t.peers.Load() {
			if lost := p.links[frame.Bulk].TakeLost(); len(lost) > 0 && t.calls.Unreachable != nil {
				t.calls.Unreachable(p.id, lost)
			}
		}
	}
}
