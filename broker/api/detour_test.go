package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ackline/broker/api/forward"
	"ackline/broker/id"
	"ackline/broker/kwire"
)

// elsewhere is Hosts of a node that leads nothing.
type elsewhere struct {
	Hosts
	leader func() (id.NodeID, bool)
	term   func() id.Term // nil: 1
}

func (e elsewhere) Changed() <-chan struct{} { return nil }

func (e elsewhere) Leader(id.GroupID) (Leader, bool) {
	n, ok := e.leader()
	l := Leader{Node: n, Term: 1}
	if e.term != nil {
		l.Term = e.term()
	}
	return l, ok
}

// notDone is an error of a call that never left.
type notDone struct{}

func (notDone) Error() string { return "no connection" }
func (notDone) NotDone() bool { return true }

func forwarding(leader func() (id.NodeID, bool), forward func(ctx context.Context, to id.NodeID, question []byte) ([]byte, error)) *Handler {
	return New(Config{Self: 1, Hosts: elsewhere{leader: leader}, Forward: forward})
}

// send waits for what becomes of a batch.
func send(ctx context.Context, h *Handler, g id.GroupID, records []byte) forward.Reply {
	done := make(chan forward.Reply, 1)
	h.detours.forward.push(h, g, &forwardItem{ctx, 0, records, func(r forward.Reply) { done <- r }})
	return <-done
}

// done answers a call: every batch is at the offset that its bytes say.
func done(question []byte) ([]byte, error) {
	_, batches, err := forward.ParseCall(question)
	if err != nil {
		return nil, err
	}
	var b []byte
	for _, batch := range batches {
		b = (&forward.Reply{Base: id.Offset(batch.Records[0])}).Append(b)
	}
	return b, nil
}

// TestForwardedBatchesKeepTheirOrder: calls overtake each other, so of a partition one is under way at a time, and the next takes along
// what came meanwhile.
func TestForwardedBatchesKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls [][]byte // the first byte of each batch
		hold := make(chan struct{})
		h := forwarding(func() (id.NodeID, bool) { return 2, true }, func(_ context.Context, to id.NodeID, question []byte) ([]byte, error) {
			g, batches, err := forward.ParseCall(question)
			if err != nil || g != 7 || to != 2 {
				return nil, fmt.Errorf("group %d to node %d: %w", g, to, err)
			}
			var firsts []byte
			for _, b := range batches {
				firsts = append(firsts, b.Records[0])
			}
			calls = append(calls, firsts)
			if len(calls) == 1 {
				<-hold
			}
			return done(question)
		})
		var wg sync.WaitGroup
		for i := range byte(6) {
			wg.Go(func() {
				if r := send(t.Context(), h, 7, []byte{i, 1, 2}); r.Code != 0 || r.Base != id.Offset(i) {
					t.Errorf("batch %d: %+v", i, r)
				}
			})
			synctest.Wait()
		}
		close(hold)
		wg.Wait()
		if want := [][]byte{{0}, {1, 2, 3, 4, 5}}; !slices.EqualFunc(calls, want, bytes.Equal) {
			t.Errorf("calls %v, want %v", calls, want)
		}
		synctest.Wait()
		if n := len(h.detours.forward.queues); n != 0 {
			t.Errorf("%d queues are kept", n)
		}
	})
}

// TestForwardIsTriedAgainOnlyIfNothingWasDone: else a batch could be written twice, and its producer is told that nobody knows.
func TestForwardIsTriedAgainOnlyIfNothingWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		leader := func() (id.NodeID, bool) { return id.NodeID(2 + tries%2), true }
		h := forwarding(leader, func(_ context.Context, to id.NodeID, question []byte) ([]byte, error) {
			switch tries++; tries {
			case 1:
				return nil, notDone{}
			case 2:
				return forward.Refused(1, codeNotLeader), nil // it has stopped to lead
			}
			return done(question)
		})
		if r := send(t.Context(), h, 7, []byte{5}); r.Code != 0 || r.Base != 5 || tries != 3 {
			t.Errorf("%+v after %d tries", r, tries)
		}
		for what, err := range map[string]error{"the connection was lost": errors.New("the connection ended"), "it says no": fmt.Errorf("node 2: %w", forward.ErrMalformed)} {
			tries = 0
			h := forwarding(leader, func(context.Context, id.NodeID, []byte) ([]byte, error) { tries++; return nil, err })
			if r := send(t.Context(), h, 7, []byte{5}); r.Code != codeRequestTimedOut || tries != 1 {
				t.Errorf("%s: %+v after %d tries", what, r, tries)
			}
		}
	})
}

// TestForwardEnds: a producer is not kept for longer than an election takes, or than it wants to wait.
func TestForwardEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for what, leader := range map[string]func() (id.NodeID, bool){
			"nobody leads":        func() (id.NodeID, bool) { return 0, false },
			"it is about to lead": func() (id.NodeID, bool) { return 1, true },
			"nobody is reached":   func() (id.NodeID, bool) { return 2, true },
		} {
			h := forwarding(leader, func(context.Context, id.NodeID, []byte) ([]byte, error) { return nil, notDone{} })
			began := time.Now()
			if r := send(t.Context(), h, 7, []byte{5}); r.Code != codeNotLeader || time.Since(began) > 2*holdFor {
				t.Errorf("%s: %+v after %v", what, r, time.Since(began))
			}
			ctx, cancel := context.WithTimeout(t.Context(), holdFor/5)
			began = time.Now()
			if r := send(ctx, h, 7, []byte{5}); r.Code != codeNotLeader || time.Since(began) > holdFor/2 {
				t.Errorf("%s, and the producer is in a hurry: %+v after %v", what, r, time.Since(began))
			}
			cancel()
		}
	})
}

// TestRedirectWaitsForProducers: until none has come for a while, and not for one that never looks at its answers.
func TestRedirectWaitsForProducers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ until, want time.Duration }{
			{0, redirectQuiet},
			{3 * redirectQuiet, 4 * redirectQuiet},
			{time.Minute, redirectFor},
		} {
			h := New(Config{})
			began := time.Now()
			go func() {
				for time.Since(began) < min(c.until, 2*redirectFor) {
					h.Counters.Requests[kwire.KeyProduce].Add(1)
					time.Sleep(redirectQuiet / 2)
				}
			}()
			h.Redirect(t.Context())
			if took := time.Since(began); took < c.want-redirectQuiet/2 || took > c.want+redirectQuiet/2 {
				t.Errorf("producers came for %v: it took %v, want %v", c.until, took, c.want)
			}
			time.Sleep(2 * redirectFor)
		}
		h := New(Config{})
		h.detours.n.Add(1) // one is held
		began := time.Now()
		h.Redirect(t.Context())
		if took := time.Since(began); took != redirectFor {
			t.Errorf("while a produce was held it took %v", took)
		}
	})
}

// TestHoldEndsWithAnyLeader: this node too, if it has been elected meanwhile; not while it leads and is handing that over.
func TestHoldEndsWithAnyLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const at = 40 * time.Millisecond
		for what, c := range map[string]struct {
			before, then id.NodeID // 0: nobody is known
			term         id.Term   // then; 1 before
			after        id.Term
			ends         bool
		}{
			"another is elected":                       {0, 2, 2, 0, true},
			"this one is elected":                      {0, 1, 2, 0, true},
			"this one hands over":                      {1, 2, 2, 1, true},
			"this one hands over, and leads again":     {1, 1, 2, 1, true},
			"this one hands over, and nobody takes it": {1, 1, 1, 1, false},
			"nobody is elected":                        {0, 0, 2, 0, false},
		} {
			began := time.Now()
			late := func() bool { return time.Since(began) >= at }
			e := elsewhere{leader: func() (id.NodeID, bool) {
				n := c.before
				if late() {
					n = c.then
				}
				return n, n != 0
			}, term: func() id.Term {
				if late() {
					return c.term
				}
				return 1
			}}
			h := New(Config{Self: 1, Hosts: e})
			to, ok := h.awaitLeader(t.Context(), 7, c.after)
			took := time.Since(began)
			if ok != c.ends || ok && (to != c.then || took < at || took > at+holdPoll) || !ok && took != holdFor {
				t.Errorf("%s: node %d, %t after %v", what, to, ok, took)
			}
		}
	})
}
