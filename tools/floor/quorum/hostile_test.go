package quorum

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ackline/tools/floor/echo"
	"ackline/tools/floor/link"
)

func greeting(batchBytes int) []byte {
	b := make([]byte, link.GreetingBytes)
	link.PutGreeting(b, batchBytes)
	return b
}

func head(seq uint64, payload, frames int, kind uint64) []byte {
	b := make([]byte, echo.HeaderBytes)
	link.PutMessage(b, link.Message{Header: echo.Header{Sequence: seq, PayloadLen: payload, Frames: frames}, Kind: kind})
	return b
}

// What cannot come from a leader closes the connection, is counted, and disturbs nobody else.
func TestHostileBytesOnTheFollowersPort(t *testing.T) {
	const batchBytes = 64 << 10
	d := &disk{}
	f, err := ListenFollower(FollowerConfig{ListenAddr: "127.0.0.1:0", BatchBytes: batchBytes}, d)
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, f.Serve)
	rng := rand.New(rand.NewPCG(1, 2))
	good := func(seq uint64) []byte { return append(head(seq, 100, 1, link.KindBatch), frame(rng, 1, 100)...) }
	version := greeting(batchBytes)
	version[8]++
	garbage := make([]byte, 4096)
	for i := range garbage {
		garbage[i] = byte(rng.Uint32())
	}
	cases := map[string][]byte{
		"a client's request":                    frame(rng, 1, 100),
		"garbage":                               garbage,
		"another link version":                  version,
		"garbage after the greeting":            slices.Concat(greeting(batchBytes), garbage),
		"a client's request after the greeting": slices.Concat(greeting(batchBytes), frame(rng, 1, 100)),
		"a message too long":                    slices.Concat(greeting(batchBytes), head(1, batchBytes-echo.HeaderBytes+1, 1, link.KindBatch)),
		"the longest length":                    slices.Concat(greeting(batchBytes), head(1, 1<<32-1, 1, link.KindBatch)),
		"an empty message":                      slices.Concat(greeting(batchBytes), head(1, 0, 0, link.KindBatch)),
		"frames without number":                 slices.Concat(greeting(batchBytes), head(1, 4, 0, link.KindBatch), []byte{0, 0, 0, 0}),
		"a ping with frames":                    slices.Concat(greeting(batchBytes), head(1, 4, 1, link.KindPing)),
		"an unknown kind":                       slices.Concat(greeting(batchBytes), head(1, 4, 1, 3)),
		"sequence zero":                         slices.Concat(greeting(batchBytes), head(0, 4, 1, link.KindBatch)),
		"a sequence twice":                      slices.Concat(greeting(batchBytes), good(5), good(5)),
	}
	leader := dialClient(t, f.Addr())
	leader.Write(greeting(batchBytes))
	answer := make([]byte, link.GreetingBytes)
	if _, err := io.ReadFull(leader, answer); err != nil || !bytes.Equal(answer, greeting(batchBytes)) {
		t.Fatalf("greeted with % x, %v", answer, err)
	}
	ack := make([]byte, link.AckBytes)
	seq := uint64(0)
	for name, b := range cases {
		c := dialClient(t, f.Addr())
		c.Write(b)
		if rest, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") || len(rest) > link.GreetingBytes+link.AckBytes {
			t.Errorf("%s: read %d bytes, %v, want a closed connection", name, len(rest), err)
		}
		seq += 3 // gaps are allowed
		leader.Write(good(seq))
		if _, err := io.ReadFull(leader, ack); err != nil || binary.LittleEndian.Uint64(ack) != seq {
			t.Fatalf("after %s: acknowledged % x, %v, want %d", name, ack, err, seq)
		}
	}
	// Ends anywhere: nothing is written of a message that did not arrive as a whole.
	whole := slices.Concat(greeting(batchBytes), head(1, 200, 1, link.KindBatch), frame(rng, 0xdead, 200))
	for cut := range len(whole) {
		c := dialClient(t, f.Addr())
		c.Write(whole[:cut])
		c.CloseWrite()
		if _, err := io.ReadAll(c); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		c.Close()
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if d.holds(0xdead) {
		t.Error("a message that was cut off was written")
	}
	image := d.image()
	if sum, err := echo.Verify(image, image.Size(), nil); err != nil || sum.Frames < len(cases) {
		t.Errorf("%+v, %v, want a file that verifies", sum, err)
	}
	if st := f.Stats(); st.Refused != int64(len(cases)) {
		t.Errorf("%d connections refused, want %d", st.Refused, len(cases))
	}
}

// impostor accepts one leader after the other, greets, and hands the connection to act.
func impostor(t *testing.T, answer []byte, act func(c net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			io.ReadFull(c, make([]byte, link.GreetingBytes))
			c.Write(answer)
			act(c)
		}
	}()
	return ln.Addr().String()
}

// A follower that acknowledges what it was not sent is no follower: it must not make a majority.
func TestWrongAcknowledgements(t *testing.T) {
	for name, wrong := range map[string]uint64{"of the future": 1 << 40, "of one too many": 2} {
		g := newGate()
		d := &disk{hook: g.hook}
		_, honest := follow(t, "127.0.0.1:0", 1<<20, d, nil)
		lost := make(chan struct{}, 100)
		liar := impostor(t, greeting(1<<20), func(c net.Conn) {
			io.ReadFull(c, make([]byte, echo.HeaderBytes+100))
			ack := make([]byte, link.AckBytes)
			link.PutAck(ack, wrong, 0)
			c.Write(ack)
			io.Copy(io.Discard, c)
			lost <- struct{}{}
		})
		l, err := Listen(t.Context(), testConfig([]string{honest, liar}), &disk{})
		if err != nil {
			t.Fatal(err)
		}
		run(t, l.Serve)
		conn := dialClient(t, l.Addr())
		conn.Write(frame(rand.New(rand.NewPCG(1, 1)), 1, 100))
		<-g.entered
		<-lost
		until(t, "the leader knows", func() bool { return look(l, func(l *Leader) bool { return l.stats.Reconnects > 0 }) })
		unanswered(t, conn, "for an acknowledgement "+name)
		close(g.open)
		expect(t, conn, 1)
	}
}

func TestListenRefuses(t *testing.T) {
	_, addr := follow(t, "127.0.0.1:0", 64<<10, &disk{}, nil)
	other := greeting(1 << 20)
	other[8]++
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no follower":           {func(c *Config) { c.Followers = nil }, "0 followers"},
		"too many followers":    {func(c *Config) { c.Followers = make([]string, MaxFollowers+1) }, "31 followers"},
		"a short answer":        {func(c *Config) { c.ReplyBytes = 7 }, "reply of 7"},
		"a crooked batch":       {func(c *Config) { c.BatchBytes = 5000 }, "batch of 5000"},
		"a window too small":    {func(c *Config) { c.WindowBytes = 4096 }, "window of 4096"},
		"a bad address":         {func(c *Config) { c.ListenAddr = "nowhere" }, "nowhere"},
		"smaller batches there": {func(c *Config) {}, "batches of 65536 bytes, ours are up to 1048576"},
		"another version there": {func(c *Config) { c.Followers = []string{impostor(t, other, func(net.Conn) {})} }, "link version 2"},
		"no floor there": {func(c *Config) {
			c.Followers = []string{impostor(t, []byte("HTTP/1.1 400 Bad Request\r\n"), func(net.Conn) {})}
		},
			"this is no floor's link"},
	} {
		cfg := testConfig([]string{addr})
		c.change(&cfg)
		if l, err := Listen(t.Context(), cfg, &disk{}); err == nil || !strings.Contains(err.Error(), c.want) {
			if err == nil {
				l.release()
			}
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	// A follower that is not there is waited for, while the context lasts.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := testConfig([]string{"127.0.0.1:1"})
	if _, err := Listen(ctx, cfg, &disk{}); err == nil || !strings.Contains(err.Error(), "follower 127.0.0.1:1") {
		t.Errorf("no follower: %v, want its address", err)
	}
	if _, err := ListenFollower(FollowerConfig{ListenAddr: "127.0.0.1:0", BatchBytes: 5000}, &disk{}); err == nil {
		t.Error("a follower's crooked batch was accepted")
	}
	if _, err := ListenFollower(FollowerConfig{ListenAddr: "nowhere", BatchBytes: 4096}, &disk{}); err == nil {
		t.Error("a follower's bad address was accepted")
	}
}

func TestRequestsThatCannotBeRightCloseTheConnection(t *testing.T) {
	c := start(t, 3, func(_ []*disk, cfg *Config) { cfg.BatchBytes, cfg.WindowBytes = 8192, 8192 })
	good := c.dial(t)
	rng := rand.New(rand.NewPCG(7, 8))
	for _, length := range []uint32{0, frameHead - 5, 8192 - echo.HeaderBytes - 3, 1 << 31, 0xffffffff} {
		bad := c.dial(t)
		b := frame(rng, 1, 12)
		binary.BigEndian.PutUint32(b, length)
		bad.Write(b)
		closed(t, bad, "a wrong length")
	}
	good.Write(frame(rng, 9, 8192-echo.HeaderBytes))
	expect(t, good, 9)
	c.serving.stop()
	if st := c.leader.Stats(); st.Refused != 5 || st.Requests != 1 {
		t.Errorf("counted %+v, want 5 refused and one request", st)
	}
}

// A client that does not read its answers stalls only itself, and loses nothing.
func TestSlowReader(t *testing.T) {
	c := start(t, 3, func(_ []*disk, cfg *Config) { cfg.ReplyBytes = 64 << 10 })
	slow, quick := c.dial(t), c.dial(t)
	rng := rand.New(rand.NewPCG(2, 2))
	const n = 400 // 25 MiB of answers: more than any socket buffer
	var out []byte
	for id := range uint32(n) {
		out = append(out, frame(rng, id, 64)...)
	}
	go slow.Write(out)
	answer := make([]byte, 64<<10)
	read := func(c net.Conn, id uint32) {
		t.Helper()
		if _, err := readFull(c, answer); err != nil || binary.BigEndian.Uint32(answer[4:]) != id {
			t.Fatalf("answer %d: %x, %v", id, answer[:8], err)
		}
	}
	for id := range uint32(20) {
		quick.Write(frame(rng, id, 64))
		read(quick, id)
	}
	if ok := c.look(func(l *Leader) bool { return l.stats.Requests < n }); !ok {
		t.Error("all requests of a client that reads nothing were taken")
	}
	for id := range uint32(n) {
		read(slow, id)
	}
}

// The end comes at once, also while a follower is looked for, and clients see it.
func TestServeEndsWithItsContext(t *testing.T) {
	c := start(t, 3, nil)
	conn := c.dial(t)
	ask(t, conn, 1)
	c.followers[1].stop()
	until(t, "the leader knows", func() bool { return c.look(func(l *Leader) bool { return l.alive() == 2 }) })
	began := time.Now()
	if err := c.serving.stop(); err != nil {
		t.Errorf("Serve returned %v, want nil", err)
	}
	if d := time.Since(began); d > link.Timeout {
		t.Errorf("the end took %v, as long as an attempt to connect", d)
	}
	closed(t, conn, "after the end")
	if err := c.followers[0].stop(); err != nil {
		t.Errorf("the follower's Serve returned %v, want nil", err)
	}
}

func TestCommit(t *testing.T) {
	for _, c := range []struct {
		name string
		echo []float64
		sync [][]float64
		want float64
	}{
		{"equal nodes: own sync in parallel", []float64{40, 40}, [][]float64{{100}, {100}, {100}}, 140},
		{"followers outrun a slow own disk", []float64{40, 50}, [][]float64{{500}, {100}, {100}}, 150},
		{"the nearer follower", []float64{40, 9000}, [][]float64{{100}, {110}, {100}}, 150},
		{"own disk behind the nearer follower", []float64{40, 9000}, [][]float64{{300}, {110}, {100}}, 300},
		{"the faster of each round, not the faster in the middle", []float64{0, 0}, [][]float64{{0, 0, 0}, {1, 9, 1}, {9, 1, 9}}, 1},
		{"five nodes wait for two", []float64{1, 2, 3, 4}, [][]float64{{10}, {10}, {10}, {10}, {10}}, 12},
		{"two nodes wait for both", []float64{5}, [][]float64{{10}, {1}}, 10},
	} {
		if got := commitUs(c.echo, c.sync); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if got := (Parts{CommitUs: 100}).BoundUs(40); got != 140 {
		t.Errorf("bound %v, want 140", got)
	}
}

// Measure works beside a leader that serves, leaves files that verify, and says which follower fails.
func TestMeasure(t *testing.T) {
	c := start(t, 3, nil)
	conn := c.dial(t)
	own := &disk{}
	cfg := MeasureConfig{Followers: c.addrs, Own: own, BlockBytes: 8192, Rounds: 20, Limit: time.Minute}
	for range 3 {
		ask(t, conn, 1)
		p, err := Measure(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if p.Rounds != 20 || len(p.PeerEchoUs) != 2 || len(p.SyncUs) != 3 || p.CommitUs < min(p.SyncUs[1], p.SyncUs[2]) {
			t.Errorf("measured %+v", p)
		}
		for _, us := range append(p.PeerEchoUs, p.SyncUs...) {
			if us <= 0 {
				t.Errorf("measured %+v, want more than 0 everywhere", p)
			}
		}
	}
	if n := len(own.blocks); n != 60 || len(own.blocks[0]) != 8192 {
		t.Errorf("%d own blocks of %d bytes, want 60 of 8192", n, len(own.blocks[0]))
	}
	for i, d := range append(slices.Clone(c.disks), own) {
		image := d.image()
		if _, err := echo.Verify(image, image.Size(), nil); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
	cfg.Rounds = 0
	if _, err := Measure(t.Context(), cfg); err == nil {
		t.Error("no rounds were accepted")
	}
	cfg.Rounds, cfg.Followers = 1, []string{c.addrs[0], impostor(t, greeting(1<<20), func(c net.Conn) { c.Close() })}
	if _, err := Measure(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), cfg.Followers[1]) {
		t.Errorf("a follower that hangs up: %v, want its address", err)
	}
}

// FuzzFollower compares what is written with a reader of the same bytes that does one message at a time.
func FuzzFollower(f *testing.F) {
	const batchBytes = 8192
	f.Add(greeting(batchBytes))
	f.Add(append(greeting(batchBytes), head(1, 0, 0, link.KindPing)...))
	f.Add(slices.Concat(greeting(batchBytes), head(1, 4, 1, link.KindBatch), []byte{0, 0, 0, 0}, head(2, 0, 0, link.KindPing), head(3, 4, 1, link.KindTrial), []byte{1, 2, 3, 4}))
	f.Add(slices.Concat(greeting(batchBytes), head(1, 1<<32-1, 1, link.KindBatch)))
	f.Fuzz(func(t *testing.T, b []byte) {
		want, wrong := model(b, batchBytes)
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pair[1])
		var got []byte
		w, err := ListenFollower(FollowerConfig{ListenAddr: "127.0.0.1:0", BatchBytes: batchBytes}, appendFunc(func(b []byte) error {
			h, err := echo.ParseHeader(b)
			got = append(got, b[echo.HeaderBytes:echo.HeaderBytes+h.PayloadLen]...)
			return err
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer w.release()
		u := &uplink{fd: pair[0], in: inbox{buf: append(bytes.Clone(b), 0), end: len(b)}}
		w.uplinks = make([]*uplink, u.fd+1)
		w.uplinks[u.fd] = u
		w.parse(u)
		for len(w.waiting) > 0 {
			if err := w.sync(); err != nil {
				t.Fatal(err)
			}
			if u.over = false; w.uplinks[pair[0]] == u {
				w.full = nil
				w.parse(u)
			}
		}
		if !bytes.Equal(got, want) || wrong != (w.uplinks[pair[0]] == nil) {
			t.Errorf("wrote %x and dropped: %v, want %x and %v", got, w.uplinks[pair[0]] == nil, want, wrong)
		}
	})
}

// model returns the payloads of the whole messages in b up to the first that is wrong.
func model(b []byte, batchBytes int) (payloads []byte, wrong bool) {
	if len(b) < link.GreetingBytes {
		return nil, false
	}
	if string(b[:8]) != "ACKFLINK" || binary.LittleEndian.Uint32(b[8:]) != 1 {
		return nil, true
	}
	last := uint64(0)
	for b = b[link.GreetingBytes:]; len(b) >= 32; {
		seq, n, kind := binary.LittleEndian.Uint64(b[8:]), int(binary.LittleEndian.Uint32(b[16:])), binary.LittleEndian.Uint64(b[24:])
		if string(b[:8]) != "ACKFLOOR" || seq <= last || n+32 > batchBytes || kind > 2 || (n == 0) != (kind == 2) ||
			(binary.LittleEndian.Uint32(b[20:]) == 0) != (kind == 2) {
			return payloads, true
		}
		if len(b) < 32+n {
			break
		}
		payloads, last, b = append(payloads, b[32:32+n]...), seq, b[32+n:]
	}
	return payloads, false
}

type appendFunc func([]byte) error

func (f appendFunc) Append(b []byte) error { return f(b) }
