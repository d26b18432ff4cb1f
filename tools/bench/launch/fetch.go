package launch

import (
	"context"
	"errors"
	"fmt"

	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/target"
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

// checker can read back what it wrote.
type checker interface {
	Verify(ctx context.Context) (*record.DataCheck, error)
}

// check reads everything back that was acknowledged to c, and adds it to what has been read back before.
func (l *launch) check(ctx context.Context, c checker) error {
	l.step("reading the data back")
	found, err := c.Verify(ctx)
	if err != nil {
		return fmt.Errorf("data check: %w", err)
	}
	if !found.OK {
		l.Fail("data check: %s", found.Detail)
	}
	if before := l.Rec.Check; before != nil {
		found = before.Plus(found)
	}
	l.Rec.Check = found
	return nil
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
