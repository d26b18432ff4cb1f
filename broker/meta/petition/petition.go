// Package petition carries a node's commands to the metadata group. Whoever leads it takes them, from any node; the result
// comes with the entry, which this node applies like every other. What is lost on the way, because a leader died or a link
// dropped, is sent again.
package petition

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/meta/ticket"
)

// Desk is where a node's commands wait for their entries.
type Desk struct {
	self id.NodeID
	boot uint64
	// submit gives an entry to whoever leads. It may be lost all the same; with an error nobody got it.
	submit func(data []byte) error

	mu      sync.Mutex // guards the rest
	last    uint64
	waiting map[uint64]chan meta.Result // capacity 1 each
	again   chan struct{}               // closed and replaced when leadership changes: what was on its way may be lost
}

// New returns the desk of a node's process; boot is another number for each. submit gives an entry to whoever leads the group,
// with an error if nobody got it.
func New(self id.NodeID, boot uint64, submit func(data []byte) error) *Desk {
	return &Desk{self: self, boot: boot, submit: submit, waiting: map[uint64]chan meta.Result{}, again: make(chan struct{})}
}

// A command that found no leader looks for one again soon; one that was sent, and not heard of, is sent again later.
const (
	waitMin     = 5 * time.Millisecond
	waitMax     = 200 * time.Millisecond
	resendAfter = time.Second
)

// ErrRepeated: the command was decided, and this node does not know how, since a snapshot told it of what came of it.
var ErrRepeated = errors.New("metadata: the command was decided while this node was behind; whether it was carried out shows in the metadata")

// Propose returns a command's result. It goes on until ctx ends. With an error the command may be applied all the same, now or
// later, unless it could not be encoded.
func (d *Desk) Propose(ctx context.Context, c meta.Command) (meta.Result, error) {
	command, err := meta.Encode(c)
	if err != nil {
		return meta.Result{}, err
	}
	reply := make(chan meta.Result, 1)
	d.mu.Lock()
	d.last++
	number := d.last
	d.waiting[number] = reply
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.waiting, number)
		d.mu.Unlock()
	}()
	data := ticket.Ticket{Node: d.self, Boot: d.boot, Number: number}.Attach(command)
	for wait := waitMin; ; wait = min(2*wait, waitMax) {
		d.mu.Lock()
		again := d.again
		d.mu.Unlock()
		pause, why := wait, d.submit(data)
		if why == nil {
			pause = resendAfter
		}
		timer := time.NewTimer(pause)
		select {
		case r := <-reply:
			timer.Stop()
			if r.Repeated {
				return meta.Result{}, ErrRepeated
			}
			return r, nil
		case <-timer.C:
		case <-again:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			if why != nil {
				return meta.Result{}, fmt.Errorf("metadata: %w; a majority of the nodes that the cluster began with has to be up and to reach one another: %w", ctx.Err(), why)
			}
			return meta.Result{}, fmt.Errorf("metadata: waiting for a command to be committed: %w", ctx.Err())
		}
	}
}

// Settle answers who waits for an entry. It is told of every one that is applied.
func (d *Desk) Settle(r meta.Result) {
	t := r.Ticket
	if t.Node != d.self || t.Boot != d.boot {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if reply := d.waiting[t.Number]; reply != nil {
		reply <- r
		delete(d.waiting, t.Number) // the entry may come a second time
	}
}

// Resend has everything that waits sent again: who leads has changed. It may be called with any lock held.
func (d *Desk) Resend() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.again)
	d.again = make(chan struct{})
}
