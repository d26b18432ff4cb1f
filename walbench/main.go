// Command walbench measures what a disk gives a write-ahead log, before anything else is built on it: durable
// writes by each sync method, the best durable sequential rate, the best read rate. A vendor's data sheet has
// none of these.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"ackline/broker/vfs"
	"ackline/tools/version"
	"ackline/walbench/raw"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

type cli struct {
	Version kong.VersionFlag `help:"Print the commit and exit."`
	Raw     rawCmd           `cmd:"" help:"Latency of single durable writes, by sync method, size and cadence."`
	Seq     seqCmd           `cmd:"" help:"Best durable sequential write rate over block sizes and queue depths."`
	Read    readCmd          `cmd:"" help:"Best rate at which a file can be read, over block sizes and queue depths."`
}

const description = "Measures what a disk gives a write-ahead log. Figures stand for the directory, the cadence and the hour that " +
	"they were measured in: compare rows of one run, not of two. Files go to DIR/walbench.tmp and are removed in the end."

// common are the flags of every command.
type common struct {
	Dir     string   `default:"." help:"Directory on the disk to measure (${default})." placeholder:"DIR"`
	AllowFS []string `name:"allow-fs" help:"Measure even on this type of file system: tmpfs, overlay." placeholder:"TYPE"`
	JSON    bool     `name:"json" help:"Print one JSON object instead of a table."`
}

// env is what a command runs in.
type env struct {
	ctx    context.Context
	stdout io.Writer
	stderr io.Writer
	fs     vfs.FS
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	left := -1
	parser := kong.Must(&c, kong.Name("walbench"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.Vars{"version": version.String()}, kong.Exit(func(code int) { left = code }))
	k, err := parser.Parse(args)
	if left >= 0 {
		return left
	}
	if err != nil {
		fmt.Fprintf(stderr, "walbench: %v (walbench --help explains)\n", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = k.Run(&env{ctx: ctx, stdout: stdout, stderr: stderr, fs: vfs.OS()})
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "walbench: interrupted; its files are removed")
		return exitInterrupted
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "walbench:", err)
		return exitUsage
	}
	fmt.Fprintln(stderr, "walbench:", err)
	return exitFailed
}

// usageError is what the command line cannot mean.
type usageError struct{ error }

// at finds the place, prints it unless JSON is wanted, and calls measure with a workspace there for needs
// bytes, or without one if it needs none.
func (c *common) at(e *env, needs int64, measure func(p raw.Place, work string) error) (err error) {
	place, err := raw.FindPlace(c.Dir, c.AllowFS)
	if err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(e.stdout, "%s\n", place)
	}
	if needs == 0 {
		return measure(place, "")
	}
	work, remove, err := raw.Workspace(e.fs, place.Dir, needs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	return measure(place, work)
}

// bytes is a size on the command line: 4096, 64KiB, 8MiB, 1GiB.
type bytes int64

var units = []struct {
	suffix string
	factor int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"", 1}}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *bytes) UnmarshalText(text []byte) error {
	for _, u := range units {
		number, ok := strings.CutSuffix(string(text), u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 0 || n > 1<<50/u.factor {
			break
		}
		*b = bytes(n * u.factor)
		return nil
	}
	return fmt.Errorf("%q is not a size; want bytes, or a number with KiB, MiB or GiB", text)
}

// String prints a size as briefly as UnmarshalText reads it.
func (b bytes) String() string {
	for _, u := range []int{2, 1, 0} {
		if f := units[u]; b != 0 && int64(b)%f.factor == 0 {
			return fmt.Sprint(int64(b)/f.factor, f.suffix)
		}
	}
	return fmt.Sprint(int64(b))
}

// table prints rows in columns, the first one aligned to the left and the others to the right.
func table(out io.Writer, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i == 0 {
				fmt.Fprintf(&line, "%-*s", width[i], cell)
			} else {
				fmt.Fprintf(&line, "  %*s", width[i], cell)
			}
		}
		fmt.Fprintln(out, line.String())
	}
}

func ints(bs []bytes) []int {
	out := make([]int, len(bs))
	for i, b := range bs {
		out[i] = int(b)
	}
	return out
}
