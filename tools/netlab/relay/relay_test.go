package relay

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ackline/tools/netlab/line"
)

const delay = 20 * time.Millisecond

// network is two hosts, so far apart, and what host 1 listens on.
func network(t *testing.T, q line.Quality) (*Network, *net.TCPListener, func() *net.TCPConn) {
	t.Helper()
	nw, err := New(2, func(_, _ int) line.Quality { return q }, 1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(nw.Host(1), "0"))
	if err != nil {
		t.Fatal(err)
	}
	addr, err := nw.Addr(0, 1, l.Addr().(*net.TCPAddr).Port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.Close() // or a test has
		if err := nw.Close(); err != nil {
			t.Error(err)
		}
	})
	return nw, l.(*net.TCPListener), func() *net.TCPConn {
		conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second)) // so that a test that fails ends
		return conn.(*net.TCPConn)
	}
}

func apart(d time.Duration) line.Quality { return line.Quality{DelayNS: d.Nanoseconds()} }

// echo answers everything on every connection.
func echo(l net.Listener) {
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

func TestRoundTrip(t *testing.T) {
	_, l, dial := network(t, apart(delay))
	go echo(l)
	begin := time.Now()
	conn := dial()
	roundTrip(t, conn)
	if first := time.Since(begin); first < 4*delay {
		t.Errorf("the first answer came after %v, before a handshake and a round trip were over (%v)", first, 4*delay)
	}
	best := time.Hour
	for range 10 {
		best = min(best, roundTrip(t, conn))
	}
	if best < 2*delay || best > 2*delay+15*time.Millisecond { // a busy machine may be late, never early
		t.Errorf("the fastest of ten round trips took %v, want %v", best, 2*delay)
	}
}

// Ten bytes, written 2 ms apart, come 2 ms apart: a delay that held up the next would make them ten delays.
func TestDelaysOverlap(t *testing.T) {
	_, l, dial := network(t, apart(200*time.Millisecond))
	go echo(l)
	conn := dial()
	roundTrip(t, conn)
	begin := time.Now()
	for range 10 {
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadFull(conn, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 400*time.Millisecond || took > time.Second {
		t.Errorf("ten took %v, want one round trip of 400 ms", took)
	}
}

func TestTheTargetSeesTheDialer(t *testing.T) {
	nw, l, dial := network(t, apart(0))
	dial()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.RemoteAddr().(*net.TCPAddr).IP.String(); got != nw.Host(0) {
		t.Errorf("comes from %s, want the first host's %s", got, nw.Host(0))
	}
	_ = conn.Close()
}

// Everything arrives in order, both ways at once, and ends arrive after it.
func TestBytesAndEnds(t *testing.T) {
	_, l, dial := network(t, line.Quality{DelayNS: 1e6, JitterNS: 3e6, Loss: 0.01, RetransmitNS: 5e6})
	up, down := make([]byte, 8<<20), make([]byte, 8<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(up)
	_, _ = random.Read(down)
	var group sync.WaitGroup
	both := func(conn *net.TCPConn, out, in []byte) {
		group.Go(func() {
			if _, err := conn.Write(out); err != nil {
				t.Error(err)
			}
			if err := conn.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		group.Go(func() {
			got, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(got, in) {
				t.Errorf("%d bytes came (%v), of %d; equal: %v", len(got), err, len(in), bytes.Equal(got, in))
			}
		})
	}
	conn := dial()
	both(conn, up, down)
	other, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	both(other, down, up)
	group.Wait()
	_ = other.Close()
}

func TestBandwidth(t *testing.T) {
	_, l, dial := network(t, line.Quality{DelayNS: 1e6, BytesPerSecond: 4e6})
	conn := dial()
	other, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	begin := time.Now()
	go func() { _, _ = conn.Write(make([]byte, 2_000_000)) }()
	if _, err := io.ReadFull(other, make([]byte, 2_000_000)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 450*time.Millisecond || took > 2*time.Second {
		t.Errorf("2 MB at 4 MB/s took %v", took)
	}
}

// A reader that does not read holds up itself only, and its writer in the end.
func TestASlowReaderHoldsUpNobodyElse(t *testing.T) {
	_, l, dial := network(t, apart(time.Millisecond))
	stalled := dial()
	silent, err := l.AcceptTCP() // nobody reads from it
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go echo(l)
	_ = stalled.SetWriteDeadline(time.Now().Add(time.Second))
	written := 0
	for {
		n, err := stalled.Write(make([]byte, 1<<20))
		written += n
		if err != nil {
			if !isTimeout(err) {
				t.Errorf("the writer of a stalled connection gets %v", err)
			}
			break
		}
	}
	if written > 64<<20 {
		t.Errorf("%d MB were taken for a reader that does not read", written>>20)
	}
	if took := roundTrip(t, dial()); took > time.Second {
		t.Errorf("beside a stalled connection a round trip takes %v", took)
	}
}

// A reader that was slow gets all of it, in order, and the end after it.
func TestASlowReaderGetsEverything(t *testing.T) {
	nw, l, dial := network(t, apart(time.Millisecond))
	sent := make([]byte, 20<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(sent)
	conn := dial()
	other, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.CloseWrite()
	}()
	target := func(is func(*half) bool) {
		for limit := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
			for _, f := range nw.forwards {
				f.mu.Lock()
				var halves []*half
				for h := range f.open {
					halves = append(halves, h)
				}
				f.mu.Unlock()
				for _, h := range halves {
					h.mu.Lock()
					ok := is(h)
					h.mu.Unlock()
					if ok {
						return
					}
				}
			}
			if time.Now().After(limit) {
				t.Fatal("the relay does not come to that")
			}
		}
	}
	target(func(h *half) bool { return len(h.waiting) > 50 }) // the socket is full, and much waits
	got := make([]byte, 4<<20, len(sent))
	if _, err := io.ReadFull(other, got); err != nil { // there is room again, while more comes
		t.Fatal(err)
	}
	target(func(h *half) bool { return h.noMore && h.writing }) // the end has come, while much still waits
	rest, err := io.ReadAll(other)
	if got = append(got, rest...); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came of %d (%v), equal: %v", len(got), len(sent), err, bytes.Equal(got, sent))
	}
}

func TestCutAndHeal(t *testing.T) {
	nw, l, dial := network(t, apart(delay))
	go echo(l)
	conn := dial()
	roundTrip(t, conn)
	for _, way := range [][2]int{{0, 1}, {1, 0}} {
		_ = nw.Cut(way[0], way[1], true)
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		fresh := dial()
		_ = conn.SetReadDeadline(time.Now().Add(6 * delay))
		if n, err := conn.Read(make([]byte, 1)); n > 0 || !isTimeout(err) {
			t.Errorf("cut from %d to %d: read %d bytes, %v", way[0], way[1], n, err)
		}
		_ = nw.Cut(way[0], way[1], false)
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Errorf("cut from %d to %d and healed: %v", way[0], way[1], err)
		}
		roundTrip(t, fresh) // a connection that began during the cut
	}
	_ = nw.Set(0, 1, apart(5*delay))
	if took := roundTrip(t, conn); took < 6*delay {
		t.Errorf("with %v more one way a round trip took %v", 4*delay, took)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestRefusedAndReset(t *testing.T) {
	_, l, dial := network(t, apart(time.Millisecond))
	conn := dial()
	other, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	_ = other.SetLinger(0)
	_ = other.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after a reset: %v", err)
	}
	_ = l.Close()
	if _, err := dial().Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	nw, l, dial := network(t, apart(time.Hour))
	go echo(l)
	conn := dial()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := nw.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("closing took %v", took)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the connection is still open: %v", err)
	}
	if _, err := nw.Addr(0, 1, 1); !errors.Is(err, net.ErrClosed) {
		t.Errorf("an address of a network that is closed: %v", err)
	}
}

func TestNetworksDoNotMeet(t *testing.T) {
	a, _, _ := network(t, apart(0))
	b, _, _ := network(t, apart(0))
	if a.Host(0) == b.Host(0) || !strings.HasPrefix(a.Host(0), "127.") {
		t.Errorf("two networks with a host at %s and %s", a.Host(0), b.Host(0))
	}
}

// An end that was closed is forgotten: a cluster that connects again and again must not fill the memory.
func TestConnectionsAreForgotten(t *testing.T) {
	nw, l, dial := network(t, apart(time.Millisecond))
	go echo(l)
	for range 5 {
		conn := dial()
		roundTrip(t, conn)
		_ = conn.CloseWrite()
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("want the end, got %v", err)
		}
		_ = conn.Close()
	}
	for _, f := range nw.forwards {
		for limit := time.Now().Add(10 * time.Second); f.Connections() > 0; runtime.Gosched() {
			if time.Now().After(limit) {
				t.Fatalf("%d ends of connections that are over are remembered", f.Connections())
			}
		}
	}
}
