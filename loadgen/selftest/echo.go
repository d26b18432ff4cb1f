package selftest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ackline/loadgen/client"
	"ackline/loadgen/client/sock"
	"ackline/loadgen/hist"
	"ackline/loadgen/null"
	"ackline/loadgen/pace"
	"ackline/loadgen/run"
)

// rounds is how often the driver and the echo take turns: A B B A, so that a host that changes its pace meanwhile changes it for
// both.
const rounds = 4

// beyondEcho measures what one request in flight takes beyond a bare echo of the same sizes.
func beyondEcho(ctx context.Context, cfg *Config, r *Report) error {
	length := cfg.length(echoFor)
	cfg.say("one in flight: the wire driver and a bare TCP echo in turns, for %v", length)
	s, err := open(ctx, cfg, client.Config{Connections: 1, InFlight: 1})
	if err != nil {
		return err
	}
	defer s.Close()
	turn := length / (4 * rounds)
	wire := func(to *hist.Hist) (float64, error) {
		out, err := slice(ctx, s, run.Spec{Arrivals: pace.Spec{Kind: pace.Closed}, For: turn, Discard: turn / 5})
		if err != nil {
			return 0, err
		}
		to.Merge(out.Set.Response)
		return median(out.Set.Response), nil
	}
	if _, err := wire(hist.NewLatency()); err != nil { // to learn how long an answer is
		return err
	}
	e := s.Effective()
	echo, err := dialEcho(cfg.Echo, e.RequestBytes, e.ReplyBytes)
	if err != nil {
		return err
	}
	defer echo.close()
	b := &r.OneInFlight
	b.RequestBytes, b.ReplyBytes = e.RequestBytes, e.ReplyBytes
	b.Wire, b.Echo = hist.NewLatency(), hist.NewLatency()
	bare := func(to *hist.Hist) (float64, error) {
		if ctx.Err() != nil {
			return 0, errInterrupted
		}
		h, err := echo.measure(turn, turn/5)
		if err != nil {
			return 0, err
		}
		to.Merge(h)
		return median(h), nil
	}
	for range rounds {
		w1, err1 := wire(b.Wire)
		e1, err2 := bare(b.Echo)
		e2, err3 := bare(b.Echo)
		w2, err4 := wire(b.Wire)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return err
		}
		b.BeyondUS = append(b.BeyondUS, (w1-e1)/1e3, (w2-e2)/1e3)
	}
	b.WireP50US, b.EchoP50US = median(b.Wire)/1e3, median(b.Echo)/1e3
	sorted := slices.Sorted(slices.Values(b.BeyondUS))
	b.MedianUS = (sorted[len(sorted)/2-1] + sorted[len(sorted)/2]) / 2
	return nil
}

func median(h *hist.Hist) float64 { return float64(h.Percentile(50, 0).NS) }

// echo is a connection to a responder's echo.
type echo struct {
	fd             int
	request, reply []byte
}

// dialEcho connects in the way that the wire driver does with one request in flight: a blocking read on a thread of its own.
func dialEcho(addr string, request, reply int) (*echo, error) {
	fd, err := sock.Dial(addr, timeout)
	if err != nil {
		return nil, fmt.Errorf("echo: %w", err)
	}
	e := &echo{fd: fd, request: make([]byte, request), reply: make([]byte, reply)}
	if err := sock.MakeBlocking(fd, timeout); err != nil {
		return nil, errors.Join(err, e.close())
	}
	head := null.AppendEchoHead(nil, request, reply)
	if n, err := sock.Send(fd, head); err != nil || n < len(head) {
		return nil, errors.Join(fmt.Errorf("echo: %d of %d bytes sent", n, len(head)), err, e.close())
	}
	return e, nil
}

// measure sends one request after the other, and records those after discard.
func (e *echo) measure(length, discard time.Duration) (*hist.Hist, error) {
	release, err := pace.LockThread()
	if err != nil {
		return nil, err
	}
	defer release()
	h := hist.NewLatency()
	from := pace.Now() + discard.Nanoseconds()
	for to := from + length.Nanoseconds(); ; {
		at := pace.Now()
		if at >= to {
			return h, nil
		}
		if n, err := sock.Send(e.fd, e.request); err != nil || n < len(e.request) {
			return nil, errors.Join(fmt.Errorf("echo: %d of %d bytes sent", n, len(e.request)), err)
		}
		for got := 0; got < len(e.reply); {
			n, err := sock.RecvWait(e.fd, e.reply[got:])
			if err != nil {
				return nil, fmt.Errorf("echo: %w", err)
			}
			if got += n; n == 0 && pace.Now()-at > timeout.Nanoseconds() {
				return nil, fmt.Errorf("echo: no answer within %v", timeout)
			}
		}
		if at >= from {
			h.Record(pace.Now() - at)
		}
	}
}

func (e *echo) close() error { return closeFD(e.fd) }
