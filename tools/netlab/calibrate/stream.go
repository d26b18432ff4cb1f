package calibrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"ackline/tools/netlab/lab"
)

// Stream sends on one plain TCP connection from a host to another for so long and returns the bytes per second that arrived, those of the first
// discard not counted: meanwhile the congestion window opens.
func Stream(ctx context.Context, l *lab.Lab, from, to string, length, discard time.Duration) (float64, error) {
	rate, err := stream(ctx, l, from, to, length, discard)
	if err != nil {
		return 0, fmt.Errorf("one TCP stream from %s to %s: %w", from, to, err)
	}
	return rate, nil
}

func stream(ctx context.Context, l *lab.Lab, from, to string, length, discard time.Duration) (float64, error) {
	listener, err := l.Listen(to, 0)
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	type count struct {
		rate float64
		err  error
	}
	counted := make(chan count, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			counted <- count{0, err}
			return
		}
		defer conn.Close()
		rate, err := countFrom(conn, discard)
		counted <- count{rate, err}
	}()
	dialing, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	conn, err := l.Dial(dialing, from, to, listener.Addr().(*net.TCPAddr).Port)
	if err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.SetWriteDeadline(time.Now().Add(length))
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = conn.Write(block)
	}
	if closed := conn.Close(); !timedOut(err) {
		return 0, errors.Join(err, closed, context.Cause(ctx))
	}
	select {
	case c := <-counted:
		return c.rate, c.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// countFrom reads until the end and returns the bytes per second of what came later than discard after the first byte.
func countFrom(r io.Reader, discard time.Duration) (float64, error) {
	buf := make([]byte, 256<<10)
	var first, from, last time.Time
	bytes := 0
	for {
		n, err := r.Read(buf)
		now := time.Now()
		switch {
		case n == 0:
		case first.IsZero():
			first = now
		case now.Sub(first) < discard:
		case from.IsZero():
			from = now // what came before the clock ran does not count
		default:
			bytes, last = bytes+n, now
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			return 0, err
		}
		if bytes == 0 {
			return 0, fmt.Errorf("nothing came later than %v after the first byte", discard)
		}
		return float64(bytes) / last.Sub(from).Seconds(), nil
	}
}
