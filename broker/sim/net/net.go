// Package net is a network that a seed rules: latency, loss, repetition, reordering, links that are down in one direction
// or both. It has no clock: the caller says what time it is.
//
// There are two kinds. A FIFO network is what links over TCP are: what arrives on a link arrives in the order in which it
// was sent, and when something is lost, everything else that was under way on that link is lost with it, because the
// connection is. An unordered network loses, repeats and reorders each message by itself, which is more than links do, and
// what raft is made for.
package net

import (
	"container/heap"
	"math/rand/v2"
)

// Config says how bad the network is. Times are in the caller's units.
type Config struct {
	Nodes      int
	FIFO       bool
	MaxLatency int64   // of one message; drawn from 1 to this
	Loss       float64 // FIFO: that a message breaks its connection
	Repeat     float64 // unordered only
	Seed       uint64
}

// Net is the network between nodes 0 to Nodes-1.
type Net[T any] struct {
	cfg    Config
	r      *rand.Rand
	queue  queue[T]
	seq    uint64
	down   [][]bool
	newest [][]int64 // FIFO: when the newest message of a link arrives
	broken [][]bool  // FIFO: something was lost since Broken was asked

	// Delivered, Lost and Repeated count messages.
	Delivered, Lost, Repeated int
}

// Message is one message under way.
type Message[T any] struct {
	From, To int
	Body     T

	at  int64
	seq uint64
}

// New returns a network on which every link is up.
func New[T any](cfg Config) *Net[T] {
	n := &Net[T]{cfg: cfg, r: rand.New(rand.NewPCG(cfg.Seed, 1))}
	for range cfg.Nodes {
		n.down = append(n.down, make([]bool, cfg.Nodes))
		n.broken = append(n.broken, make([]bool, cfg.Nodes))
		n.newest = append(n.newest, make([]int64, cfg.Nodes))
	}
	return n
}

// Send sends body. It arrives after now, or never.
func (n *Net[T]) Send(now int64, from, to int, body T) {
	if n.down[from][to] {
		n.Lost++
		n.broken[from][to] = true
		return
	}
	if n.r.Float64() < n.cfg.Loss {
		n.Lost++
		if n.cfg.FIFO {
			n.Break(from, to)
		}
		return
	}
	n.put(now, from, to, body)
	if !n.cfg.FIFO && n.r.Float64() < n.cfg.Repeat {
		n.Repeated++
		n.put(now, from, to, body)
	}
}

func (n *Net[T]) put(now int64, from, to int, body T) {
	at := now + 1 + n.r.Int64N(n.cfg.MaxLatency)
	if n.r.IntN(50) == 0 {
		at += 10 * n.cfg.MaxLatency // a straggler
	}
	if n.cfg.FIFO {
		at = max(at, n.newest[from][to])
		n.newest[from][to] = at
	}
	n.seq++
	heap.Push(&n.queue, Message[T]{From: from, To: to, Body: body, at: at, seq: n.seq})
}

// Next takes the next message that has arrived by now.
func (n *Net[T]) Next(now int64) (Message[T], bool) {
	for len(n.queue) > 0 && n.queue[0].at <= now {
		m := heap.Pop(&n.queue).(Message[T])
		if n.down[m.From][m.To] {
			n.Lost++
			n.broken[m.From][m.To] = true
			continue
		}
		n.Delivered++
		return m, true
	}
	return Message[T]{}, false
}

// Break loses everything that is under way from one node to another.
func (n *Net[T]) Break(from, to int) {
	n.drop(func(m *Message[T]) bool { return m.From == from && m.To == to })
	n.broken[from][to] = true
}

// Cut loses everything that is under way from and to a node: its connections end with its process.
func (n *Net[T]) Cut(node int) {
	n.drop(func(m *Message[T]) bool { return m.From == node || m.To == node })
	for other := range n.cfg.Nodes {
		n.broken[other][node] = true
	}
}

func (n *Net[T]) drop(which func(*Message[T]) bool) {
	kept := n.queue[:0]
	for i := range n.queue {
		if which(&n.queue[i]) {
			n.Lost++
		} else {
			kept = append(kept, n.queue[i])
		}
	}
	clear(n.queue[len(kept):])
	n.queue = kept
	heap.Init(&n.queue)
}

// SetDown makes the link from one node to another dead or alive.
func (n *Net[T]) SetDown(from, to int, down bool) {
	n.down[from][to] = down
	if down {
		n.Break(from, to)
	}
}

// Broken tells whether anything was lost on a FIFO network's link since the last call: the sender notices, when its
// connection breaks.
func (n *Net[T]) Broken(from, to int) bool {
	was := n.broken[from][to] && n.cfg.FIFO
	n.broken[from][to] = false
	return was
}

// Heal makes every link whole: from now on nothing is lost or repeated.
func (n *Net[T]) Heal() {
	for from := range n.down {
		clear(n.down[from])
	}
	n.cfg.Loss, n.cfg.Repeat = 0, 0
}

// queue is ordered by the time of arrival, then by that of sending.
type queue[T any] []Message[T]

func (q queue[T]) Len() int { return len(q) }
func (q queue[T]) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q queue[T]) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue[T]) Push(m any)   { *q = append(*q, m.(Message[T])) }
func (q *queue[T]) Pop() any {
	old := *q
	m := old[len(old)-1]
	var none Message[T]
	old[len(old)-1] = none
	*q = old[:len(old)-1]
	return m
}
