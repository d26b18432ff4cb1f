package launch

import (
	"context"
	"errors"
	"fmt"

	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
)

// fetch measures reads of what was written before, beside a TCP echo whose answers are as long.
func (l *launch) fetch(ctx context.Context) (err error) {
	w := l.Scenario.Workload
	l.step("starting the broker")
	broker, err := l.startBroker(ctx, "broker.log")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, broker.Stop(target.StopTimeout)) }()
	writer, err := openProduce(ctx, w.Fill(), broker.Addr, l.sub(1))
	if err != nil {
		return err
	}
	defer writer.close()
	if err := l.preload(ctx, writer); err != nil {
		return errors.Join(err, broker.Err())
	}
	if err := broker.Checkpoint(ctx); err != nil {
		return err
	}
	system, err := openFetch(ctx, w, broker.Addr, l.sub(2))
	if err != nil {
		return err
	}
	defer system.close()
	c := &contest{launch: l, settle: broker.Checkpoint, loads: map[side]load{record.System: system},
		alive: map[side]interface{ Err() error }{record.System: broker},
		meter: meter{device: l.Device, pid: map[side]int{record.System: broker.PID()}}}
	if err := c.warmUp(ctx, record.System); err != nil {
		return err
	}
	bare, err := l.startFloor(ctx, false, system.replyBytes(), "echo.log")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.Stop(target.StopTimeout)) }()
	if c.loads[record.Floor], err = openEcho(ctx, w, bare.Addr, l.sub(3)); err != nil {
		return err
	}
	defer c.loads[record.Floor].close()
	c.alive[record.Floor], c.meter.pid[record.Floor] = bare, bare.PID()
	if err := c.warmUp(ctx, record.Floor); err != nil {
		return err
	}
	if err := c.run(ctx); err != nil {
		return err
	}
	if err := c.conclude(); err != nil {
		return err
	}
	return l.check(ctx, writer)
}

// check reads everything back that w has an acknowledgement for.
func (l *launch) check(ctx context.Context, w *produceLoad) (err error) {
	l.step("reading the data back")
	if l.rec.Check, err = w.verify(ctx); err != nil {
		return fmt.Errorf("data check: %w", err)
	}
	if !l.rec.Check.OK {
		l.fail("data check: %s", l.rec.Check.Detail)
	}
	return nil
}

// preload writes until the workload's PreloadBytes are acknowledged.
func (l *launch) preload(ctx context.Context, w *produceLoad) error {
	want := l.Scenario.Workload.PreloadBytes
	l.step("writing %d MiB", want>>20)
	for n := uint64(0); w.bytes < want; n++ {
		smp, err := w.slice(ctx, preloadSlice, 0, l.sub(100+n))
		if err != nil {
			return err
		}
		if smp.all == 0 {
			return fmt.Errorf("nothing was acknowledged for %v with %d of %d bytes written", preloadSlice, w.bytes, want)
		}
	}
	return nil
}
