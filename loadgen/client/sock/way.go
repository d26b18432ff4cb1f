package sock

import (
	"context"
	"net"
	"time"
)

// Way is how connections reach an address: it calls connect with where addr is to be found, on a thread that may belong to another network
// namespace than the rest of the process, and returns what connect does. nil goes where addr says.
//
// Brokers tell clients where their partitions are led. On an emulated network each client finds that at another address, or from another
// host, and neither brokers nor what is measured shall notice.
type Way func(addr string, connect func(at string) error) error

func (w Way) walk(addr string, connect func(at string) error) error {
	if w == nil {
		return connect(addr)
	}
	return w(addr, connect)
}

// Dial is the function Dial on that way.
func (w Way) Dial(addr string, timeout time.Duration) (fd int, err error) {
	fd = -1
	err = w.walk(addr, func(at string) (err error) {
		fd, err = Dial(at, timeout)
		return err
	})
	return fd, err
}

// Conn opens a connection of the net package on that way.
func (w Way) Conn(ctx context.Context, addr string) (conn net.Conn, err error) {
	err = w.walk(addr, func(at string) (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", at)
		return err
	})
	return conn, err
}
