package calibrate

import (
	"context"
	"io"
	"net"
	"time"

	"ackline/tools/netlab/lab"
)

// server is the far end on one host. The first byte of a connection says what it is for.
type server struct {
	listener net.Listener
	port     int
	rates    chan float64 // of each sink that has ended
}

const (
	kindEcho byte = iota // every byte goes back
	kindSink             // bytes are counted
)

func serve(l *lab.Lab, host string) (*server, error) {
	listener, err := l.Listen(host, 0)
	if err != nil {
		return nil, err
	}
	s := &server{listener: listener, port: listener.Addr().(*net.TCPAddr).Port, rates: make(chan float64, 1)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.answer(conn)
		}
	}()
	return s, nil
}

func (s *server) close() { _ = s.listener.Close() } // nothing is lost with it

func (s *server) answer(conn net.Conn) {
	defer conn.Close()
	kind := make([]byte, 1)
	if _, err := io.ReadFull(conn, kind); err != nil {
		return
	}
	if kind[0] == kindEcho {
		_, _ = io.Copy(conn, conn) // until the other side goes
		return
	}
	buf := make([]byte, 256<<10)
	var first, last time.Time
	bytes := 0
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			last = time.Now()
			if first.IsZero() {
				first, n = last, 0 // what came before the clock ran does not count
			}
			bytes += n
		}
		if err != nil {
			break
		}
	}
	rate := 0.0
	if took := last.Sub(first).Seconds(); took > 0 {
		rate = float64(bytes) / took
	}
	s.rates <- rate
}

// dialLimit is how long a connection may take: some round trips, with retransmissions.
const dialLimit = 30 * time.Second

func dial(ctx context.Context, l *lab.Lab, from, to string, port int, kind byte) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	conn, err := l.Dial(ctx, from, to, port)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte{kind}); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}
