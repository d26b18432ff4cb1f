package quorum

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ackline/tools/floor/echo"
)

// deadline only ends a test that would hang.
const deadline = 60 * time.Second

// disk is an Appender in memory. A block counts as durable when hook, if there is one, has returned.
type disk struct {
	hook func() error

	mu     sync.Mutex // guards all below
	blocks [][]byte
	has    map[uint32]bool // correlation ids of durable requests
}

func (d *disk) Append(b []byte) error {
	b = bytes.Clone(b)
	if d.hook != nil {
		if err := d.hook(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blocks = append(d.blocks, b)
	if d.has == nil {
		d.has = map[uint32]bool{}
	}
	_, err := echo.Verify(bytes.NewReader(b), int64(len(b)), func(_ echo.Header, frame []byte) error {
		if len(frame) >= frameHead {
			d.has[binary.BigEndian.Uint32(frame[8:])] = true
		}
		return nil
	})
	return err
}

func (d *disk) holds(id uint32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.has[id]
}

func (d *disk) image() *bytes.Reader {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.NewReader(bytes.Join(d.blocks, nil))
}

func copies(disks []*disk, id uint32) int {
	n := 0
	for _, d := range disks {
		if d.holds(id) {
			n++
		}
	}
	return n
}

// gate is a hook that holds every write until it is opened.
type gate struct {
	entered chan struct{} // one for each write that reached the gate
	open    chan struct{} // closed, or one for each write that may pass
}

func newGate() *gate { return &gate{make(chan struct{}, 10000), make(chan struct{})} }

func (g *gate) hook() error {
	g.entered <- struct{}{}
	<-g.open
	return nil
}

// running is a follower or leader with the means to end it.
type running struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed
}

func (r *running) stop() error {
	r.cancel()
	<-r.done
	return r.err
}

func run(t *testing.T, serve func(context.Context) error) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel, done: make(chan struct{})}
	go func() {
		r.err = serve(ctx)
		close(r.done)
	}()
	t.Cleanup(func() { r.stop() })
	return r
}

// cluster is a leader and its followers in this process. Disk 0 is the leader's.
type cluster struct {
	leader    *Leader
	serving   *running
	followers []*running
	addrs     []string
	disks     []*disk
	log       *logged
}

// logged keeps what was logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}

func testConfig(addrs []string) Config {
	return Config{ListenAddr: "127.0.0.1:0", Followers: addrs, ReplyBytes: echo.DefaultReplyBytes, BatchBytes: 1 << 20, WindowBytes: 4 << 20}
}

func follow(t *testing.T, addr string, batchBytes int, d echo.Appender, log *logged) (*running, string) {
	t.Helper()
	cfg := FollowerConfig{ListenAddr: addr, BatchBytes: batchBytes}
	if log != nil {
		cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	}
	f, err := ListenFollower(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, f.Serve), f.Addr()
}

// start runs a cluster of so many nodes until the test ends. change may alter disks and configuration before.
func start(t *testing.T, nodes int, change func(disks []*disk, cfg *Config)) *cluster {
	t.Helper()
	c := &cluster{log: &logged{}}
	for range nodes {
		c.disks = append(c.disks, &disk{})
	}
	cfg := testConfig(nil)
	cfg.Log = slog.New(slog.NewTextHandler(c.log, nil))
	if change != nil {
		change(c.disks, &cfg)
	}
	for _, d := range c.disks[1:] {
		r, addr := follow(t, "127.0.0.1:0", cfg.BatchBytes, d, nil)
		c.followers, c.addrs = append(c.followers, r), append(c.addrs, addr)
	}
	cfg.Followers = c.addrs
	l, err := Listen(t.Context(), cfg, c.disks[0])
	if err != nil {
		t.Fatal(err)
	}
	c.leader = l
	c.serving = run(t, l.Serve)
	return c
}

// look runs f while the leader stands still.
func (c *cluster) look(f func(l *Leader) bool) bool { return look(c.leader, f) }

func look(l *Leader, f func(l *Leader) bool) (is bool) {
	done := make(chan struct{})
	block := l.work(nil, func() {
		is = f(l)
		close(done)
	})
	if block != nil { // somebody must write it, and the disk may be at a gate
		l.dials.Go(func() { l.write(block) })
	}
	<-done
	return is
}

// until waits for a condition that no channel tells of.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func dialClient(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(deadline))
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func (c *cluster) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	return dialClient(t, c.leader.Addr())
}

// frame builds a request of size bytes in all with random content behind the correlation id.
func frame(rng *rand.Rand, id uint32, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	binary.BigEndian.PutUint32(b, uint32(size-4))
	binary.BigEndian.PutUint32(b[8:], id)
	return b
}

// expect reads one answer and checks all of its bytes.
func expect(t *testing.T, c io.Reader, id uint32) {
	t.Helper()
	got := make([]byte, echo.DefaultReplyBytes)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("answer %d: %v", id, err)
	}
	want := make([]byte, len(got))
	binary.BigEndian.PutUint32(want, uint32(len(want)-4))
	binary.BigEndian.PutUint32(want[4:], id)
	if !bytes.Equal(got, want) {
		t.Fatalf("answer %d is % x, want % x", id, got, want)
	}
}

// ask sends one request and waits for its answer.
func ask(t *testing.T, c io.ReadWriter, id uint32) {
	t.Helper()
	if _, err := c.Write(frame(rand.New(rand.NewPCG(uint64(id), 1)), id, 300)); err != nil {
		t.Fatal(err)
	}
	expect(t, c, id)
}

// closed waits for the connection's end and wants no byte before it.
func closed(t *testing.T, c net.Conn, when string) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	if timeout, ok := err.(net.Error); n != 0 || err == nil || ok && timeout.Timeout() {
		t.Errorf("%s: read %d bytes, %v, want a closed connection and no answer", when, n, err)
	}
}

// unanswered fails when a byte has arrived at c.
func unanswered(t *testing.T, c *net.TCPConn, when string) {
	t.Helper()
	if n := arrived(t, c); n != 0 {
		t.Errorf("%d bytes of an answer %s", n, when)
	}
}
