package transport

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"ackline/broker/id"
	"ackline/broker/testline"
	"ackline/broker/transport/rtt"
)

func (n *node) rtt(to id.NodeID) rtt.Estimate { return n.peer(to).rtt.Estimate() }

// The round trip is measured by heartbeats alone, by both sides, and follows the distance.
func TestRoundTripIsMeasured(t *testing.T) {
	a := newNode(t, testConfig(1)).start(anywhere)
	b := newNode(t, testConfig(2)).start(anywhere)
	there, back := testline.New(t, b.addr, 10*time.Millisecond), testline.New(t, a.addr, 20*time.Millisecond)
	a.AddPeer(2, there.Addr)
	b.AddPeer(1, back.Addr)
	until(t, "twenty samples on both sides", func() bool { return a.rtt(2).Samples > 20 && b.rtt(1).Samples > 20 })
	for _, e := range []rtt.Estimate{a.rtt(2), b.rtt(1)} {
		if e.Least < 30*time.Millisecond || e.Least > e.Smoothed+e.Deviation*4 {
			t.Errorf("the lines take 30ms, measured was %+v", e)
		}
	}
	there.Delay.Store(int64(80 * time.Millisecond))
	until(t, "the longer way to be seen", func() bool { return a.rtt(2).Smoothed > 90*time.Millisecond && b.rtt(1).Smoothed > 90*time.Millisecond })
	there.Delay.Store(0)
	until(t, "the shorter one", func() bool { return a.rtt(2).Smoothed < 90*time.Millisecond && a.rtt(2).Least < 30*time.Millisecond })
	for _, p := range a.Stats().Peers {
		if p.RTT.Samples == 0 {
			t.Errorf("the stats of node %d have none: %+v", p.Peer, p)
		}
	}
}

// Connections for records are fitted to the line, on both of their ends, and no others; they are of use where the system's settings are too small.
func TestLineRate(t *testing.T) {
	var log lockedBuffer
	a, b := couple(t, func(c *Config) { c.LineRate, c.Log = 1<<50, slog.New(slog.NewTextHandler(&log, nil)) })
	a.Send(2, 7, app(1, []byte("x")))
	b.awaitMessages(1)
	if n := strings.Count(log.String(), "the line to a node is wider than the buffers"); n < 4 || n > 4+strings.Count(log.String(), "no connection to a node") {
		t.Errorf("said %d times, want once for each end of two connections", n)
	}
}
