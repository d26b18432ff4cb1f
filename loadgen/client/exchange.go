package client

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"ackline/loadgen/client/sock"
	"ackline/loadgen/cluster"
	"ackline/loadgen/pace"
)

func closeFD(fd int) { unix.Close(fd) }

// exchange sends one request and waits on this thread for its answer, which it returns without its length prefix.
func (c *conn) exchange(ctx context.Context, request []byte, timeout time.Duration) ([]byte, error) {
	deadline := pace.Now() + timeout.Nanoseconds()
	for sent := 0; sent < len(request); {
		n, err := c.send(request[sent:])
		if err != nil {
			return nil, err
		}
		if sent += n; n == 0 {
			sock.AwaitWritable(c.fd, time.Duration(tickNS))
		}
		if err := waitedEnough(ctx, deadline); err != nil {
			return nil, err
		}
	}
	for got := 0; ; {
		if got >= 4 {
			size := int(int32(binary.BigEndian.Uint32(c.in)))
			if size < 4 || size > cluster.MaxReply {
				return nil, fmt.Errorf("a reply of %d bytes, want 4 to %d", size, cluster.MaxReply)
			}
			if got == 4+size {
				return c.in[4:got], nil
			}
			if 4+size > len(c.in) {
				c.in = append(c.in, make([]byte, 4+size-len(c.in))...)
			}
		}
		n, err := c.recv(c.in[got:], true)
		if err != nil {
			return nil, err
		}
		if got += n; n == 0 {
			if err := waitedEnough(ctx, deadline); err != nil {
				return nil, err
			}
		}
	}
}

func waitedEnough(ctx context.Context, deadline int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if pace.Now() > deadline {
		return ErrTimeout
	}
	return nil
}
