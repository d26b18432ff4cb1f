package call

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/link"
)

// Handler answers calls of one kind, on a goroutine of its own for each. ctx ends when the caller has stopped waiting, as
// far as that is known: its time is over, or the connection ended, or the node closes. Then Handle must return soon.
// payload is Handle's to keep; what it returns must not change any more. An error's words go to the caller.
type Handler func(ctx context.Context, from id.NodeID, payload []byte) ([]byte, error)

// Server answers one peer's calls. Several connections may be served at the same time, though one takes another's place;
// they share the bound.
type Server struct {
	cfg   Config
	find  func(Kind) Handler
	run   func(func())  // starts a goroutine
	turns chan struct{} // a token per request that is worked on
	bytes atomic.Int64  // of their payloads
}

// NewServer returns a server. find returns the Handler of a kind, nil if there is none; run starts a goroutine.
func NewServer(cfg Config, find func(Kind) Handler, run func(func())) *Server {
	return &Server{cfg: cfg, find: find, run: run, turns: make(chan struct{}, cfg.MaxCalls)}
}

// session is one connection.
type session struct {
	*Server
	ctx context.Context
	nc  net.Conn

	mu  sync.Mutex // held while a reply is written; a leaf
	err error      // of the last write
}

// Serve answers what comes over a connection until it ends. Handlers may still run when it returns, with their context
// ended; their answers are dropped.
func (s *Server) Serve(ctx context.Context, nc net.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x := &session{Server: s, ctx: ctx, nc: nc}
	st := frame.NewStream(s.cfg.ReadBytes, s.cfg.maxBody())
	for {
		n, err := nc.Read(st.Room())
		if n > 0 {
			if bad := st.Take(n, x.take); bad != nil {
				return bad
			}
		}
		if err != nil {
			return err
		}
	}
}

// take begins to answer a request, or declines it.
func (x *session) take(h frame.Header, body []byte) error {
	if h.Kind != frame.KindRequest {
		return fmt.Errorf("%w: %v where a request belongs", frame.ErrFormat, h.Kind)
	}
	q, err := frame.DecodeRequest(body)
	if err != nil {
		return err
	}
	handle := x.find(Kind(q.What))
	if handle == nil {
		return x.reply(q.Number, frame.NoSuch, fmt.Appendf(nil, "calls of kind %d are unknown here: run the newer release on every node", q.What))
	}
	if !x.begin(len(q.Payload)) {
		return x.reply(q.Number, frame.Declined, fmt.Appendf(nil, "%d calls with %d bytes are being worked on already", len(x.turns), x.bytes.Load()))
	}
	q.Payload = append([]byte(nil), q.Payload...)
	came := time.Now()
	x.run(func() {
		defer x.end(len(q.Payload))
		x.work(handle, &q, came)
	})
	return nil
}

// begin takes a turn for a request; end gives it back.
func (s *Server) begin(size int) bool {
	select {
	case s.turns <- struct{}{}:
	default:
		return false
	}
	if now := s.bytes.Add(int64(size)); now > int64(s.cfg.QueueBytes) && now > int64(size) {
		s.end(size)
		return false
	}
	return true
}

func (s *Server) end(size int) {
	s.bytes.Add(-int64(size))
	<-s.turns
}

func (x *session) work(handle Handler, q *frame.Request, came time.Time) {
	ctx := x.ctx
	if q.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, came.Add(q.Wait))
		defer cancel()
	}
	if ctx.Err() != nil {
		x.reply(q.Number, frame.Declined, []byte("its time was over before it was begun"))
		return
	}
	answer, err := handle(ctx, x.cfg.Peer, q.Payload)
	switch {
	case err != nil:
		x.reply(q.Number, frame.Failed, []byte(err.Error()))
	case len(answer) > x.cfg.MaxPayload:
		x.reply(q.Number, frame.Failed, fmt.Appendf(nil, "it was done, and the answer has %d bytes of %d that are possible", len(answer), x.cfg.MaxPayload))
	default:
		x.reply(q.Number, frame.Answered, answer)
	}
}

// reply sends an answer. A peer that does not read holds up its own calls, as many as there may be, until WriteTimeout.
func (x *session) reply(number uint64, v frame.Verdict, payload []byte) error {
	r := frame.Reply{Number: number, Verdict: v, Payload: payload}
	wire := r.Frame()
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(wire) > 0 && x.err == nil {
		x.nc.SetWriteDeadline(time.Now().Add(x.cfg.WriteTimeout))
		var n int
		n, x.err = x.nc.Write(wire[:min(len(wire), chunk)])
		wire = wire[n:]
		if x.err != nil {
			link.Abort(x.nc) // or the caller waits for what cannot come any more
		}
	}
	return x.err
}
