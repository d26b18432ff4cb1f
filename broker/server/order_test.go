package server

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// completeAnyhow completes requests on several goroutines, in random order and by every means there is. Bodies are
// echoed; a body that begins with '-' gets no reply.
type completeAnyhow struct {
	in chan *Request
	wg sync.WaitGroup
}

func newCompleteAnyhow(goroutines int) *completeAnyhow {
	h := &completeAnyhow{in: make(chan *Request, 64)}
	for i := range goroutines {
		h.wg.Add(1)
		go h.run(rand.New(rand.NewPCG(1, uint64(i))))
	}
	return h
}

func (h *completeAnyhow) Serve(r *Request) { h.in <- r }
func (h *completeAnyhow) Flush(*Conn)      {}

func (h *completeAnyhow) run(rng *rand.Rand) {
	defer h.wg.Done()
	var held []*Request
	var k Corker
	for r := range h.in {
		held = h.more(append(held, r))
		rng.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
		for _, r := range held {
			h.complete(rng, &k, r)
		}
		k.Flush()
		held = held[:0]
	}
}

// more adds what is there, without waiting: what is held may be what others wait for.
func (h *completeAnyhow) more(held []*Request) []*Request {
	for len(held) < 8 {
		select {
		case r, ok := <-h.in:
			if !ok {
				return held
			}
			held = append(held, r)
		default:
			return held
		}
	}
	return held
}

func (h *completeAnyhow) complete(rng *rand.Rand, k *Corker, r *Request) {
	if b := r.Header.Body; len(b) > 0 && b[0] == '-' {
		r.Discard()
		return
	}
	reply(r, r.Header.Body)
	switch rng.IntN(3) {
	case 0:
		r.Reply()
	case 1:
		k.Complete(r)
	default:
		if c := r.Complete(); c != nil {
			c.Flush()
		}
	}
}

// exchange pipelines n requests on each of several connections, and checks that the replies are right and in order.
func exchange(t *testing.T, dial func() net.Conn, conns, n int) {
	var wg sync.WaitGroup
	for i := range conns {
		c := dial()
		rng := rand.New(rand.NewPCG(2, uint64(i)))
		bodies := make([][]byte, n)
		for j := range bodies {
			size := rng.IntN(300)
			if rng.IntN(20) == 0 {
				size = rng.IntN(200 << 10)
			}
			bodies[j] = bytes.Repeat([]byte{"-abc"[rng.IntN(4)]}, size)
		}
		wg.Add(2)
		go func() {
			defer wg.Done()
			var out []byte
			for j, b := range bodies {
				out = append(out, frame(int32(j), b)...)
				if rng.IntN(5) == 0 || j == n-1 {
					write(t, c, out)
					out = out[:0]
				}
			}
		}()
		go func() {
			defer wg.Done()
			for j, want := range bodies {
				if len(want) > 0 && want[0] == '-' {
					continue
				}
				if got, b := readReply(t, c); got != int32(j) || !bytes.Equal(b, want) {
					t.Errorf("connection %d: reply %d with %d bytes, want %d with %d", i, got, len(b), j, len(want))
					return
				}
			}
		}()
	}
	wg.Wait()
}

func TestRepliesKeepTheOrderOfRequests(t *testing.T) {
	h := newCompleteAnyhow(4)
	f := start(t, Config{MaxPipeline: 50}, h)
	exchange(t, f.dial, 6, 800)
	f.end()
	close(h.in)
	h.wg.Wait()
}

// TestOrderUnderPressure makes every limit bite at once.
func TestOrderUnderPressure(t *testing.T) {
	h := newCompleteAnyhow(4)
	f := start(t, Config{MaxPipeline: 5, MaxQueuedReplyBytes: 1000, ReadBufferBytes: 512, MaxFrameBytes: 256 << 10,
		MaxInflightBytes: 300 << 10}, h)
	exchange(t, f.dial, 6, 300)
	if f.Counters.MemoryWaits.Load() == 0 || f.Counters.PipelineWaits.Load() == 0 {
		t.Errorf("%d waits for memory, %d for the pipeline: no pressure",
			f.Counters.MemoryWaits.Load(), f.Counters.PipelineWaits.Load())
	}
	f.end()
	close(h.in)
	h.wg.Wait()
}

func TestOrderOverTLS(t *testing.T) {
	borrowed := httptest.NewTLSServer(nil) // for its certificate
	defer borrowed.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := newCompleteAnyhow(2)
	f := startOn(t, Config{}, h, tls.NewListener(ln, borrowed.TLS))
	exchange(t, func() net.Conn {
		c := tls.Client(f.dial(), &tls.Config{InsecureSkipVerify: true})
		t.Cleanup(func() { c.Close() })
		return c
	}, 3, 200)
	if f.Counters.Writes.Load() != 0 || f.Counters.WriterStarts.Load() == 0 {
		t.Errorf("%d direct writes, %d writer goroutines", f.Counters.Writes.Load(), f.Counters.WriterStarts.Load())
	}
	for _, c := range f.list(nil) {
		c.Close()
	}
	f.end()
	close(h.in)
	h.wg.Wait()
}

func TestOneAtATimeIsOneWriteByTheCompleter(t *testing.T) {
	flushes := 0
	f := start(t, Config{}, funcs{echo, func(*Conn) { flushes++ }})
	c := f.dial()
	for i := range int32(100) {
		roundTrip(t, c, i, "hello")
	}
	f.end()
	n := &f.Counters
	if n.Requests.Load() != 100 || n.Replies.Load() != 100 || n.Writes.Load() != 100 || n.WriterStarts.Load() != 0 ||
		n.ShortWrites.Load() != 0 || flushes != 100 {
		t.Errorf("%d requests, %d replies, %d writes, %d writers, %d flushes", n.Requests.Load(), n.Replies.Load(),
			n.Writes.Load(), n.WriterStarts.Load(), flushes)
	}
	if in, out := n.BytesIn.Load(), n.BytesOut.Load(); in != uint64(100*len(frame(0, []byte("hello")))) || out != 100*13 {
		t.Errorf("%d bytes in, %d out", in, out)
	}
}

// TestOneReadOneFlushOneWrite: what one read brings is announced once, and what a Corker completes costs one write
// per connection.
func TestOneReadOneFlushOneWrite(t *testing.T) {
	first, rest := make(chan struct{}), make(chan struct{})
	var held []*Request
	var flushed []int
	var k Corker
	f := start(t, Config{}, funcs{
		serve: func(r *Request) {
			if r.Header.Correlation == 0 {
				close(first)
				<-rest
			}
			held = append(held, r)
		},
		flush: func(*Conn) {
			flushed = append(flushed, len(held))
			for i := range held { // the last first
				r := held[len(held)-1-i]
				reply(r, nil)
				k.Complete(r)
			}
			held = held[:0]
			k.Flush()
		},
	})
	c := f.dial()
	write(t, c, frame(0, nil))
	<-first
	var all []byte
	for i := range int32(30) {
		all = append(all, frame(i+1, []byte(strings.Repeat("x", 1000)))...)
	}
	write(t, c, all)
	f.arrived(f.only(), len(all))
	close(rest)
	for i := range int32(31) {
		if n, _ := readReply(t, c); n != i {
			t.Fatalf("reply %d, want %d", n, i)
		}
	}
	f.end()
	if len(flushed) != 2 || flushed[0] != 1 || flushed[1] != 30 {
		t.Errorf("requests per flush: %v, want [1 30]", flushed)
	}
	if n := f.Counters.Writes.Load(); n != 2 {
		t.Errorf("%d writes, want 2", n)
	}
}

// TestWaitingReadersFlushFirst: a handler that completes in Flush must be flushed before the reader waits for what
// those completions free.
func TestWaitingReadersFlushFirst(t *testing.T) {
	for name, cfg := range map[string]Config{
		"pipeline": {MaxPipeline: 3},
		"memory":   {MaxFrameBytes: 4 << 10, MaxInflightBytes: 3*(1000+requestOverhead) + 4<<10},
	} {
		t.Run(name, func(t *testing.T) {
			first, rest := make(chan struct{}), make(chan struct{})
			var held []*Request
			f := start(t, cfg, funcs{
				serve: func(r *Request) {
					if r.Header.Correlation == 0 {
						close(first)
						<-rest
					}
					held = append(held, r)
				},
				flush: func(*Conn) {
					for _, r := range held {
						echo(r)
					}
					held = held[:0]
				},
			})
			c := f.dial()
			write(t, c, frame(0, nil))
			<-first
			all := bytes.Repeat(frame(7, make([]byte, 1000)), 20)
			write(t, c, all)
			f.arrived(f.only(), len(all))
			close(rest)
			c.SetReadDeadline(time.Now().Add(patience))
			for range 21 {
				readReply(t, c)
			}
			if f.Counters.PipelineWaits.Load()+f.Counters.MemoryWaits.Load() == 0 {
				t.Error("the reader never waited: the test shows nothing")
			}
		})
	}
}

// TestCompleteSaysWhetherToFlush: only what can be sent is worth a Flush.
func TestCompleteSaysWhetherToFlush(t *testing.T) {
	hold := make(chan *Request, 2)
	f := start(t, Config{}, funcs{serve: func(r *Request) { hold <- r }})
	c := f.dial()
	write(t, c, append(frame(1, nil), frame(2, nil)...))
	first, second := <-hold, <-hold
	reply(second, nil)
	reply(first, nil)
	if second.Complete() != nil {
		t.Error("there is nothing to flush behind a request that is not complete")
	}
	conn := first.Complete()
	if conn == nil {
		t.Fatal("two replies are ready")
	}
	conn.Flush()
	for want := range int32(2) {
		if n, _ := readReply(t, c); n != want+1 {
			t.Errorf("reply %d, want %d", n, want+1)
		}
	}
}

// TestCorkerSpansConnections: many requests of many connections, one write each.
func TestCorkerSpansConnections(t *testing.T) {
	const conns, each = 5, 7
	got := make(chan *Request, conns*each)
	f := start(t, Config{}, funcs{serve: func(r *Request) { got <- r }})
	clients := make([]net.Conn, conns)
	for i := range clients {
		clients[i] = f.dial()
		for j := range int32(each) {
			write(t, clients[i], frame(j, nil))
		}
	}
	var k Corker
	for range conns * each {
		r := <-got
		reply(r, nil)
		k.Complete(r)
	}
	if len(k.conns) != conns {
		t.Errorf("%d connections are listed, want %d", len(k.conns), conns)
	}
	if n := f.Counters.Writes.Load(); n != 0 {
		t.Errorf("%d writes before Flush", n)
	}
	k.Flush()
	for _, c := range clients {
		for j := range int32(each) {
			if n, _ := readReply(t, c); n != j {
				t.Fatalf("reply %d, want %d", n, j)
			}
		}
	}
	if n := f.Counters.Writes.Load(); n != conns {
		t.Errorf("%d writes, want %d", n, conns)
	}
}

func TestLargeReplies(t *testing.T) {
	f := start(t, Config{}, funcs{serve: func(r *Request) {
		reply(r, bytes.Repeat([]byte("0123456789"), int(binary.BigEndian.Uint32(r.Header.Body))/10))
		r.Reply()
	}})
	c := f.dial()
	sizes := []int{30 << 20, 10, 5 << 20, 40_000, 20, 200_000}
	for i, n := range sizes {
		write(t, c, frame(int32(i), binary.BigEndian.AppendUint32(nil, uint32(n))))
	}
	for i, n := range sizes {
		got, body := readReply(t, c)
		if got != int32(i) || !bytes.Equal(body, bytes.Repeat([]byte("0123456789"), n/10)) {
			t.Fatalf("reply %d of %d bytes, want %d of %d", got, len(body), i, n)
		}
	}
	if f.Counters.ShortWrites.Load() == 0 {
		t.Error("30 MiB fitted the socket: the test shows nothing")
	}
}

func TestLargeRequests(t *testing.T) {
	f := start(t, Config{MaxFrameBytes: 32 << 20, MaxInflightBytes: 100 << 20}, funcs{serve: echo})
	c := f.dial()
	go func() {
		for i, n := range []int{20 << 20, 3, 1 << 20, 65 << 10, 64<<10 - 20, 5 << 20} {
			c.Write(frame(int32(i), bytes.Repeat([]byte{byte('a' + i)}, n)))
		}
	}()
	for i, n := range []int{20 << 20, 3, 1 << 20, 65 << 10, 64<<10 - 20, 5 << 20} {
		got, body := readReply(t, c)
		if got != int32(i) || !bytes.Equal(body, bytes.Repeat([]byte{byte('a' + i)}, n)) {
			t.Fatalf("reply %d of %d bytes, want %d of %d", got, len(body), i, n)
		}
	}
}
