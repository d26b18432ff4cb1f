package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ackline/tools/bench/record"
	"ackline/tools/compare/trial"
)

// Bench measures with the bench of either build.
type Bench struct {
	Bin     map[trial.Side]string // folders with bench, broker and floor
	Dir     string                // on the disk that is measured
	AllowFS []string
}

// stopTime is how long a bench may take to stop its processes and remove its data.
const stopTime = 30 * time.Second

// Run runs one bench. When ctx ends it is interrupted as ^C would, and waited for.
func (b *Bench) Run(ctx context.Context, r Request) (*record.Results, error) {
	name := filepath.Join(b.Bin[r.Side], "bench")
	args := []string{"--profile", r.Suite, "--launches", "1", "--seed", strconv.FormatUint(r.Seed, 10), "--dir", b.Dir, "--out", r.Out}
	for _, fs := range b.AllowFS {
		args = append(args, "--allow-fs", fs)
	}
	c := exec.CommandContext(ctx, name, args...)
	// Its own process group: ^C on the terminal reaches only this process, which passes it on once.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGINT) }
	c.WaitDelay = stopTime
	var said bytes.Buffer
	c.Stderr = &said
	err := c.Run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	results, read := record.Read(filepath.Join(r.Out, "latest"))
	switch {
	case read == nil && len(results.Launches) > 0:
		return results, nil // a single launch is hardly ever a valid run; what it is itself it says
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w%s", name, strings.Join(args, " "), err, lastLines(said.String(), 5))
	case read != nil:
		return nil, fmt.Errorf("%s left no record that this program reads: %w", name, read)
	}
	return nil, fmt.Errorf("%s recorded no launch", name)
}

func lastLines(text string, n int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return ":\n  " + strings.Join(all[max(0, len(all)-n):], "\n  ")
}
