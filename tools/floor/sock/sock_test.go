package sock

import (
	"bytes"
	"context"
	"net"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExtend(t *testing.T) {
	b := make([]byte, 2, 8)
	b[0], b[1] = 1, 2
	dirty := b[:8]
	dirty[3] = 9
	if got := Extend(b, 3); !bytes.Equal(got, []byte{1, 2, 0, 0, 0}) || &got[0] != &b[0] {
		t.Errorf("got %v, want zeros behind and the same memory", got)
	}
	if got := Extend(b, 20); len(got) != 22 || got[1] != 2 || got[21] != 0 {
		t.Errorf("got %v", got)
	}
}

// A wait sees sockets and the end of a context, whether it holds its P or not.
func TestPoller(t *testing.T) {
	for _, hold := range []bool{false, true} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)) // one for the wait that holds
		p, err := NewPoller()
		if err != nil {
			t.Fatal(err)
		}
		p.Hold = hold
		listen, addr, err := Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Watch(unix.EPOLL_CTL_ADD, listen, unix.EPOLLIN); err != nil {
			t.Fatal(err)
		}
		events := make([]unix.EpollEvent, 4)
		if n, err := p.Wait(events, 0); n != 0 || err != nil {
			t.Errorf("%d events, %v, want none", n, err)
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := p.Wait(events, -1); n != 1 || err != nil || int(events[0].Fd) != listen {
			t.Errorf("%d events, %v, %+v, want the listening socket", n, err, events[0])
		}
		taken := -1
		if err := Accept(listen, func(fd int) { taken = fd }); err != nil || taken < 0 {
			t.Fatalf("accepted %d, %v", taken, err)
		}
		if _, errno := Read(taken, make([]byte, 1)); errno != unix.EAGAIN {
			t.Errorf("an empty socket: %v, want EAGAIN", errno)
		}
		if n, errno := Write(taken, []byte("abc")); n != 3 || errno != 0 {
			t.Errorf("wrote %d, %v", n, errno)
		}
		b := make([]byte, 3)
		if n, err := c.Read(b); n != 3 || err != nil || string(b) != "abc" {
			t.Errorf("read %q, %v", b[:n], err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		stop := p.WakeWith(ctx)
		go cancel()
		for range 2 { // now and later
			if n, err := p.Wait(events, -1); n != 1 || err != nil || int(events[0].Fd) != p.WakeFD {
				t.Errorf("%d events, %v, %+v, want the end", n, err, events[0])
			}
		}
		stop()
		c.Close()
		unix.Close(taken)
		unix.Close(listen)
		p.Close()
		if _, err := p.Wait(events, 0); err == nil {
			t.Error("a closed poller waits")
		}
	}
}

func TestListenRefuses(t *testing.T) {
	for _, addr := range []string{"nowhere", "127.0.0.1:99999", "192.0.2.1:1"} {
		if fd, _, err := Listen(addr); err == nil {
			unix.Close(fd)
			t.Errorf("%s was accepted", addr)
		}
	}
	fd, addr, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if again, _, err := Listen(addr); err == nil {
		unix.Close(again)
		t.Error("an address in use was accepted")
	}
}
