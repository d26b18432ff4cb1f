package main

import (
	"context"
	"errors"
	"fmt"

	loadrun "ackline/loadgen/run"
)

// drainCmd is loadgen drain.
type drainCmd struct {
	systemFlags `group:"What is driven"`
	loadFlags   `group:"What the operations are"`
	metricsFlags
	Backlog int64  `default:"1000000" group:"What is measured" help:"Records that are written before the consumers begin, or a few more (${default})."`
	JSON    string `name:"json" placeholder:"FILE" group:"What is written" help:"Write the whole result; - is standard output, and the summary then goes to standard error."`
}

// Help is shown by loadgen drain --help.
func (*drainCmd) Help() string {
	return `Writes a backlog, as fast as it goes, and then consumes it, as fast as it goes: the rate of a consumer that catches up. Each consumer has one request
of up to 4 MiB on its way and does what any consumer has to: look at the CRCs, decompress, take the records apart. Afterwards everything is read once more
and compared with what was written, record by record.

What was just written may lie in the brokers' page cache; a backlog larger than their memory shows what their disks take.

  loadgen drain --brokers localhost:9092 --partitions 4 --connections 4 --in-flight 8 --records-per-request 100`
}

// exec drains and writes what came of it.
func (c *drainCmd) exec(ctx context.Context, e env) (code int, err error) {
	cfg, err := config(&c.systemFlags, &c.loadFlags)
	b := loadrun.Backlog{Records: c.Backlog, Consumers: cfg.Consumers}
	cfg.Consumers = 0 // none reads while it is written
	if err := errors.Join(err, b.Validate()); err != nil {
		return exitUsage, err
	}
	watch, stop, err := c.metricsFlags.serve(e)
	if err != nil {
		return exitError, err
	}
	defer stop()
	cfg.Watch = watch
	defer quiet(cfg)()
	p := newProgress(e.errOut, loadrun.Spec{})
	r, err := loadrun.Drain(ctx, cfg, b, loadrun.Events{
		Opened: func(s *loadrun.Session) {
			fmt.Fprintf(e.errOut, "connected with the %s driver; writing %d records or more\n", s.Effective().Driver, c.Backlog)
		},
		Checking: p.checking,
	})
	p.end()
	if r == nil {
		return exitError, err
	}
	if werr := (&outputFlags{JSON: c.JSON}).write(r, nil, e); werr != nil {
		return exitError, errors.Join(err, werr)
	}
	return exitOf(r.Verdict.Status, err), err
}
