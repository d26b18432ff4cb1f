package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"ackline/loadgen/null"
	"ackline/loadgen/selftest"
)

// selftestCmd is loadgen selftest.
type selftestCmd struct {
	For    time.Duration `default:"0s" help:"Length of each step; 0s: as long as each needs, about a minute in all (${default})."`
	Seed   uint64        `default:"1" help:"Selects the Poisson arrivals (${default})."`
	Strict bool          `help:"Exit with 3 when a bar is not met."`
	JSON   string        `name:"json" placeholder:"FILE" help:"Write everything, histograms included; - is standard output, and the summary then goes to standard error."`
}

// Help is shown by loadgen selftest --help.
func (*selftestCmd) Help() string {
	return `Starts a responder in another process that answers at once and does nothing else, and measures the generator against it: how
late it is, what a request costs beyond a bare TCP echo, how many requests and records a second one core makes, and up to which
rate its lag is small enough for a run to be VALID. Do this on the host that a system will be measured from, while nothing else runs.`
}

// responderCommand is the command of the other process.
const responderCommand = "null-responder"

// exec measures and prints.
func (c *selftestCmd) exec(ctx context.Context, e env) (code int, err error) {
	check := selftest.Config{Null: "-", Echo: "-", For: c.For}
	if err := check.Validate(); err != nil {
		return exitUsage, err
	}
	exe, err := os.Executable()
	if err != nil {
		return exitError, err
	}
	p, err := null.Start(ctx, exe, responderCommand)
	if err != nil {
		return exitError, err
	}
	defer func() {
		if stop := p.Stop(); stop != nil && err == nil {
			code, err = exitError, stop
		}
	}()
	r, err := selftest.Run(ctx, selftest.Config{Null: p.Addr, Echo: p.Echo, PID: p.PID(), For: c.For, Seed: c.Seed,
		Progress: func(what string) { fmt.Fprintln(e.errOut, what) }})
	if err != nil {
		return exitError, err
	}
	if err := writeReport(c.JSON, r, e); err != nil {
		return exitError, err
	}
	if c.Strict && !r.AllMet() {
		return exitInvalid, errors.New("a bar is not met")
	}
	return exitValid, nil
}

// report is what commands other than run come to.
type report interface {
	Print(io.Writer) error
	JSON() ([]byte, error)
}

// writeReport prints the summary and writes the JSON to path, if there is one.
func writeReport(path string, r report, e env) error {
	summary := e.out
	if path == "-" {
		summary = e.errOut
	}
	if err := r.Print(summary); err != nil || path == "" {
		return err
	}
	b, err := r.JSON()
	if err != nil {
		return fmt.Errorf("json: %w", err)
	}
	if path == "-" {
		_, err = e.out.Write(b)
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// nullCmd is the responder's process.
type nullCmd struct {
	Listen string `default:"127.0.0.1" help:"Address to listen at (${default})."`
}

// exec serves until standard input ends: so the responder does not outlive whoever started it.
func (c *nullCmd) exec(ctx context.Context, e env) (int, error) {
	s, err := null.New(c.Listen)
	if err != nil {
		return exitError, err
	}
	s.Hold = true
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 2)) // one that waits for sockets, and one for everything else
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if _, err := io.WriteString(e.out, s.Announcement()); err != nil {
		return exitError, err
	}
	if err := s.Serve(ctx); err != nil {
		return exitError, err
	}
	return exitValid, nil
}
