package across

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/netlab/calibrate"
	"ackline/tools/netlab/lab"
)

// When the network is measured.
const (
	Before = "before"
	After  = "after"
)

// pairTime is how long a pair's round trips are measured, at least.
const pairTime = 300 * time.Millisecond

// Calibrate measures the network's round trips and notes every link that is not as the profile has it. Meanwhile load puts load on, again and
// again, for a while each time; nil: there is none.
func (l *Trip) Calibrate(ctx context.Context, when string, load func(ctx context.Context) error) error {
	cpu, err := proc.ReadCPU("/proc")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var found *calibrate.Result
	done := make(chan error, 1)
	go func() {
		var err error
		found, err = calibrate.Run(ctx, l.Net.Lab, calibrate.Config{PairTime: pairTime, Together: true})
		done <- err
	}()
	for ended := false; !ended; {
		if load == nil {
			err, ended = <-done, true
		} else {
			if err := load(ctx); err != nil {
				cancel()
				return errors.Join(err, <-done)
			}
			select {
			case err = <-done:
				ended = true
			default:
			}
		}
	}
	if err != nil {
		return fmt.Errorf("the network's round trips: %w", err)
	}
	now, err := proc.ReadCPU("/proc")
	if err == nil {
		l.note(when, found, now.Sub(cpu).StolenFraction(), load != nil)
	}
	return err
}

// note puts a calibration into the record. What is off makes the launch invalid.
func (l *Trip) note(when string, found *calibrate.Result, stolen float64, loaded bool) {
	if l.Rec.Network == nil {
		l.Rec.Network = &record.Network{Region: found.Topology, Mode: found.Mode, Idle: !loaded}
		if l.Net.Lab.Mode() == lab.Netns {
			l.Rec.Network.CongestionControl = l.Net.Lab.Topology().Congestion()
		}
		for _, pair := range found.Pairs {
			l.Rec.Network.Links = append(l.Rec.Network.Links, record.Link{From: pair.From, To: pair.To, WantUs: pair.WantUs})
		}
	}
	under := ""
	if loaded {
		under = " under load"
	}
	for i, pair := range found.Pairs {
		trips := record.RoundTrips{P50Us: pair.GotUs, JitterUs: pair.JitterUs, Off: pair.Off}
		if when == Before {
			l.Rec.Network.Links[i].Before = trips
		} else {
			l.Rec.Network.Links[i].After = trips
		}
		if !pair.Off {
			continue
		}
		tell := l.Invalid
		if stolen > record.StolenWorthTelling {
			tell = l.InvalidByHost
		}
		tell("the network is not what its profile says: %s what counts, %s and %s were %.3f ms apart%s, there and back, want %.3f ms (within 1%% or 0.2 ms)",
			when, pair.From, pair.To, pair.GotUs/1e3, under, pair.WantUs/1e3)
	}
}
