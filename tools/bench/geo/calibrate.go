package geo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/netlab/calibrate"
)

// When the network is measured.
const (
	before = "before"
	after  = "after"
)

const (
	pairTime = 300 * time.Millisecond // at least, of a pair's round trips
	loaded   = 500 * time.Millisecond // of load at a time, for as long as the round trips take
)

// calibrate measures the network's round trips with the load on, and notes every link that is not as the profile has it.
func (p *placement) calibrate(ctx context.Context, when string) error {
	p.tell("the network's round trips under load, %s", when)
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
		found, err = calibrate.Run(ctx, p.net.lab, calibrate.Config{PairTime: pairTime, Together: true})
		done <- err
	}()
	for n := uint64(0); ; n++ {
		_, _, err := p.loads[record.System].slice(ctx, session.Stretch{Length: loaded, Seed: p.sub(2000 + n)})
		if err != nil {
			cancel()
			return p.explain(record.System, errors.Join(err, <-done))
		}
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("the network's round trips: %w", err)
			}
			now, err := proc.ReadCPU("/proc")
			if err != nil {
				return err
			}
			p.note(when, found, now.Sub(cpu).StolenFraction())
			return p.explain(record.System, p.brokers.Checkpoint(ctx))
		default:
		}
	}
}

// note puts a calibration into the record. What is off makes the launch invalid.
func (p *placement) note(when string, found *calibrate.Result, stolen float64) {
	if p.rec.Network == nil {
		p.rec.Network = &record.Network{Region: found.Topology, Mode: found.Mode}
		for _, pair := range found.Pairs {
			p.rec.Network.Links = append(p.rec.Network.Links, record.Link{From: pair.From, To: pair.To, WantUs: pair.WantUs})
		}
	}
	for i, pair := range found.Pairs {
		trips := record.RoundTrips{P50Us: pair.GotUs, JitterUs: pair.JitterUs, Off: pair.Off}
		if when == before {
			p.rec.Network.Links[i].Before = trips
		} else {
			p.rec.Network.Links[i].After = trips
		}
		if !pair.Off {
			continue
		}
		tell := p.invalid
		if stolen > record.StolenWorthTelling {
			tell = p.invalidByHost
		}
		tell("the network is not what its profile says: %s what counts, %s and %s were %.3f ms apart under load, there and back, want %.3f ms (within 1%% or 0.2 ms)",
			when, pair.From, pair.To, pair.GotUs/1e3, pair.WantUs/1e3)
	}
}
