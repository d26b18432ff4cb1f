// Command loadgen puts a load on a Kafka-protocol cluster, times every operation from when it should have begun, reads back
// all that was acknowledged, and says whether the figures may be believed.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"ackline/loadgen/result"
	"ackline/tools/version"
)

// What loadgen exits with.
const (
	exitValid   = 0
	exitError   = 1
	exitUsage   = 2
	exitInvalid = 3
	exitFailed  = 4
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the load and lets the check and the clean-up follow; one that comes a second later or more ends the
	// program. Not sooner: timeout(1) and some shells send the first one twice.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// exitOf is what to exit with. err is what went wrong beside a verdict, such as cleaning up.
func exitOf(s result.Status, err error) int {
	switch {
	case s == result.Failed:
		return exitFailed
	case s == result.Invalid:
		return exitInvalid
	case err != nil:
		return exitError
	}
	return exitValid
}

// cli is the command line.
type cli struct {
	Run   runCmd   `cmd:"" default:"withargs" help:"Put a load on a cluster, measure and check it. The default: its name may be left out."`
	Drain drainCmd `cmd:"" help:"Write a backlog, then consume it as fast as it goes."`
	Check checkCmd `cmd:"" help:"Write for hours and read everything back meanwhile."`
	Agent agentCmd `cmd:"" help:"Make a share of a load for a run elsewhere that leads several agents."`

	Knee     kneeCmd     `cmd:"" help:"Find the highest rate at which a cluster keeps an objective, such as p99<=5ms."`
	Selftest selftestCmd `cmd:"" help:"Measure the generator itself, and say up to which rates it can be believed on this host."`
	Null     nullCmd     `cmd:"" name:"null-responder" hidden:"" help:"Answer at once and keep nothing, until standard input ends. For selftest."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

// command is what every command of the line does: its exit code, and what there is to say about it.
type command interface {
	exec(ctx context.Context, e env) (code int, err error)
}

// env is what a command has beside its flags.
type env struct {
	args        string // the command line, for the records
	out, errOut io.Writer
}

const description = `Put a load on a Kafka-protocol cluster and measure how long records take to be acknowledged.

  loadgen --brokers localhost:9092 --rate 2000                        write latency at 2,000/s, checked
  loadgen check --brokers localhost:9092 --for 8h --state f           check the data for hours, and go on after a restart
  loadgen run --agents a:7070,b:7070 --brokers …                      from several machines at once
  loadgen run --help                                                  every flag of that
  loadgen knee --help                                                 the highest rate that keeps an objective
  loadgen selftest                                                    up to which rates to believe it, here

Exit codes: 0 VALID, 1 error, 2 bad usage, 3 INVALID, 4 the check found records lost, repeated, misplaced or changed.`

// exited is how kong's wish to end the program is passed through run.
type exited int

func run(ctx context.Context, args []string, out, errOut io.Writer) (code int) {
	var c cli
	parser, err := kong.New(&c, kong.Name("loadgen"), kong.Description(description), kong.Vars{"version": version.String()},
		kong.Writers(out, errOut), kong.Exit(func(code int) { panic(exited(code)) }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintf(errOut, "loadgen: %v\n", err)
		return exitError
	}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(exited)
			if !ok {
				panic(r)
			}
			code = int(e)
		}
	}()
	kctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(errOut, "loadgen: %v\nTry loadgen --help.\n", err)
		return exitUsage
	}
	code, err = kctx.Selected().Target.Addr().Interface().(command).exec(ctx, env{strings.Join(args, " "), out, errOut})
	if err != nil {
		fmt.Fprintf(errOut, "loadgen: %v\n", err)
	}
	if code == exitUsage {
		fmt.Fprintf(errOut, "Try loadgen --help.\n")
	}
	return code
}
