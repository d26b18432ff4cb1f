package geo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"ackline/loadgen/client/sock"
	"ackline/loadgen/hist"
	"ackline/loadgen/run"
	"ackline/profiles"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
)

// client is where producers of one region are.
type client struct {
	name, host string
	place      string        // what they say of where they are
	theory     time.Duration // until one of them is acknowledged, with the leader that is measured
	near       *atomic.Bool  // connections that are made from now on cross no distance: they are for reading back
	way        sock.Way
}

// crowd is a load from every region at once, towards one side.
type crowd struct {
	clients []client
	mean    time.Duration // of their theories
	writers []*session.Writer
	loads   []*session.Session
}

// gather opens a session of each client, all at once. Any that was opened is in the crowd, with an error too.
func gather(clients []client, w profiles.Workload, open func(i int, w profiles.Workload) (*session.Session, error)) (*crowd, error) {
	c := &crowd{clients: clients, loads: make([]*session.Session, len(clients))}
	w.RatePerSecond /= float64(len(clients))
	err := c.each(func(i int) (err error) {
		c.loads[i], err = open(i, w)
		return err
	})
	for _, x := range clients {
		c.mean += x.theory / time.Duration(len(clients))
	}
	return c, err
}

// toBrokers opens producers to a topic that is there.
func toBrokers(ctx context.Context, clients []client, w profiles.Workload, at session.Place, seed uint64) (*crowd, error) {
	writers := make([]*session.Writer, len(clients))
	c, err := gather(clients, w, func(i int, w profiles.Workload) (*session.Session, error) {
		at := at
		at.Way, at.From = clients[i].way, clients[i].place
		s, err := session.OpenAgain(ctx, w, at, launch.Mix(seed+uint64(i)), run.DriverWire, false)
		if err != nil {
			return nil, err
		}
		writers[i] = s
		return &s.Session, nil
	})
	c.writers = writers
	return c, err
}

// toFloor opens the same to a floor.
func toFloor(ctx context.Context, clients []client, w profiles.Workload, addr, topic string, seed uint64) (*crowd, error) {
	return gather(clients, w, func(i int, w profiles.Workload) (*session.Session, error) {
		return session.OpenFloorAt(ctx, w, addr, session.Place{Topic: topic, Way: clients[i].way, From: clients[i].place}, launch.Mix(seed+uint64(i)))
	})
}

// each runs f for every client at once.
func (c *crowd) each(f func(i int) error) error {
	errs := make([]error, len(c.clients))
	var group sync.WaitGroup
	for i := range c.clients {
		group.Go(func() {
			if errs[i] = f(i); errs[i] != nil {
				errs[i] = fmt.Errorf("from %s: %w", c.clients[i].name, errs[i])
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (c *crowd) close() {
	for _, s := range c.loads {
		if s != nil {
			_ = s.Close() // nothing is deleted with it
		}
	}
}

// replyBytes is the size of the last answer that one of them got.
func (c *crowd) replyBytes() int { return c.loads[0].ReplyBytes() }

// slice puts load on from everywhere. all is what came of it together, each from which client.
func (c *crowd) slice(ctx context.Context, s session.Stretch) (all session.Sample, each []session.Sample, err error) {
	each = make([]session.Sample, len(c.loads))
	if err := c.each(func(i int) (err error) {
		own := s
		own.Seed = launch.Mix(s.Seed + uint64(i))
		each[i], err = c.loads[i].Slice(ctx, own)
		return err
	}); err != nil {
		return all, nil, err
	}
	return c.together(each), each, nil
}

// together is one sample of all. Its responses and services are as seen from the mean distance: each client's are moved by as much as its own
// theory is away from the mean, so that near and far ones are one distribution, and a percentile of it has the requests of all behind it.
func (c *crowd) together(each []session.Sample) session.Sample {
	all := session.Sample{Hist: hist.NewSet(), Counted: each[0].Counted, Rated: each[0].Rated}
	for i, s := range each {
		by := (c.mean - c.clients[i].theory).Nanoseconds()
		all.Hist.Merge(&hist.Set{Response: s.Hist.Response.Moved(by), Service: s.Hist.Service.Moved(by), Lag: s.Hist.Lag, Backlog: s.Hist.Backlog})
		all.EndedNS, all.Answered = max(all.EndedNS, s.EndedNS), max(all.Answered, s.Answered)
		all.Requests, all.Failures, all.Unsent = all.Requests+s.Requests, all.Failures+s.Failures, all.Unsent+s.Unsent
		all.All, all.UserBytes, all.ReplyBytes = all.All+s.All, all.UserBytes+s.UserBytes, all.ReplyBytes+s.ReplyBytes
		all.Stolen = all.Stolen || s.Stolen
		for _, cause := range s.Invalid {
			cause.Text = "from " + c.clients[i].name + ": " + cause.Text
			all.Invalid = append(all.Invalid, cause)
		}
	}
	return all
}

// verify reads back what every client was promised.
func (c *crowd) verify(ctx context.Context) (*record.DataCheck, error) {
	found := make([]*record.DataCheck, len(c.writers))
	if err := c.each(func(i int) (err error) {
		c.clients[i].near.Store(true)
		found[i], err = c.writers[i].Verify(ctx)
		return err
	}); err != nil {
		return nil, err
	}
	sum := found[0]
	for _, f := range found[1:] {
		sum = sum.Plus(f)
	}
	return sum, nil
}
