//go:build !race

package server

import (
	"bytes"
	"io"
	"net"
	"testing"

	"ackline/broker/stage"
)

// served starts a server that answers 60 bytes to whatever comes, through the means that the write path uses.
func served(t testing.TB, cork bool) (*fixture, net.Conn) {
	var k Corker
	payload := make([]byte, 52)
	f := start(t, Config{Stages: stage.NewSet()}, funcs{
		serve: func(r *Request) {
			r.Clock.Mark(stage.Propose)
			reply(r, payload)
			if cork {
				k.Complete(r)
			} else {
				r.Reply()
			}
		},
		flush: func(*Conn) { k.Flush() },
	})
	return f, f.dial()
}

// TestAllocations: the frame is the one allocation of a request. (Under the race detector sync.Pool forgets at random.)
func TestAllocations(t *testing.T) {
	for name, c := range map[string]struct {
		pipelined int
		cork      bool
	}{"one at a time": {1, false}, "32 at a time": {32, false}, "32 at a time, corked": {32, true}} {
		t.Run(name, func(t *testing.T) {
			f, conn := served(t, c.cork)
			out := bytes.Repeat(frame(1, make([]byte, 1000)), c.pipelined)
			in := make([]byte, 60*c.pipelined)
			round := func() {
				if _, err := conn.Write(out); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(conn, in); err != nil {
					t.Fatal(err)
				}
			}
			for range 50 {
				round()
			}
			// The client's end does not allocate; a collection may empty the pools, hence the fraction.
			if got := testing.AllocsPerRun(500, round) / float64(c.pipelined); got > 1.05 {
				t.Errorf("%.2f allocations per request", got)
			}
			// A reply is counted after it was sent, so the last one's client may be here first.
			want := uint64((50 + 1 + 500) * c.pipelined)
			f.until("every request to be counted", func() bool {
				return f.cfg.Stages.Total().Snapshot().Count() == want && f.Counters.Replies.Load() == want
			})
		})
	}
}

func BenchmarkOneAtATime(b *testing.B) {
	_, conn := served(b, false)
	out, in := frame(1, make([]byte, 1100)), make([]byte, 60)
	b.ReportAllocs()
	for b.Loop() {
		conn.Write(out)
		io.ReadFull(conn, in)
	}
}

// BenchmarkBareEcho is what BenchmarkOneAtATime cannot go below: the same bytes through the same sockets, by a loop.
func BenchmarkBareEcho(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	out, in := frame(1, make([]byte, 1100)), make([]byte, 60)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		from, to := make([]byte, len(out)), make([]byte, 60)
		for {
			if _, err := io.ReadFull(c, from); err != nil {
				return
			}
			if _, err := c.Write(to); err != nil {
				return
			}
		}
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	b.ReportAllocs()
	for b.Loop() {
		conn.Write(out)
		io.ReadFull(conn, in)
	}
}

func BenchmarkPipelined(b *testing.B) {
	_, conn := served(b, true)
	const n = 32
	out, in := bytes.Repeat(frame(1, make([]byte, 1100)), n), make([]byte, 60*n)
	b.ReportAllocs()
	for range b.N/n + 1 {
		conn.Write(out)
		io.ReadFull(conn, in)
	}
}
