// Command gotest runs `go test` and accounts for every test that was skipped. A skip is easily overlooked: go test
// prints "ok" for a package whose every test skipped itself because a program was missing, and a suite that tests
// nothing looks like one that passes. So the packages' closing lines ("ok", "FAIL") and the output of failed tests go
// through as go test prints them, and a list of what was skipped, grouped by what it needs, closes the run. With
// --strict, which is what CI uses, a skip is a failure, but for want of what --except names.
//
// The convention that it relies on is package lint's: a test skips for one reason only, something that the machine
// lacks, and says so with t.Skip("needs NAME: what for").
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"

	"github.com/alecthomas/kong"

	"ackline/tools/version"
)

type flags struct {
	Strict  bool             `help:"Fail when any test was skipped."`
	Except  []string         `placeholder:"NAME" help:"With --strict: but not for want of this, such as a permission that nothing can install."`
	Version kong.VersionFlag `help:"Print the version and leave."`
}

const description = `Runs go test with the arguments behind "--" and lists the tests that were skipped, by what they need.

Example: gotest --strict --except CAP_NET_ADMIN -- -race -short ./...

The exit code is go test's, or 1 when --strict is given and a test was skipped that may not be.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	var f flags
	var testArgs []string
	if i := slices.Index(args, "--"); i >= 0 {
		args, testArgs = args[:i], args[i+1:]
	}
	left := -1
	parser := kong.Must(&f, kong.Name("gotest"), kong.Description(description), kong.Writers(out, errOut),
		kong.Vars{"version": version.String()}, kong.Exit(func(code int) { left = code }))
	_, err := parser.Parse(args)
	if left >= 0 {
		return left
	}
	if err != nil {
		fmt.Fprintf(errOut, "gotest: %v (the arguments of go test belong behind --)\n", err)
		return 2
	}

	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, testArgs...)...)
	cmd.Stderr = errOut
	stream, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintf(errOut, "gotest: starting go test: %v\n", err)
		return 1
	}
	t := newTally(out)
	if err := t.read(stream); err != nil {
		fmt.Fprintf(errOut, "gotest: reading the output of go test: %v\n", err)
	}
	code := 0
	if err := cmd.Wait(); err != nil {
		code = 1
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			fmt.Fprintf(errOut, "gotest: go test: %v\n", err)
		} else if exit.ExitCode() > 0 {
			code = exit.ExitCode()
		}
	}
	fatal := f.Strict && t.unexcused(f.Except) > 0
	t.summary(fatal)
	if code == 0 && (fatal || t.failed > 0) {
		code = 1
	}
	return code
}
