package sock

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Both kinds of connection go where the way says, and only there.
func TestWay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var asked []string
	way := Way(func(addr string, connect func(string) error) error {
		asked = append(asked, addr)
		return connect(l.Addr().String())
	})
	fd, err := way.Dial("192.0.2.1:9", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if d := Describe(fd); d.Remote != l.Addr().String() {
		t.Errorf("connected to %s, want %s", d.Remote, l.Addr())
	}
	conn, err := way.Conn(t.Context(), "192.0.2.2:9")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if len(asked) != 2 || asked[0] != "192.0.2.1:9" || asked[1] != "192.0.2.2:9" {
		t.Errorf("asked for %v", asked)
	}
	closed := errors.New("no way there")
	if fd, err := Way(func(string, func(string) error) error { return closed }).Dial("192.0.2.1:9", time.Second); fd >= 0 || !errors.Is(err, closed) {
		t.Errorf("descriptor %d, %v", fd, err)
	}
	if fd, err := Way(nil).Dial(l.Addr().String(), time.Second); err != nil || unix.Close(fd) != nil {
		t.Errorf("without a way: %v", err)
	}
}
