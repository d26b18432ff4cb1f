package quorum

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"ackline/tools/floor/echo"
)

// arrived is how many bytes wait in c's socket.
func arrived(t *testing.T, c *net.TCPConn) (n int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var e error
	if err := raw.Control(func(fd uintptr) { n, e = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); err != nil || e != nil {
		t.Fatal(err, e)
	}
	return n
}

// uneven is a hook that takes its time, another one each time, without a clock.
func uneven(seed uint64) func() error {
	rng := rand.New(rand.NewPCG(seed, 3)) // a disk has one writer at a time
	return func() error {
		for range rng.IntN(40) {
			runtime.Gosched()
		}
		return nil
	}
}

// What the floor promises: when an answer is here, a majority has the request on its disk. Requests come pipelined and
// cut anywhere, the answers in order, and every copy is a file that verifies.
func TestAnAnswerMeansThatAMajorityHasIt(t *testing.T) {
	for _, nodes := range []int{2, 3, 5} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			c := start(t, nodes, func(disks []*disk, _ *Config) {
				for i, d := range disks {
					d.hook = uneven(uint64(i))
				}
			})
			var wg sync.WaitGroup
			for client := range 8 {
				conn := c.dial(t)
				wg.Go(func() { pipelined(t, conn, c.disks, client) })
			}
			wg.Wait()
			if err := c.serving.stop(); err != nil {
				t.Fatal(err)
			}
			frames := 0
			for i, d := range c.disks {
				if i > 0 {
					c.followers[i-1].stop()
				}
				image := d.image()
				sum, err := echo.Verify(image, image.Size(), nil)
				if err != nil {
					t.Errorf("node %d: %v", i, err)
				}
				frames += sum.Frames
			}
			if st := c.leader.Stats(); int64(frames) < int64(Majority(nodes-1))*st.Requests || st.Refused+st.Lost+st.Skipped != 0 {
				t.Errorf("%d frames on %d nodes, %+v", frames, nodes, st)
			}
		})
	}
}

// pipelined sends rounds of requests and checks the copies at each answer.
func pipelined(t *testing.T, conn net.Conn, disks []*disk, client int) {
	rng := rand.New(rand.NewPCG(uint64(client), 1))
	for round := range 10 {
		var out []byte
		n := 1 + rng.IntN(30)
		for i := range n {
			size := frameHead + rng.IntN(5000)
			if rng.IntN(50) == 0 { // larger than the first read buffer
				size = 200_000
			}
			out = append(out, frame(rng, uint32(client<<16|round<<8|i), size)...)
		}
		go func(rng *rand.Rand) {
			for len(out) > 0 { // in pieces, so that frames arrive cut anywhere
				k := min(len(out), 1+rng.IntN(3000))
				if _, err := conn.Write(out[:k]); err != nil {
					return // the reader below reports it
				}
				out = out[k:]
			}
		}(rand.New(rand.NewPCG(uint64(client), uint64(round))))
		for i := range n {
			id := uint32(client<<16 | round<<8 | i)
			answer := make([]byte, echo.DefaultReplyBytes)
			if _, err := conn.Read(answer[:0]); err != nil {
				t.Error(err)
				return
			}
			if _, err := readFull(conn, answer); err != nil {
				t.Errorf("answer %x: %v", id, err)
				return
			}
			if got := binary.BigEndian.Uint32(answer[4:]); got != id {
				t.Errorf("answer %x, want %x", got, id)
				return
			}
			if got := copies(disks, id); got < Majority(len(disks)-1) {
				t.Errorf("request %x was answered with %d durable copies of %d", id, got, len(disks))
				return
			}
		}
	}
}

func readFull(c net.Conn, b []byte) (int, error) {
	for n := 0; n < len(b); {
		k, err := c.Read(b[n:])
		if n += k; err != nil {
			return n, err
		}
	}
	return len(b), nil
}

// Whichever copies stand still, the others answer as long as they are a majority, the leader's own disk included.
func TestAMinorityThatStandsStillDelaysNothing(t *testing.T) {
	for _, c := range []struct {
		nodes int
		still []int // 0 is the leader's own disk
	}{{3, []int{0}}, {3, []int{1}}, {3, []int{2}}, {5, []int{0, 1}}, {5, []int{2, 4}}} {
		t.Run(fmt.Sprintf("%d of %v", c.still, c.nodes), func(t *testing.T) {
			g := newGate()
			cluster := start(t, c.nodes, func(disks []*disk, _ *Config) {
				for _, i := range c.still {
					disks[i].hook = g.hook
				}
			})
			defer close(g.open)
			conn := cluster.dial(t)
			for id := range uint32(200) {
				ask(t, conn, id)
			}
			for _, i := range c.still {
				if got := cluster.disks[i].image().Size(); got != 0 {
					t.Errorf("the disk that stands still has %d bytes", got)
				}
			}
		})
	}
}

// One copy too many stands still: no answer, until one of them moves.
func TestAMajorityThatStandsStillDelays(t *testing.T) {
	for _, c := range []struct {
		nodes int
		still []int
	}{{3, []int{1, 2}}, {3, []int{0, 2}}, {5, []int{1, 2, 3}}, {5, []int{0, 3, 4}}} {
		t.Run(fmt.Sprintf("%d of %v", c.still, c.nodes), func(t *testing.T) {
			gates := map[int]*gate{}
			cluster := start(t, c.nodes, func(disks []*disk, _ *Config) {
				for _, i := range c.still {
					gates[i] = newGate()
					disks[i].hook = gates[i].hook
				}
			})
			conn := cluster.dial(t)
			conn.Write(frame(rand.New(rand.NewPCG(1, 1)), 7, 500))
			for _, g := range gates {
				<-g.entered
			}
			// Everything that can happen has: the copies that move are durable and counted, the others are at their gates.
			until(t, "the copies that move are counted", func() bool {
				return cluster.look(func(l *Leader) bool {
					return l.pending.len() == 1 && onesCount((*l.pending.at(0)).durable) == c.nodes-len(c.still)
				})
			})
			unanswered(t, conn, "although a majority stands still")
			close(gates[c.still[0]].open)
			expect(t, conn, 7)
			for _, i := range c.still[1:] {
				close(gates[i].open)
			}
		})
	}
}

func onesCount(set uint32) (n int) {
	for ; set != 0; set &= set - 1 {
		n++
	}
	return n
}

// The leader forwards what it reads without waiting for an acknowledgement of what it has forwarded, nor for its own disk.
func TestForwardingIsPipelined(t *testing.T) {
	gates := []*gate{newGate(), newGate(), newGate()}
	c := start(t, 3, func(disks []*disk, _ *Config) {
		for i, d := range disks {
			d.hook = gates[i].hook
		}
	})
	const clients, each = 8, 32
	rng := rand.New(rand.NewPCG(4, 4))
	var conns []*net.TCPConn
	for i := range clients {
		conn := c.dial(t)
		conns = append(conns, conn)
		for k := range each {
			conn.Write(frame(rng, uint32(i<<8|k), 1100))
		}
		until(t, "the client's requests are forwarded", func() bool {
			return c.look(func(l *Leader) bool {
				return l.stats.Requests == int64((i+1)*each) && l.peers[0].sent == l.peers[0].flight.len() && l.peers[1].sent == l.peers[1].flight.len()
			})
		})
	}
	for _, conn := range conns {
		unanswered(t, conn, "before any disk moved")
	}
	c.look(func(l *Leader) bool {
		if n := l.peers[0].flight.len(); n < clients {
			t.Errorf("%d batches in flight, want at least one of each of %d clients", n, clients)
		}
		return true
	})
	for _, g := range gates {
		close(g.open)
	}
	for i, conn := range conns {
		for k := range each {
			expect(t, conn, uint32(i<<8|k))
		}
	}
	for i, d := range c.disks { // before the end: it would cut off the slower follower
		until(t, "every copy is complete", func() bool { return d.holds(uint32((clients-1)<<8 | (each - 1))) })
		// The first write went alone; all that came during it went with the second, or a third where it was cut.
		d.mu.Lock()
		if n := len(d.blocks); i == 0 && n != 2 || n > 4 {
			t.Errorf("node %d made %d writes, want what came during the first to go together", i, n)
		}
		d.mu.Unlock()
	}
}

// A copy that is a window behind is passed over and does not count for what it was not given; when no majority has room,
// clients are not read, and nothing is lost.
func TestWindow(t *testing.T) {
	gates := []*gate{newGate(), newGate()}
	c := start(t, 3, func(disks []*disk, cfg *Config) {
		disks[1].hook, disks[2].hook = gates[0].hook, gates[1].hook
		cfg.BatchBytes, cfg.WindowBytes = 16<<10, 32<<10
	})
	close(gates[1].open) // follower 2 moves
	conn := c.dial(t)
	const n = 100 // × 4 KiB: many times the window
	rng := rand.New(rand.NewPCG(9, 9))
	for id := range uint32(n) {
		conn.Write(frame(rng, id, 4<<10))
		expect(t, conn, id)
		if !c.disks[2].holds(id) || !c.disks[0].holds(id) {
			t.Fatalf("request %d was answered without follower 2 and the leader, while follower 1 stands still", id)
		}
	}
	if ok := c.look(func(l *Leader) bool { return l.stats.Skipped > 0 && l.peers[0].size <= 32<<10+16<<10 }); !ok {
		t.Error("the follower that stands still was given more than its window")
	}
	close(gates[0].open)
	until(t, "the follower has caught up with what it was given", func() bool { return c.look(func(l *Leader) bool { return l.peers[0].size == 0 }) })
	if copies(c.disks, n-1) != 2 {
		t.Errorf("%d copies of a request that one follower had no room for, want 2", copies(c.disks, n-1))
	}
	ask(t, conn, n)
	until(t, "it is given new requests", func() bool { return c.disks[1].holds(n) })
}

func TestNoRoomAnywhereHoldsTheClients(t *testing.T) {
	g := newGate()
	c := start(t, 3, func(disks []*disk, cfg *Config) {
		disks[1].hook, disks[2].hook = g.hook, g.hook
		cfg.BatchBytes, cfg.WindowBytes = 16<<10, 32<<10
	})
	conn := c.dial(t)
	const n = 400 // × 4 KiB
	rng := rand.New(rand.NewPCG(9, 9))
	var out []byte
	for id := range uint32(n) {
		out = append(out, frame(rng, id, 4<<10)...)
	}
	go conn.Write(out)
	until(t, "the client is held", func() bool { return c.look(func(l *Leader) bool { return len(l.held) == 1 }) })
	c.look(func(l *Leader) bool {
		for _, k := range l.peers {
			if k.size > 32<<10+16<<10 {
				t.Errorf("%d bytes in flight with a window of %d", k.size, 32<<10)
			}
		}
		if l.stats.Requests > 12 {
			t.Errorf("%d requests of 4 KiB were taken with a window of %d bytes", l.stats.Requests, 32<<10)
		}
		return true
	})
	close(g.open)
	for id := range uint32(n) {
		expect(t, conn, id)
	}
}

// A lost follower costs nothing while there is a majority. Without one, clients are disconnected. One that comes back
// counts again.
func TestLostFollowers(t *testing.T) {
	c := start(t, 3, nil)
	conn := c.dial(t)
	ask(t, conn, 1)
	c.followers[0].stop()
	until(t, "the leader knows", func() bool { return c.look(func(l *Leader) bool { return l.alive() == 2 }) })
	for id := uint32(2); id < 50; id++ {
		ask(t, conn, id)
	}
	c.followers[1].stop()
	until(t, "the leader knows", func() bool { return c.look(func(l *Leader) bool { return l.alive() == 1 }) })
	conn.Write(frame(rand.New(rand.NewPCG(1, 1)), 99, 100))
	closed(t, conn, "a request without a majority")
	if !c.log.has("and with it the majority") {
		t.Errorf("the log does not say that the majority is lost:\n%s", c.log.text.String())
	}
	back := &disk{}
	follow(t, c.addrs[1], 1<<20, back, nil)
	until(t, "it is back", func() bool { return c.look(func(l *Leader) bool { return l.alive() == 2 }) })
	conn = c.dial(t)
	ask(t, conn, 100)
	if !back.holds(100) || back.holds(99) {
		t.Error("the follower that came back does not have what was answered since, or has what was refused")
	}
	if err := c.serving.stop(); err != nil {
		t.Error(err)
	}
	if st := c.leader.Stats(); st.Lost != 1 || st.Reconnects != 1 || st.Requests != 50 {
		t.Errorf("counted %+v, want 50 requests, one client lost and one follower back", st)
	}
}

// A follower that comes back does not count for what it was given before and never acknowledged: it may not have it.
func TestComingBackDoesNotCountForThePast(t *testing.T) {
	gates := []*gate{newGate(), newGate()}
	c := start(t, 3, func(disks []*disk, _ *Config) {
		disks[1].hook = gates[0].hook
		disks[2].hook = gates[1].hook
	})
	conn := c.dial(t)
	conn.Write(frame(rand.New(rand.NewPCG(1, 1)), 1, 100))
	<-gates[0].entered
	<-gates[1].entered
	// The old follower ends when its write does, and cannot acknowledge. It may still greet whoever dials before that, so
	// nobody does: the leader would take it for the one that is back.
	var redial func(*peer)
	c.look(func(l *Leader) bool {
		redial, l.redial = l.redial, func(*peer) {}
		l.lose(l.peers[0], errors.New("cut by the test"))
		return true
	})
	c.followers[0].cancel()
	close(gates[0].open)
	<-c.followers[0].done
	back := &disk{}
	follow(t, c.addrs[0], 1<<20, back, nil)
	c.look(func(l *Leader) bool {
		l.redial = redial
		redial(l.peers[0])
		return true
	})
	until(t, "it is back", func() bool { return c.look(func(l *Leader) bool { return l.alive() == 3 }) })
	other := c.dial(t)
	other.Write(frame(rand.New(rand.NewPCG(2, 1)), 2, 100))
	until(t, "the second request has its majority", func() bool {
		return c.look(func(l *Leader) bool { return l.pending.len() == 2 && onesCount((*l.pending.at(1)).durable) == 2 })
	})
	unanswered(t, conn, "although one copy alone is known")
	unanswered(t, other, "before the request in front of it")
	close(gates[1].open)
	expect(t, conn, 1)
	expect(t, other, 2)
	if back.holds(1) {
		t.Error("the follower that came back has a request from before")
	}
}

// Events without end do not keep the disk waiting: whoever has a block leaves the rest to the other thread.
func TestTheDiskIsNotStarvedByEvents(t *testing.T) {
	g := newGate() // so that every answer needs the leader's own copy
	defer close(g.open)
	c := start(t, 3, func(disks []*disk, _ *Config) { disks[1].hook = g.hook })
	conn := c.dial(t)
	ask(t, conn, 0)
	var storm atomic.Bool
	storm.Store(true)
	var another func()
	another = func() {
		if storm.Load() {
			c.leader.mu.Lock()
			c.leader.tray = append(c.leader.tray, event{call: another})
			c.leader.mu.Unlock()
		}
	}
	c.leader.dials.Go(func() { c.leader.write(c.leader.work(nil, another)) })
	for id := uint32(1); id < 20; id++ {
		ask(t, conn, id)
		if !c.disks[0].holds(id) {
			t.Errorf("request %d was answered without the leader's copy", id)
		}
	}
	storm.Store(false)
}

// Losing the majority with requests outstanding: their clients are told by the connection's end, others stay.
func TestOutstandingRequestsEndWithTheMajority(t *testing.T) {
	gates := []*gate{newGate(), newGate()}
	c := start(t, 3, func(disks []*disk, _ *Config) {
		for i, g := range gates { // dies in mid-write
			disks[i+1].hook = func() error { g.hook(); return errors.New("killed") }
		}
	})
	idle, conn := c.dial(t), c.dial(t)
	conn.Write(frame(rand.New(rand.NewPCG(1, 1)), 1, 100))
	<-gates[0].entered
	<-gates[1].entered
	close(gates[0].open)
	until(t, "one is lost", func() bool { return c.look(func(l *Leader) bool { return l.alive() == 2 }) })
	unanswered(t, conn, "although one copy alone is known")
	close(gates[1].open)
	closed(t, conn, "with two of three copies lost")
	follow(t, c.addrs[0], 1<<20, &disk{}, nil)
	until(t, "one is back", func() bool { return c.look(func(l *Leader) bool { return l.alive() == 2 }) })
	ask(t, idle, 3)
}

func TestDiskErrors(t *testing.T) {
	broken := errors.New("input/output error")
	c := start(t, 3, func(disks []*disk, _ *Config) { disks[0].hook = func() error { return broken } })
	conn := c.dial(t)
	conn.Write(frame(rand.New(rand.NewPCG(1, 1)), 1, 100))
	<-c.serving.done
	if !errors.Is(c.serving.err, broken) || !strings.Contains(c.serving.err.Error(), "batch 1") {
		t.Errorf("Serve returned %v, want the disk's error and the batch", c.serving.err)
	}
	g := newGate()
	c = start(t, 3, func(disks []*disk, _ *Config) {
		disks[1].hook = func() error { <-g.open; return broken }
	})
	conn = c.dial(t)
	close(g.open)
	ask(t, conn, 2)
	<-c.followers[0].done
	if !errors.Is(c.followers[0].err, broken) {
		t.Errorf("the follower ended with %v, want its disk's error", c.followers[0].err)
	}
	until(t, "the leader knows", func() bool { return c.look(func(l *Leader) bool { return l.alive() == 2 }) })
	ask(t, conn, 3)
	if bytes.Contains([]byte(c.log.text.String()), []byte("majority: clients")) {
		t.Error("the majority was reported lost")
	}
}
