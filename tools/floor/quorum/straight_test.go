package quorum

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"

	"ackline/tools/floor/echo"
)

// startStraight runs the plainest leader with two followers until the test ends.
func startStraight(t *testing.T, alone bool, disks [3]*disk) (*Straight, *running, [2]*running) {
	t.Helper()
	a, addrA := follow(t, "127.0.0.1:0", 1<<20, disks[1], nil)
	b, addrB := follow(t, "127.0.0.1:0", 1<<20, disks[2], nil)
	cfg := testConfig([]string{addrA, addrB})
	cfg.Alone = alone
	s, err := ListenStraight(t.Context(), cfg, disks[0])
	if err != nil {
		t.Fatal(err)
	}
	return s, run(t, s.Serve), [2]*running{a, b}
}

func TestStraight(t *testing.T) {
	disks := [3]*disk{{}, {}, {}}
	s, r, _ := startStraight(t, false, disks)
	conn := dialClient(t, s.Addr())
	for id := range uint32(50) {
		ask(t, conn, id)
		if n := copies(disks[:], id); n < 2 {
			t.Fatalf("request %d was answered with %d copies", id, n)
		}
	}
	conn.Close()
	conn = dialClient(t, s.Addr())
	rng := rand.New(rand.NewPCG(1, 1))
	whole := frame(rng, 99, 300_000) // comes in pieces
	go conn.Write(whole)
	expect(t, conn, 99)
	conn.Write(slices.Concat(frame(rng, 1, 100), frame(rng, 2, 100)))
	closed(t, conn, "two requests at a time")
	conn = dialClient(t, s.Addr())
	conn.Write([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0})
	closed(t, conn, "a wrong length")
	conn = dialClient(t, s.Addr())
	ask(t, conn, 100)
	if err := r.stop(); err != nil {
		t.Errorf("Serve returned %v, want nil", err)
	}
	if st := s.Stats(); st.Requests != 52 || st.Syncs != 52 || st.Refused != 2 {
		t.Errorf("counted %+v, want 52 requests and 2 refused", st)
	}
	image := disks[0].image()
	if sum, err := echo.Verify(image, image.Size(), nil); err != nil || sum.Frames != 52 || sum.Last != 52 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// It answers with the slower follower out, and a late acknowledgement is not taken for a present one.
func TestStraightCountsOnlyWhatIsAcknowledged(t *testing.T) {
	gates := [2]*gate{newGate(), newGate()}
	disks := [3]*disk{{}, {hook: gates[0].hook}, {hook: gates[1].hook}}
	s, _, _ := startStraight(t, false, disks)
	conn := dialClient(t, s.Addr())
	rng := rand.New(rand.NewPCG(1, 1))
	conn.Write(frame(rng, 1, 100))
	<-gates[0].entered
	<-gates[1].entered
	gates[0].open <- struct{}{}
	expect(t, conn, 1)
	conn.Write(frame(rng, 2, 100))
	<-gates[0].entered          // the second request
	gates[1].open <- struct{}{} // the first one
	<-gates[1].entered          // its acknowledgement is out: the follower is at the second
	until(t, "the leader's own copy is there", func() bool { return disks[0].holds(2) })
	unanswered(t, conn, "for an acknowledgement of the request before")
	close(gates[1].open)
	expect(t, conn, 2)
	close(gates[0].open)
}

func TestStraightEnds(t *testing.T) {
	broken := errors.New("input/output error")
	s, r, _ := startStraight(t, false, [3]*disk{{hook: func() error { return broken }}, {}, {}})
	conn := dialClient(t, s.Addr())
	conn.Write(frame(rand.New(rand.NewPCG(1, 1)), 1, 100))
	closed(t, conn, "the disk's error")
	if <-r.done; !errors.Is(r.err, broken) {
		t.Errorf("Serve returned %v, want the disk's error", r.err)
	}
	s, r, followers := startStraight(t, false, [3]*disk{{}, {}, {}})
	conn = dialClient(t, s.Addr())
	ask(t, conn, 1)
	followers[0].stop()
	followers[1].stop()
	conn.Write(frame(rand.New(rand.NewPCG(1, 1)), 2, 100))
	closed(t, conn, "without followers")
	if <-r.done; r.err == nil || !strings.Contains(r.err.Error(), "follower") {
		t.Errorf("Serve returned %v, want that a follower ended", r.err)
	}
	for name, change := range map[string]func(*Config){
		"no follower":   func(c *Config) { c.Followers = nil },
		"a bad address": func(c *Config) { c.ListenAddr = "nowhere" },
		"nobody there":  func(c *Config) { c.Followers = []string{"127.0.0.1:1"} },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		cfg := testConfig([]string{impostor(t, greeting(1<<20), func(net.Conn) {})})
		change(&cfg)
		if s, err := ListenStraight(ctx, cfg, &disk{}); err == nil {
			s.Close()
			t.Errorf("%s was accepted", name)
		}
	}
}

// In processes that do nothing else, threads wait without telling Go's scheduler; nothing else may differ.
func TestAlone(t *testing.T) {
	dir := t.TempDir()
	a, _, _ := spawn(t, dir, "follower")
	b, _, _ := spawn(t, dir, "follower")
	for _, role := range []string{"pair", "alone", "handoff", "straight"} {
		addr, _, stop := spawn(t, dir, role, a, b)
		conn := dialClient(t, addr)
		for id := range uint32(100) {
			ask(t, conn, id)
		}
		stop()
		closed(t, conn, role+" was killed")
	}
}
