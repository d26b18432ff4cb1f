package transport

import (
	"errors"
	"fmt"

	"ackline/broker/transport/detect"
	"ackline/broker/transport/frame"
)

// keepMessages is how many messages' memory a reader keeps between reads.
const keepMessages = 1024

// reader is the state of an incoming connection's goroutine.
type reader struct {
	guest
	t    *Transport
	line detect.Line    // of a control connection
	ms   []GroupMessage // decoded and not handed over
	beat frame.Heartbeat
}

// receive reads a peer's messages until the connection ends.
func (t *Transport) receive(g guest) {
	place := &g.peer.in[g.hello.Class]
	if !place.claim(g.nc, g.ticket) {
		return
	}
	defer place.leave()
	r := &reader{guest: g, t: t}
	if g.hello.Class == frame.Control {
		if r.line = t.watch.open(g.peer.id, g.hello.Identity, detect.In); r.line == 0 {
			return
		}
		defer t.watch.closed(g.peer.id, detect.In, r.line)
		for c := range g.peer.wake { // it lives: no need to wait any longer
			g.peer.dialNow(frame.Class(c))
		}
	} else if !t.watch.known(g.peer.id, g.hello.Identity) {
		return // replaced between its handshake and its turn
	}
	var err error
	if g.hello.Class == frame.Call {
		err = g.peer.serves.Serve(g.peer.ctx, g.nc)
	} else {
		err = r.run()
	}
	if errors.Is(err, frame.ErrFormat) || errors.Is(err, frame.ErrMagic) || errors.Is(err, frame.ErrChecksum) || errors.Is(err, frame.ErrTooLarge) {
		t.counters.malformed.Add(1)
		t.cfg.Log.Error("what a node sent makes no sense, the connection is closed", "node", g.peer.id, "class", g.hello.Class, "why", err)
	}
}

// run ends with an error, always.
func (r *reader) run() error {
	st := frame.NewStream(r.t.cfg.ReadBytes, r.t.cfg.MaxFrameBytes)
	each := r.take
	for {
		n, err := r.nc.Read(st.Room())
		r.t.counters.in.bytes.Add(uint64(n))
		if n > 0 {
			bad := st.Take(n, each)
			r.handOver() // what came before the bad frame is good
			if bad != nil {
				return bad
			}
		}
		if err != nil {
			return err
		}
	}
}

// take decodes a frame.
func (r *reader) take(h frame.Header, body []byte) (err error) {
	r.t.counters.in.frames.Add(1)
	switch {
	case h.Kind == frame.KindMessages:
		r.ms, err = frame.DecodeMessages(r.ms, h, body)
		return err
	case h.Kind == frame.KindHeartbeat && r.hello.Class == frame.Control:
		r.handOver() // in order
		if err := r.beat.Decode(body); err != nil {
			return err
		}
		var at int64
		r.t.watch.do(func(d *detect.Detector, now int64) {
			at = now
			deaf := r.peer.rtt.Hear(r.beat.Sent, r.beat.Echo, r.beat.Held, now)
			d.Heartbeat(r.peer.id, r.line, now, max(0, deaf-r.t.cfg.HeartbeatInterval)) // as long may lie between two of them
		})
		r.t.counters.in.heartbeats.Add(1)
		r.peer.busy.Store(true)
		r.t.handler.Heartbeat(r.peer.id, r.hello.Identity, &r.beat, at)
		r.peer.busy.Store(false)
		return nil
	}
	return fmt.Errorf("%w: %v on a connection of class %v", frame.ErrFormat, h.Kind, r.hello.Class)
}

// handOver gives the handler what was decoded.
func (r *reader) handOver() {
	if len(r.ms) == 0 {
		return
	}
	r.t.counters.in.messages.Add(uint64(len(r.ms)))
	if r.line != 0 {
		r.peer.busy.Store(true)
		defer r.peer.busy.Store(false)
	}
	r.t.handler.Messages(r.peer.id, r.ms)
	clear(r.ms) // or the entries stay reachable
	if r.ms = r.ms[:0]; cap(r.ms) > keepMessages {
		r.ms = nil
	}
}
