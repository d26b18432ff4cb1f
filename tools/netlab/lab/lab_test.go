package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"ackline/profiles/region"
	"ackline/tools/netlab/line"
	"ackline/tools/netlab/netns"
)

const three = `between = [
  { regions = ["east", "west"], delay_ms = 10 },
]
[[regions]]
name = "east"
same_zone_delay_ms = 10
[[regions]]
name = "west"
[[hosts]]
name = "n1"
region = "east"
[[hosts]]
name = "n2"
region = "east"
[[hosts]]
name = "n3"
region = "west"
`

const (
	way  = 10 * time.Millisecond // between any two of them
	slow = 20 * time.Second      // after which something that should come will not
)

// each runs a test in each mode.
func each(t *testing.T, test func(t *testing.T, l *Lab)) {
	top, err := region.Parse("three.toml", []byte(three))
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []Mode{Relay, Netns} {
		t.Run(string(mode), func(t *testing.T) {
			if mode == Netns {
				if err := netns.Permitted(region.DefaultCongestionControl); err != nil {
					t.Skip("needs CAP_NET_ADMIN: hosts are network namespaces (" + err.Error() + ")")
				}
			}
			l, err := New(top, mode, 1)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
			test(t, l)
		})
	}
}

// serve answers on every host, and says on which ports.
func serve(t *testing.T, l *Lab) map[string]int {
	t.Helper()
	ports := map[string]int{}
	for _, host := range l.Topology().HostNames() {
		listener, err := l.Listen(host, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		ports[host] = listener.Addr().(*net.TCPAddr).Port
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = io.Copy(conn, conn)
					_ = conn.Close()
				}()
			}
		}()
	}
	return ports
}

func dial(t *testing.T, l *Lab, from, to string, port int) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), slow)
	defer cancel()
	conn, err := l.Dial(ctx, from, to, port)
	if err != nil {
		t.Fatalf("%s to %s: %v", from, to, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ping is a round trip that takes at most limit.
func ping(conn net.Conn, limit time.Duration) (time.Duration, error) {
	_ = conn.SetDeadline(time.Now().Add(limit))
	begin := time.Now()
	if _, err := conn.Write([]byte("x")); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return time.Since(begin), err
}

func fastest(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	best := time.Hour
	for range 8 {
		took, err := ping(conn, slow)
		if err != nil {
			t.Fatal(err)
		}
		best = min(best, took)
	}
	return best
}

func TestEveryPairIsAsFarAsTheTopologySays(t *testing.T) {
	each(t, func(t *testing.T, l *Lab) {
		ports := serve(t, l)
		for _, from := range l.Topology().HostNames() {
			for _, to := range l.Topology().HostNames() {
				want := 2 * way
				if from == to {
					want = 0
				}
				got := fastest(t, dial(t, l, from, to, ports[to]))
				if got < want || got > want+10*time.Millisecond { // a busy machine may be late, never early
					t.Errorf("%s to %s and back took %v, want %v", from, to, got, want)
				}
			}
		}
	})
}

// gone tells whether nothing comes back within some round trips.
func gone(t *testing.T, conn net.Conn) bool {
	t.Helper()
	_, err := ping(conn, 10*way)
	var ne net.Error
	if err != nil && !(errors.As(err, &ne) && ne.Timeout()) {
		t.Fatalf("want silence, got %v", err)
	}
	return err != nil
}

// arrives waits for the answer to what was sent into a cut.
func arrives(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(slow))
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Errorf("after healing: %v", err)
	}
}

func TestCutsAndIsolation(t *testing.T) {
	each(t, func(t *testing.T, l *Lab) {
		ports := serve(t, l)
		near, far := dial(t, l, "n1", "n2", ports["n2"]), dial(t, l, "n1", "n3", ports["n3"])
		for name, do := range map[string]func() error{
			"there": func() error { return l.Cut("n1", "n3") },
			"back":  func() error { return l.Cut("n3", "n1") },
			"both":  func() error { return l.Part("n1", "n3") },
			"east":  func() error { return l.Isolate("east") },
			"west":  func() error { return l.Isolate("west") },
		} {
			fastest(t, far)
			if err := do(); err != nil {
				t.Fatal(err)
			}
			if !gone(t, far) {
				t.Errorf("%s: the cut lets through", name)
			}
			if _, err := ping(near, slow); err != nil {
				t.Errorf("%s: a pair that is not cut does not talk: %v", name, err)
			}
			if err := l.HealAll(); err != nil {
				t.Fatal(err)
			}
			arrives(t, far)
			if f := l.Faults(); f != nil {
				t.Errorf("%s: after healing there is %q", name, f)
			}
		}
	})
}

func TestWorsen(t *testing.T) {
	each(t, func(t *testing.T, l *Lab) {
		ports := serve(t, l)
		conn := dial(t, l, "n1", "n3", ports["n3"])
		if err := l.Worsen("n3", "n1", Worse{Delay: 5 * way}); err != nil {
			t.Fatal(err)
		}
		if got := fastest(t, conn); got < 7*way {
			t.Errorf("with %v more one way a round trip took %v", 5*way, got)
		}
		if got := l.Faults(); len(got) != 1 || !strings.HasPrefix(got[0], "n3 to n1: 50ms more delay") {
			t.Errorf("faults: %q", got)
		}
		if err := errors.Join(l.Cut("n3", "n1"), l.Heal("n3", "n1")); err != nil {
			t.Fatal(err)
		}
		if got := fastest(t, conn); got > 6*way {
			t.Errorf("after healing a round trip took %v", got)
		}
		if err := l.Worsen("n1", "n3", Worse{BytesPerSecond: 2e6}); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(slow))
		begin := time.Now()
		go func() { _, _ = conn.Write(make([]byte, 1_000_000)) }()
		if _, err := io.ReadFull(conn, make([]byte, 1_000_000)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < 450*time.Millisecond {
			t.Errorf("1 MB at 2 MB/s took %v", took)
		}
	})
}

// recorder notes what a network is told.
type recorder struct {
	network
	set map[[2]int]line.Quality
}

func (r *recorder) Set(from, to int, q line.Quality) error {
	r.set[[2]int{from, to}] = q
	return nil
}

// A longer way there is a longer wait for a retransmission on the way back: it takes a round trip to find out.
func TestARetransmissionTakesARoundTrip(t *testing.T) {
	top, err := region.Parse("three.toml", []byte(three))
	if err != nil {
		t.Fatal(err)
	}
	l, err := New(top, Relay, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := &recorder{l.network, map[[2]int]line.Quality{}}
	l.network = r
	if err := l.Worsen("n1", "n2", Worse{Delay: 3 * way}); err != nil {
		t.Fatal(err)
	}
	again := (5*way + leastRetransmit).Nanoseconds()
	there, back := r.set[[2]int{0, 1}], r.set[[2]int{1, 0}]
	if len(r.set) != 2 || there != (line.Quality{DelayNS: 4 * way.Nanoseconds(), RetransmitNS: again}) ||
		back != (line.Quality{DelayNS: way.Nanoseconds(), RetransmitNS: again}) {
		t.Errorf("the network is told %+v", r.set)
	}
}

// Some of everything is lost, and TCP, or what stands for it, makes up for it a retransmission later.
func TestLossIsLateNotMissing(t *testing.T) {
	each(t, func(t *testing.T, l *Lab) {
		ports := serve(t, l)
		conn := dial(t, l, "n1", "n3", ports["n3"])
		fastest(t, conn)
		if err := l.Worsen("n1", "n3", Worse{Loss: 0.3}); err != nil {
			t.Fatal(err)
		}
		late := 0
		const rounds = 40
		for range rounds {
			took, err := ping(conn, slow)
			if err != nil {
				t.Fatal(err)
			}
			if took > 2*way+leastRetransmit/2 {
				late++
			}
		}
		if late < 1 || late == rounds { // 12 expected
			t.Errorf("of %d round trips %d were late, with a loss of 30%%", rounds, late)
		}
	})
}

func TestProgramsRunOnTheirHosts(t *testing.T) {
	each(t, func(t *testing.T, l *Lab) {
		var out bytes.Buffer
		cmd := exec.CommandContext(t.Context(), "cat", "/proc/self/net/dev")
		cmd.Stdout = &out
		if err := l.Start("n2", cmd); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		devices := strings.Count(out.String(), ":")
		if l.Mode() == Netns && (devices != 2 || !strings.Contains(out.String(), "eth0")) {
			t.Errorf("the program sees\n%s", out.String())
		}
	})
}

func TestErrorsSayWhatWouldBeRight(t *testing.T) {
	top, err := region.Parse("three.toml", []byte(three))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(top, "tap", 1); err == nil || !strings.Contains(err.Error(), "want auto, netns or relay") {
		t.Errorf("got %v", err)
	}
	l, err := New(top, Relay, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, unknown := l.Addr("n1", "n9", 1)
	_, port := l.Addr("n1", "n2", 70000)
	for _, c := range []struct {
		err  error
		want string
	}{
		{unknown, `host "n9" is not in three: did you mean "n1"? (there are n1, n2, n3)`},
		{port, "port 70000: want 1 to 65535"},
		{l.Cut("n1", "n1"), "want two hosts"},
		{l.Isolate("north"), "(there are east, west)"},
		{l.Worsen("n1", "n2", Worse{Loss: 1}), "a loss below 1"},
		{l.Worsen("n1", "n2", Worse{Delay: -1}), "nothing negative"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("got %v, want an error that contains %q", c.err, c.want)
		}
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if err := l.Cut("n1", "n2"); err == nil {
		t.Error("a lab that is closed takes a fault")
	}
}

// Auto always gives a lab; where namespaces are not permitted it says why it has none.
func TestAuto(t *testing.T) {
	top, err := region.Parse("three.toml", []byte(three))
	if err != nil {
		t.Fatal(err)
	}
	l, err := New(top, Auto, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want := []Mode{Netns, Relay}
	if l.Without() != nil {
		want = want[1:]
	} else {
		want = want[:1]
	}
	if !slices.Contains(want, l.Mode()) {
		t.Errorf("mode %s, without namespaces because of %v", l.Mode(), l.Without())
	}
}
