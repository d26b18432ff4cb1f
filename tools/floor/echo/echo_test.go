package echo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const deadline = 60 * time.Second

// memory is an Appender that keeps every block and calls hook, if there is one, before it counts as durable.
type memory struct {
	hook func(block []byte) error

	mu     sync.Mutex // guards blocks
	blocks [][]byte
}

func (m *memory) Append(b []byte) error {
	m.mu.Lock()
	m.blocks = append(m.blocks, bytes.Clone(b))
	m.mu.Unlock()
	if m.hook != nil {
		return m.hook(b)
	}
	return nil
}

// image is what a ring file would hold.
func (m *memory) image() *bytes.Reader {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.NewReader(bytes.Join(m.blocks, nil))
}

func (m *memory) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.blocks)
}

// start runs a server until the test ends and returns it with a channel that holds Serve's result.
func start(t *testing.T, cfg Config, disk Appender) (*Server, <-chan error) {
	t.Helper()
	if cfg.ListenAddr == "" {
		cfg.ListenAddr = "127.0.0.1:0"
	}
	if cfg.ReplyBytes == 0 {
		cfg.ReplyBytes = DefaultReplyBytes
	}
	if cfg.BatchBytes == 0 {
		cfg.BatchBytes = DefaultBatchBytes
	}
	s, err := Listen(cfg, disk)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, ended := make(chan error, 1), make(chan struct{})
	go func() {
		done <- s.Serve(ctx)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return s, done
}

func dial(t *testing.T, s *Server) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(deadline))
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
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
func expect(t *testing.T, c io.Reader, id uint32, size int) {
	t.Helper()
	got := make([]byte, size)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("answer %d: %v", id, err)
	}
	want := make([]byte, size)
	binary.BigEndian.PutUint32(want, uint32(size-4))
	binary.BigEndian.PutUint32(want[4:], id)
	if !bytes.Equal(got, want) {
		t.Fatalf("answer %d is % x, want % x", id, got, want)
	}
}

func TestEveryFrameIsWrittenAndAnswered(t *testing.T) {
	disk := &memory{}
	s, _ := start(t, Config{BatchBytes: 1 << 20, ReplyBytes: 61}, disk)
	var mu sync.Mutex
	var sent [][][]byte
	var wg sync.WaitGroup
	for client := range 8 {
		c := dial(t, s)
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(client), 1))
			var all [][]byte
			for round := range 20 {
				var out []byte
				n := 1 + rng.IntN(30)
				for i := range n {
					f := frame(rng, uint32(client<<16|round<<8|i), frameHead+rng.IntN(5000))
					if rng.IntN(50) == 0 { // larger than the first read buffer
						f = frame(rng, uint32(client<<16|round<<8|i), 200_000)
					}
					all, out = append(all, f), append(out, f...)
				}
				go func() {
					for len(out) > 0 { // in pieces, so that frames arrive cut anywhere
						k := min(len(out), 1+rng.IntN(3000))
						if _, err := c.Write(out[:k]); err != nil {
							return // the reader below reports it
						}
						out = out[k:]
					}
				}()
				for i := range n {
					expect(t, c, uint32(client<<16|round<<8|i), 61)
				}
			}
			mu.Lock()
			sent = append(sent, all)
			mu.Unlock()
		})
	}
	wg.Wait()
	written := map[uint32][]byte{}
	last := map[uint32]uint32{}
	image := disk.image()
	sum, err := Verify(image, image.Size(), func(h Header, f []byte) error {
		id := binary.BigEndian.Uint32(f[8:])
		if prev, ok := last[id>>16]; ok && id <= prev {
			return fmt.Errorf("client %d: request %x after %x", id>>16, id, prev)
		}
		last[id>>16] = id
		written[id] = bytes.Clone(f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, all := range sent {
		total += len(all)
		for _, f := range all {
			if id := binary.BigEndian.Uint32(f[8:]); !bytes.Equal(written[id], f) {
				t.Fatalf("request %x was not written as it was sent", id)
			}
		}
	}
	if sum.Frames != total || sum.First != 1 || sum.Last != uint64(sum.Blocks) {
		t.Errorf("verify says %+v, want %d frames and a sequence without gaps", sum, total)
	}
}

// The answer may only follow the sync: while a block is being written, the client's socket must be empty.
func TestNoAnswerBeforeTheSync(t *testing.T) {
	var socket atomic.Pointer[syscall.RawConn]
	disk := &memory{}
	disk.hook = func([]byte) error {
		return (*socket.Load()).Control(func(fd uintptr) {
			if n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ); err != nil || n != 0 {
				t.Errorf("%d bytes of an answer arrived before the sync (%v)", n, err)
			}
		})
	}
	s, _ := start(t, Config{}, disk)
	client := dial(t, s)
	raw, err := client.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	socket.Store(&raw)
	rng := rand.New(rand.NewPCG(1, 2))
	for id := range uint32(50) {
		client.Write(frame(rng, id, 1100))
		expect(t, client, id, DefaultReplyBytes)
	}
	if disk.count() != 50 {
		t.Errorf("%d blocks for 50 requests one at a time, want 50", disk.count())
	}
}

// What arrives during one sync goes with the next, all of it.
func TestNaturalBatching(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 100)
	disk := &memory{hook: func([]byte) error { entered <- struct{}{}; <-release; return nil }}
	s, _ := start(t, Config{}, disk)
	rng := rand.New(rand.NewPCG(3, 4))
	first := dial(t, s)
	conns := make([]*net.TCPConn, 8)
	for i := range conns { // a round trip each proves that they are accepted
		conns[i] = dial(t, s)
		conns[i].Write(frame(rng, 7, 100))
		<-entered
		release <- struct{}{}
		expect(t, conns[i], 7, DefaultReplyBytes)
	}
	before := disk.count()
	first.Write(frame(rng, 0, 100))
	<-entered
	for i, c := range conns {
		for k := range uint32(32) {
			c.Write(frame(rng, uint32(i)*100+k, 1100))
		}
	}
	close(release)
	expect(t, first, 0, DefaultReplyBytes)
	for i, c := range conns {
		for k := range uint32(32) {
			expect(t, c, uint32(i)*100+k, DefaultReplyBytes)
		}
	}
	// 256 × 1100 bytes fit into one block; a second one is allowed for loopback segments still under way.
	if got := disk.count() - before; got > 3 {
		t.Errorf("%d blocks, want the first request's and at most two for the 256 that arrived meanwhile", got)
	}
}

// A batch has an end: what does not fit goes next, in order, without another byte from the client.
func TestBatchOverflow(t *testing.T) {
	disk := &memory{}
	s, _ := start(t, Config{BatchBytes: 2 * BlockSize}, disk)
	c := dial(t, s)
	rng := rand.New(rand.NewPCG(5, 6))
	var out []byte
	for id := range uint32(40) {
		out = append(out, frame(rng, id, 3000)...)
	}
	go c.Write(out)
	for id := range uint32(40) {
		expect(t, c, id, DefaultReplyBytes)
	}
	image := disk.image()
	if sum, err := Verify(image, image.Size(), nil); err != nil || sum.Frames != 40 || sum.Blocks < 20 {
		t.Errorf("verify says %+v, %v, want 40 frames in at least 20 blocks", sum, err)
	}
}

func TestFramesThatCannotBeRightCloseTheConnection(t *testing.T) {
	s, _ := start(t, Config{BatchBytes: 2 * BlockSize}, &memory{})
	good := dial(t, s)
	rng := rand.New(rand.NewPCG(7, 8))
	for _, length := range []uint32{0, frameHead - 5, 2*BlockSize - HeaderBytes - 3, 1 << 31, 0xffffffff} {
		bad := dial(t, s)
		head := frame(rng, 1, 12)
		binary.BigEndian.PutUint32(head, length)
		bad.Write(head)
		if n, err := bad.Read(make([]byte, 1)); n != 0 || (!errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET)) {
			t.Errorf("length %d: read %d bytes, %v, want a closed connection", length, n, err)
		}
	}
	good.Write(frame(rng, 9, 2*BlockSize-HeaderBytes))
	expect(t, good, 9, DefaultReplyBytes)
}

func TestDiskErrorEndsWithoutAnAnswer(t *testing.T) {
	broken := errors.New("input/output error")
	s, done := start(t, Config{}, &memory{hook: func([]byte) error { return broken }})
	c := dial(t, s)
	c.Write(frame(rand.New(rand.NewPCG(1, 1)), 1, 100))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v, want a closed connection and no answer", n, err)
	}
	if err := <-done; !errors.Is(err, broken) || !strings.Contains(err.Error(), "block 1") {
		t.Errorf("Serve returned %v, want the disk's error and the block", err)
	}
}

// A client that does not read its answers stalls only itself, and loses nothing.
func TestSlowReader(t *testing.T) {
	s, _ := start(t, Config{ReplyBytes: 64 << 10}, nil)
	slow, quick := dial(t, s), dial(t, s)
	rng := rand.New(rand.NewPCG(2, 2))
	const n = 400 // 25 MiB of answers: more than any socket buffer
	wrote := make(chan error, 1)
	var out []byte
	for id := range uint32(n) {
		out = append(out, frame(rng, id, 64)...)
	}
	go func() { _, err := slow.Write(out); wrote <- err }()
	for id := range uint32(20) {
		quick.Write(frame(rng, id, 64))
		expect(t, quick, id, 64<<10)
	}
	for id := range uint32(n) {
		expect(t, slow, id, 64<<10)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	s, err := Listen(Config{ListenAddr: "[::1]:0", ReplyBytes: 8, BatchBytes: BlockSize}, nil)
	if err != nil {
		if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT) {
			t.Skip("needs ipv6: no loopback address")
		}
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx) }()
	c := dial(t, s)
	c.Write(frame(rand.New(rand.NewPCG(1, 1)), 5, 100))
	expect(t, c, 5, 8)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve returned %v, want nil", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
	if st := s.Stats(); st.Requests != 1 || st.Bytes != 100 || st.Syncs != 0 {
		t.Errorf("counted %+v, want one request of 100 bytes and no sync", st)
	}
}

func TestListenRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"an answer without room for the id": {ListenAddr: "127.0.0.1:0", ReplyBytes: 7, BatchBytes: BlockSize},
		"a batch that is not whole blocks":  {ListenAddr: "127.0.0.1:0", ReplyBytes: 8, BatchBytes: 5000},
		"an empty batch":                    {ListenAddr: "127.0.0.1:0", ReplyBytes: 8},
		"a bad address":                     {ListenAddr: "nowhere", ReplyBytes: 8, BatchBytes: BlockSize},
	} {
		if s, err := Listen(c, nil); err == nil {
			s.release()
			t.Errorf("%s was accepted", name)
		}
	}
}

// One request at a time costs one turn of the loop and no garbage.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	disk := appendFunc(func([]byte) error { return nil })
	s, err := Listen(Config{ListenAddr: "127.0.0.1:0", ReplyBytes: 56, BatchBytes: 1 << 20}, disk)
	if err != nil {
		t.Fatal(err)
	}
	defer s.release()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c := dial(t, s)
	events := make([]unix.EpollEvent, 16)
	request, answer := frame(rand.New(rand.NewPCG(1, 1)), 5, 1100), make([]byte, 56)
	turn := func() {
		before := s.stats.Syncs
		c.Write(request)
		for s.stats.Syncs == before { // the first turn accepts
			if _, err := s.round(events); err != nil {
				t.Fatal(err)
			}
		}
		io.ReadFull(c, answer)
	}
	turn()
	if n := testing.AllocsPerRun(200, turn); n != 0 {
		t.Errorf("%v allocations per request, want 0", n)
	}
}

type appendFunc func([]byte) error

func (f appendFunc) Append(b []byte) error { return f(b) }

func TestHeaderOffsets(t *testing.T) {
	got := bytes.Repeat([]byte{0}, HeaderBytes)
	PutHeader(got, Header{Sequence: 0x0102030405060708, PayloadLen: 0x11121314, Frames: 0x21222324})
	want := []byte("ACKFLOOR\x08\x07\x06\x05\x04\x03\x02\x01\x14\x13\x12\x11\x24\x23\x22\x21\x00\x00\x00\x00\x00\x00\x00\x00")
	if !bytes.Equal(got, want) {
		t.Errorf("header is\n% x, want\n% x", got, want)
	}
	if h, err := ParseHeader(got); err != nil || h.Sequence != 0x0102030405060708 || h.PayloadLen != 0x11121314 || h.Frames != 0x21222324 {
		t.Errorf("parsed %+v, %v", h, err)
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	disk := &memory{}
	s, _ := start(t, Config{}, disk)
	c := dial(t, s)
	rng := rand.New(rand.NewPCG(9, 9))
	for id := range uint32(3) {
		c.Write(frame(rng, id, 1000))
		expect(t, c, id, DefaultReplyBytes)
	}
	whole, _ := io.ReadAll(disk.image())
	for name, spoil := range map[string]func(b []byte){
		"a frame's length":  func(b []byte) { b[BlockSize+HeaderBytes+3]++ },
		"the payload's":     func(b []byte) { b[BlockSize+offPayloadLen]-- },
		"the frame count":   func(b []byte) { b[BlockSize+offFrames]++ },
		"a payload too big": func(b []byte) { b[2*BlockSize+offPayloadLen+2] = 1 },
	} {
		b := bytes.Clone(whole)
		spoil(b)
		if _, err := Verify(bytes.NewReader(b), int64(len(b)), nil); err == nil || !strings.Contains(err.Error(), "position") {
			t.Errorf("%s: %v, want an error with the position", name, err)
		}
	}
	clear(whole[:BlockSize]) // never written, or not whole any more
	if sum, err := Verify(bytes.NewReader(whole), int64(len(whole)), nil); err != nil || sum.Blocks != 2 || sum.First != 2 {
		t.Errorf("%+v, %v, want blocks 2 and 3", sum, err)
	}
}
