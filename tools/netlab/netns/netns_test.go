package netns

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ackline/tools/netlab/line"
)

const delay = 20 * time.Millisecond

// control is a congestion control that every kernel has and none is set to.
const control = "reno"

func network(t *testing.T, hosts int, q line.Quality) *Network {
	t.Helper()
	if err := Permitted(control); err != nil {
		t.Skip("needs CAP_NET_ADMIN: hosts are network namespaces (" + err.Error() + ")")
	}
	nw, err := New(hosts, control, func(_, _ int) line.Quality { return q }, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := nw.Close(); err != nil {
			t.Error(err)
		}
	})
	return nw
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listen answers everything that comes to a host, and says at which port.
func listen(t *testing.T, nw *Network, host int) (port int) {
	t.Helper()
	var l net.Listener
	err := nw.Enter(host, func() (err error) {
		l, err = net.Listen("tcp4", net.JoinHostPort(nw.Host(host), "0"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func dial(nw *Network, from, to, port int, limit time.Duration) (conn net.Conn, err error) {
	addr, _ := nw.Addr(from, to, port)
	err = nw.Enter(from, func() (err error) {
		conn, err = net.DialTimeout("tcp4", addr, limit)
		return err
	})
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(30 * time.Second)) // so that a test that fails ends
	}
	return conn, err
}

func roundTrip(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	begin := time.Now()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return time.Since(begin)
}

func TestRoundTripAndSetting(t *testing.T) {
	nw := network(t, 3, line.Quality{DelayNS: delay.Nanoseconds()})
	port := listen(t, nw, 2)
	begin := time.Now()
	conn, err := dial(nw, 0, 2, port, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if took := time.Since(begin); took < 2*delay {
		t.Errorf("connected after %v, before a round trip of %v", took, 2*delay)
	}
	if got := conn.LocalAddr().(*net.TCPAddr).IP.String(); got != nw.Host(0) {
		t.Errorf("connects from %s, want %s", got, nw.Host(0))
	}
	best := time.Hour
	for range 10 {
		best = min(best, roundTrip(t, conn))
	}
	if best < 2*delay || best > 2*delay+15*time.Millisecond { // a busy machine may be late, never early
		t.Errorf("the fastest of ten round trips took %v, want %v", best, 2*delay)
	}
	must(t, nw.Set(0, 2, line.Quality{DelayNS: 5 * delay.Nanoseconds()}))
	if took := roundTrip(t, conn); took < 6*delay {
		t.Errorf("with %v more one way a round trip took %v", 4*delay, took)
	}
}

// What the hosts have for congestion control is the network's to say, not the machine's; of a name that the kernel does not know it is told which are.
func TestCongestionControl(t *testing.T) {
	nw := network(t, 2, line.Quality{})
	conn, err := dial(nw, 0, 1, listen(t, nw, 1), 10*time.Second)
	must(t, err)
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		got, err := unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if err != nil || got != control {
			t.Errorf("a connection has the congestion control %q, %v: want %q", got, err, control)
		}
	}))
	if err := Permitted("nosuch"); err == nil || !strings.Contains(err.Error(), "congestion control nosuch") || !strings.Contains(err.Error(), control) {
		t.Errorf("of a congestion control that there is none: %v", err)
	}
}

// TCP finds its way through jitter and loss, and what arrives is what was sent.
func TestBytesThroughLoss(t *testing.T) {
	nw := network(t, 2, line.Quality{DelayNS: 1e6, JitterNS: 1e6, Loss: 0.005})
	conn, err := dial(nw, 0, 1, listen(t, nw, 1), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d (%v)", len(got), len(sent), err)
	}
}

func TestCutAndHeal(t *testing.T) {
	nw := network(t, 3, line.Quality{DelayNS: 1e6})
	port := listen(t, nw, 1)
	conn, err := dial(nw, 0, 1, port, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	roundTrip(t, conn)
	for _, way := range [][2]int{{0, 1}, {1, 0}} {
		must(t, nw.Cut(way[0], way[1], true))
		if _, err := dial(nw, 0, 1, port, 200*time.Millisecond); err == nil {
			t.Errorf("cut from %d to %d: connected", way[0], way[1])
		}
		if other, err := dial(nw, 2, 1, port, 10*time.Second); err != nil {
			t.Errorf("cut from %d to %d: host 2 does not reach host 1: %v", way[0], way[1], err)
		} else {
			_ = other.Close()
		}
		must(t, nw.Set(way[0], way[1], line.Quality{DelayNS: 1e6}))
		if _, err := dial(nw, 0, 1, port, 200*time.Millisecond); err == nil {
			t.Error("a change of the distance healed a cut")
		}
		must(t, nw.Cut(way[0], way[1], false))
		roundTrip(t, conn) // TCP sends again
	}
}

// direct reports whether what a host sends to another goes over their own pair of interfaces.
func direct(t *testing.T, nw *Network, from, to int) bool {
	t.Helper()
	a, b := nw.spaces[from], nw.spaces[to]
	own, err := a.nl.LinkByName(near(b.addr))
	must(t, err)
	routes, err := a.nl.RouteGet(b.addr[:])
	must(t, err)
	return routes[0].LinkIndex == own.Attrs().Index
}

// Between neighbours there is no router, unless something is wrong with the way, in that direction. Connections outlive the change.
func TestNeighbours(t *testing.T) {
	if err := Permitted(control); err != nil {
		t.Skip("needs CAP_NET_ADMIN: hosts are network namespaces (" + err.Error() + ")")
	}
	far := line.Quality{DelayNS: delay.Nanoseconds()}
	nw, err := New(3, control, func(from, to int) line.Quality {
		if from == 2 || to == 2 {
			return far
		}
		return line.Quality{DelayNS: 45_000}
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer nw.Close()
	if nw.joined[0][2] || nw.joined[2][1] {
		t.Error("hosts that are far from each other are joined")
	}
	port := listen(t, nw, 1)
	conn, err := dial(nw, 0, 1, port, 10*time.Second)
	must(t, err)
	defer conn.Close()
	// ways says which ways a round trip goes directly.
	ways := func(name string, wantThere, wantBack bool) time.Duration {
		t.Helper()
		there, back := direct(t, nw, 0, 1), direct(t, nw, 1, 0)
		took := roundTrip(t, conn)
		if there != wantThere || back != wantBack {
			t.Errorf("%s: directly there %v, back %v; want %v, %v", name, there, back, wantThere, wantBack)
		}
		return took
	}
	ways("as it was", true, true)
	must(t, nw.Set(0, 1, far))
	if took := ways("far one way", false, true); took < delay {
		t.Errorf("a round trip takes %v with a delay of %v", took, delay)
	}
	must(t, nw.Set(0, 1, line.Quality{DelayNS: nearNS}))
	if took := ways("near again", true, true); took > delay {
		t.Errorf("a round trip takes %v", took)
	}
	must(t, nw.Cut(1, 0, true))
	if c, err := dial(nw, 0, 1, port, 200*time.Millisecond); err == nil {
		_ = c.Close()
		t.Error("connected through a cut")
	}
	must(t, nw.Cut(1, 0, true)) // again: nothing changes
	must(t, nw.Cut(1, 0, false))
	ways("healed", true, true)
}

// A program that knows nothing of all this finds itself in a host of its own.
func TestProgramsInside(t *testing.T) {
	nw := network(t, 2, line.Quality{DelayNS: 1e6})
	var out bytes.Buffer
	cmd := exec.CommandContext(context.Background(), "cat", "/proc/self/net/fib_trie")
	cmd.Stdout = &out
	if err := nw.Enter(1, cmd.Start); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), nw.Host(1)) || strings.Contains(out.String(), nw.Host(0)+"\n") {
		t.Errorf("the program sees these addresses:\n%s", out.String())
	}
}

// Every goroutine is where it was, and every thread back.
func TestEnterComesBack(t *testing.T) {
	nw := network(t, 1, line.Quality{})
	home, err := os.Readlink(threadNS)
	if err != nil {
		t.Fatal(err)
	}
	failed := errors.New("failed")
	err = nw.Enter(0, func() error {
		if at, err := os.Readlink(threadNS); err != nil || at == home {
			t.Errorf("still at home: %s, %v", at, err)
		}
		return failed
	})
	if !errors.Is(err, failed) || !strings.Contains(err.Error(), nw.Host(0)) {
		t.Errorf("got %v, want what the function said, and where", err)
	}
	if at, err := os.Readlink(threadNS); err != nil || at != home {
		t.Errorf("after: in %s, want %s (%v)", at, home, err)
	}
}

func TestDestination(t *testing.T) {
	nw := &Network{spaces: make([]*space, 3)}
	ip := func(version byte, dst ...byte) []byte {
		p := make([]byte, 20)
		p[0] = version<<4 | 5
		copy(p[16:], dst)
		return p
	}
	for _, c := range []struct {
		p    []byte
		want int
	}{
		{ip(4, 10, 66, 0, 1), 0}, {ip(4, 10, 66, 0, 3), 2}, {ip(4, 10, 66, 0, 4), -1}, {ip(4, 10, 66, 0, 0), -1}, {ip(4, 224, 0, 0, 1), -1},
		{ip(6, 10, 66, 0, 1), -1}, {ip(4, 10, 66, 0, 1)[:19], -1}, {nil, -1},
	} {
		if got := nw.destination(c.p); got != c.want {
			t.Errorf("% x is for %d, want %d", c.p, got, c.want)
		}
	}
}
