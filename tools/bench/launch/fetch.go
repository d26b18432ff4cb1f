package launch

import (
	"context"
	"errors"
	"fmt"

	"ackline/tools/bench/session"
	"ackline/tools/bench/target"
	"ackline/tools/bench/verdict"
)

// bareEcho is the opponent of everything that reads: its answers are as long, and nothing is made durable.
var bareEcho = opponent{log: "echo.log", open: func(ctx context.Context, l *launch, addr string) (*session.Session, error) {
	return session.OpenEcho(ctx, l.Scenario.Workload, addr, l.topic, l.sub(3))
}}

// fetch measures reads of what was written before, beside a TCP echo whose answers are as long.
func (l *launch) fetch(ctx context.Context) error {
	w := l.Scenario.Workload
	return l.withBrokers(ctx, func(broker *target.Brokers) error {
		writer, err := l.openProduce(ctx, w.Fill(), broker, l.sub(1))
		if err != nil {
			return err
		}
		defer l.shut(writer)
		if err := l.preload(ctx, writer); err != nil {
			return errors.Join(err, broker.Err())
		}
		if err := l.settle(broker)(ctx); err != nil {
			return err
		}
		system, err := session.OpenFetch(ctx, w, l.place(broker), l.sub(2))
		if err != nil {
			return err
		}
		defer system.Close()
		err = l.compete(ctx, broker, system, bareEcho, func(ctx context.Context, c *contest) error {
			if err := c.run(ctx); err != nil {
				return err
			}
			return c.conclude()
		})
		if err != nil {
			return err
		}
		return l.check(ctx, writer)
	})
}

// check reads everything back that was acknowledged to c.
func (l *launch) check(ctx context.Context, c verdict.Checker) error {
	l.step("reading the data back")
	return l.Check(ctx, c)
}

// preload writes until the workload's PreloadBytes are acknowledged.
func (l *launch) preload(ctx context.Context, w *session.Writer) error {
	want := l.Scenario.Workload.PreloadBytes
	l.step("writing %d MiB", want>>20)
	for n := uint64(0); w.Bytes() < want; n++ {
		smp, err := w.Slice(ctx, session.Stretch{Length: preloadSlice, Seed: l.sub(100 + n)})
		if err != nil {
			return err
		}
		if smp.All == 0 {
			return fmt.Errorf("nothing was acknowledged for %v with %d of %d bytes written", preloadSlice, w.Bytes(), want)
		}
	}
	return nil
}
