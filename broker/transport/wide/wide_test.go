package wide

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestWanted(t *testing.T) {
	for _, c := range []struct {
		rate int64
		trip time.Duration
		want int
	}{{0, time.Second, 0}, {125_000_000, 0, 0}, {125_000_000, 200 * time.Millisecond, 50_000_000}, {1 << 40, time.Minute, 1 << 30}} {
		if got := Wanted(c.rate, c.trip); got != c.want {
			t.Errorf("%d B/s over %v: %d, want %d", c.rate, c.trip, got, c.want)
		}
	}
}

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		l      Limits
		wanted int
		ask    int
		enough bool
	}{
		{Limits{2 << 20, 208 << 10}, 1 << 20, 0, true},         // grows that far
		{Limits{2 << 20, 208 << 10}, 50 << 20, 0, false},       // to ask would make it smaller
		{Limits{2 << 20, 64 << 20}, 50 << 20, 50 << 20, true},  //
		{Limits{2 << 20, 16 << 20}, 50 << 20, 16 << 20, false}, // better than nothing
		{Limits{}, 1, 0, false},
		{Limits{}, 0, 0, true},
	} {
		if ask, enough := c.l.Decide(c.wanted); ask != c.ask || enough != c.enough {
			t.Errorf("%+v, wanted %d: ask for %d, enough %v; want %d, %v", c.l, c.wanted, ask, enough, c.ask, c.enough)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{"ipv4/tcp_wmem": "4096\t16384\t4194304\n", "ipv4/tcp_rmem": "4096 131072 6291456", "core/wmem_max": "212992\n"} {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700)
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := Read(dir), (System{Limits{2 << 20, 212992}, Limits{3 << 20, 0}}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A connection gets what it needs, and nothing is touched that is enough, or cannot be had.
func TestTune(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dial := func() *net.TCPConn {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		return nc.(*net.TCPConn)
	}
	const wanted = 150_000 // 75,000 bytes in a round trip
	for _, c := range []struct {
		name         string
		l            Limits
		asked        bool
		whatIsNarrow string
	}{
		{"grows", Limits{wanted, 0}, false, ""},
		{"is asked for", Limits{wanted - 1, wanted}, true, ""},
		{"is narrow", Limits{1000, 900}, false, "net.ipv4.tcp_wmem to 300000"},
	} {
		nc := dial()
		before := buffer(t, nc)
		err := Tune(nc, System{c.l, c.l}, 75_000, time.Second)
		var narrow *NarrowError
		if errors.As(err, &narrow) != (c.whatIsNarrow != "") || narrow != nil && !strings.Contains(err.Error(), c.whatIsNarrow) {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := buffer(t, nc); c.asked && got != 2*wanted || !c.asked && got != before {
			t.Errorf("%s: the buffer has %d bytes, it had %d", c.name, got, before)
		}
	}
	nc := dial()
	if trip := measured(nc); trip <= 0 || trip > time.Minute {
		t.Errorf("the kernel measured %v", trip)
	}
	if err := Tune(nc, System{}, 0, time.Second); err != nil {
		t.Errorf("a line of which nothing is said: %v", err)
	}
	a, _ := net.Pipe()
	if err := Tune(a, System{}, 1<<30, time.Second); err != nil {
		t.Errorf("what is no TCP: %v", err)
	}
}

func buffer(t *testing.T, nc *net.TCPConn) (n int) {
	t.Helper()
	raw, err := nc.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}
