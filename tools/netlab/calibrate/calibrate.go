// Package calibrate measures an emulated network and holds it against its topology.
//
// An emulator that is late, by a busy machine or by its own work, makes results of a network that nobody described. So before a
// network is measured on, its round trips are: a byte there and back over TCP, again and again, as two programs on it would see it. A pair
// is off when its median is away from the topology's round trip by more than 1% and by more than 0.2 ms.
package calibrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"ackline/tools/netlab/lab"
)

// Config says how long to measure.
type Config struct {
	PairTime       time.Duration // of round trips for each pair, at least leastRounds of them; 0 = one second
	ThroughputTime time.Duration // of sending, in each direction of each pair; 0 = throughput is not measured
	// Together measures the round trips of all pairs at the same time, and no throughput. A byte is no load, and with long distances one after the other takes as long as everything
	// else: the nine round trips of ten pairs around the world are twenty-five seconds.
	Together bool
	// Progress is told before each pair; nil = nobody is.
	Progress func(pair, of int, from, to string)
}

// Result is what was measured, as `netlab calibrate --json` writes it.
type Result struct {
	Topology string  `json:"topology"`
	Mode     string  `json:"mode"`
	EchoUs   float64 `json:"echo_us"` // median round trip of a host with itself, which has no distance: the cost of measuring
	Pairs    []Pair  `json:"pairs"`
}

// Pair is two hosts. Round trips begin at From.
type Pair struct {
	From     string  `json:"from"`
	To       string  `json:"to"`
	WantUs   float64 `json:"want_us"`   // the topology's round trip: both ways and half of both jitters
	GotUs    float64 `json:"got_us"`    // median
	ErrorUs  float64 `json:"error_us"`  // got - want
	JitterUs float64 `json:"jitter_us"` // from the 5th to the 95th percentile
	Rounds   int     `json:"rounds"`
	Off      bool    `json:"off"`
	There    Rate    `json:"there"`
	Back     Rate    `json:"back"`
}

// Rate is the throughput of one connection in one direction.
type Rate struct {
	LimitBytesPerSecond float64 `json:"limit_bytes_per_second"` // the topology's; 0 = none
	BytesPerSecond      float64 `json:"bytes_per_second"`       // 0 = not measured
	Off                 bool    `json:"off"`                    // above the limit
}

// What a round trip may be off by, whichever is more.
const (
	errorShare = 0.01
	errorUs    = 200
)

// leastRounds is how many round trips a median is taken of at least.
const leastRounds = 9

// Run measures every pair of a lab, one after the other, so that they do not disturb each other.
func Run(ctx context.Context, l *lab.Lab, c Config) (*Result, error) {
	if c.PairTime == 0 {
		c.PairTime = time.Second
	}
	if c.Together {
		c.ThroughputTime = 0
	}
	r := &Result{Topology: l.Topology().Name, Mode: string(l.Mode())}
	hosts := l.Topology().HostNames()
	servers := map[string]*server{}
	for _, host := range hosts {
		s, err := serve(l, host)
		if err != nil {
			return nil, err
		}
		defer s.close()
		servers[host] = s
	}
	self, err := roundTrips(ctx, l, hosts[0], hosts[0], servers[hosts[0]].port, c.PairTime/4)
	if err != nil {
		return nil, err
	}
	r.EchoUs = quantile(self, 0.5)
	for i, from := range hosts {
		for _, to := range hosts[i+1:] {
			r.Pairs = append(r.Pairs, Pair{From: from, To: to})
		}
	}
	errs := make([]error, len(r.Pairs))
	one := func(i int) {
		from, to := r.Pairs[i].From, r.Pairs[i].To
		if r.Pairs[i], errs[i] = measure(ctx, l, servers, from, to, c); errs[i] != nil {
			errs[i] = fmt.Errorf("calibrate %s and %s: %w", from, to, errs[i])
		}
	}
	var group sync.WaitGroup
	for i, p := range r.Pairs {
		if c.Progress != nil {
			c.Progress(i+1, len(r.Pairs), p.From, p.To)
		}
		if c.Together {
			group.Go(func() { one(i) })
		} else if one(i); errs[i] != nil {
			return nil, errs[i]
		}
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return r, nil
}

func measure(ctx context.Context, l *lab.Lab, servers map[string]*server, from, to string, c Config) (Pair, error) {
	// The topology's, not the lab's: what was made worse in between is off.
	a, b := l.Topology().Index(from), l.Topology().Index(to)
	there, back := l.Topology().Path(a, b), l.Topology().Path(b, a)
	us, err := roundTrips(ctx, l, from, to, servers[to].port, c.PairTime)
	if err != nil {
		return Pair{}, err
	}
	p := Pair{From: from, To: to, Rounds: len(us), GotUs: quantile(us, 0.5), JitterUs: quantile(us, 0.95) - quantile(us, 0.05),
		There: Rate{LimitBytesPerSecond: there.BytesPerSecond}, Back: Rate{LimitBytesPerSecond: back.BytesPerSecond}}
	p.judge(micros(there.Delay+back.Delay), micros(there.Jitter), micros(back.Jitter))
	if c.ThroughputTime > 0 {
		for _, way := range []struct {
			from, to string
			rate     *Rate
		}{{from, to, &p.There}, {to, from, &p.Back}} {
			if way.rate.BytesPerSecond, err = throughput(ctx, l, servers[way.to], way.from, way.to, c.ThroughputTime); err != nil {
				return Pair{}, err
			}
			way.rate.judge()
		}
	}
	return p, nil
}

// judge compares the median with what the topology says, in microseconds.
func (p *Pair) judge(delay, jitterThere, jitterBack float64) {
	p.WantUs = delay + (jitterThere+jitterBack)/2
	p.ErrorUs = p.GotUs - p.WantUs
	// The median of so many draws lies within this of the true one nearly always: three times 1.25 σ/√n, σ² of an even draw being width²/12.
	chance := 3 * 1.25 * math.Sqrt((jitterThere*jitterThere+jitterBack*jitterBack)/12/float64(p.Rounds))
	p.Off = math.Abs(p.ErrorUs) > max(errorShare*p.WantUs, errorUs)+chance
}

// judge tells whether more came through than the topology lets through. Less is not the network's fault alone: TCP has a window.
func (r *Rate) judge() {
	r.Off = r.LimitBytesPerSecond > 0 && r.BytesPerSecond > (1+errorShare)*r.LimitBytesPerSecond
}

// Off is how many pairs are not as the topology has them.
func (r *Result) Off() (n int) {
	for _, p := range r.Pairs {
		if p.Off || p.There.Off || p.Back.Off {
			n++
		}
	}
	return n
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// quantile of values that are sorted.
func quantile(sorted []float64, q float64) float64 {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// roundTrips sends a byte there and back for so long and returns how long each took in microseconds, sorted.
func roundTrips(ctx context.Context, l *lab.Lab, from, to string, port int, length time.Duration) ([]float64, error) {
	conn, err := dial(ctx, l, from, to, port, kindEcho)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	var us []float64
	b := []byte{0}
	for begin, round := time.Now(), -2; round < leastRounds || time.Since(begin) < length; round++ {
		sent := time.Now()
		if _, err := conn.Write(b); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(conn, b); err != nil {
			return nil, err
		}
		if round >= 0 { // the first ones still meet what dialling left
			us = append(us, micros(time.Since(sent)))
		}
	}
	slices.Sort(us)
	return us, ctx.Err()
}

// throughput sends for so long on one connection and returns the bytes per second that arrived, from the first one on.
func throughput(ctx context.Context, l *lab.Lab, s *server, from, to string, length time.Duration) (float64, error) {
	conn, err := dial(ctx, l, from, to, s.port, kindSink)
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_ = conn.SetWriteDeadline(time.Now().Add(length))
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = conn.Write(block)
	}
	if closed := conn.Close(); !timedOut(err) {
		return 0, errors.Join(err, closed, ctx.Err())
	}
	select {
	case rate := <-s.rates:
		return rate, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
