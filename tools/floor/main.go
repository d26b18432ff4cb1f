// Command floor is the bare durable echo: the least that any program could do between reading a request and answering
// that it is on disk, on one node or on a majority of several. Figures of the broker stand beside its figures; packages
// echo and quorum have the reasoning.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/tools/floor/echo"
	"ackline/tools/floor/quorum"
	"ackline/tools/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

type cli struct {
	Serve   serveCmd         `cmd:"" help:"Answer every request once its bytes are durable in a preallocated file."`
	Echo    echoCmd          `cmd:"" help:"Answer every request at once, without a disk: what TCP alone costs."`
	Verify  verifyCmd        `cmd:"" help:"Read a ring file back and check its blocks and frames."`
	Version kong.VersionFlag `help:"Print the floor's version and the commit, then exit."`
}

// network is what serve and echo share.
type network struct {
	ListenAddr string `default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Address to listen on; port 0 takes a free one (${default})."`
	ReplyBytes int    `default:"${reply_bytes}" help:"Size of an answer, its 4-byte length included: that of the program compared with (${default})."`
	BatchBytes int    `default:"${batch_bytes}" help:"Most bytes in one write; also bounds a request (${default})."`
}

type serveCmd struct {
	network
	quorumFlags
	Dir       string        `required:"" type:"existingdir" help:"Directory for the ring file: it chooses the disk. The file is removed at the end."`
	RingBytes int64         `default:"67108864" help:"Size of the ring file, a multiple of 4096 (${default})."`
	Method    string        `default:"auto" help:"How a block becomes durable: one of ${methods}, or auto, which tries each (${default})."`
	Cadence   time.Duration `default:"0s" help:"With --method auto or --followers: the time between the trial writes. Disks answer differently after a pause, so give the run's (${default} is back to back)."`
}

type echoCmd struct {
	network
	Pause time.Duration `default:"0s" help:"Wait so long before each answer, as for a disk: TCP costs more when the CPUs idle meanwhile. The median of what it did wait is printed at the end (${default})."`
}

type verifyCmd struct {
	File string `arg:"" type:"existingfile" help:"A ring file that floor serve wrote (a copy: the original goes when floor ends)."`
}

// run returns 0 when all went well, 1 when the work failed and 2 when the command line cannot be right.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	exit := -1
	p := kong.Must(&c, kong.Name("floor"), kong.Writers(stdout, stderr), kong.Exit(func(code int) { exit = code }),
		kong.Description("The bare durable echo that latencies are compared with. A request is a 4-byte length and that many bytes, "+
			"of which bytes 4 to 8 are its correlation id, as in Kafka; the answer carries the same id. One line on stdout says where "+
			"it listens. Try: floor serve --dir /var/tmp. Three nodes: floor serve --follow --dir D on two of them, and on the "+
			"third floor serve --dir D --followers HOST:PORT,HOST:PORT with the addresses that those two print."),
		kong.Vars{
			"version":     fmt.Sprintf("floor version %d, %s", echo.Version, version.String()),
			"reply_bytes": fmt.Sprint(echo.DefaultReplyBytes), "batch_bytes": fmt.Sprint(echo.DefaultBatchBytes),
			"methods": methods(), "window_bytes": fmt.Sprint(quorum.DefaultWindowBytes),
		})
	k, err := p.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "floor: %v (floor --help explains)\n", err)
		return 2
	}
	k.BindTo(ctx, (*context.Context)(nil))
	k.BindTo(stdout, (*io.Writer)(nil))
	k.Bind(slog.New(slog.NewTextHandler(stderr, nil)))
	if err := k.Run(); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func methods() string {
	s := ""
	for i, m := range syncmethod.All() {
		if i > 0 {
			s += ", "
		}
		s += string(m)
	}
	return s
}

func (c *serveCmd) Run(ctx context.Context, stdout io.Writer, log *slog.Logger) (err error) {
	fs := vfs.OS()
	m, err := c.method(fs)
	if err != nil {
		return err
	}
	name := filepath.Join(c.Dir, fmt.Sprintf("floor-%d.ring", os.Getpid()))
	ring, err := echo.CreateRing(fs, name, c.RingBytes, m)
	if err != nil {
		return err
	}
	defer func() {
		if e := ring.Remove(); err == nil {
			err = e
		}
	}()
	about := fmt.Sprintf("method=%s ring_bytes=%d file=%s", m, c.RingBytes, name)
	switch {
	case c.Follow:
		return c.follow(ctx, stdout, log, ring, about)
	case len(c.Followers) > 0:
		return c.lead(ctx, stdout, log, ring, about)
	}
	return c.serve(ctx, stdout, ring, nil, about)
}

// method is the one named, or the fastest of all on this directory's disk.
func (c *serveCmd) method(fs vfs.FS) (syncmethod.Method, error) {
	if c.Method != "auto" {
		return syncmethod.Parse(c.Method)
	}
	best, _, err := syncmethod.Probe(fs, c.Dir, c.Cadence)
	return best, err
}

func (c *echoCmd) Run(ctx context.Context, stdout io.Writer) error {
	if c.Pause == 0 {
		return c.serve(ctx, stdout, nil, nil, "method=none")
	}
	p, err := echo.NewPause(c.Pause)
	if err != nil {
		return err
	}
	return c.serve(ctx, stdout, nil, p, fmt.Sprintf("method=none pause=%v", c.Pause))
}

// undisturbed keeps the runtime away from loops on so many threads, until the returned function is called. Nothing is
// allocated once the connections are up; without the collector its timer cannot stop the loops either.
func undisturbed(threads int) (restore func()) {
	percent := debug.SetGCPercent(-1)
	// The loops' raw calls hold a P; signals and the context need another.
	procs := runtime.GOMAXPROCS(max(threads+1, runtime.GOMAXPROCS(0)))
	return func() {
		runtime.GOMAXPROCS(procs)
		debug.SetGCPercent(percent)
	}
}

// serve runs the loop and prints one line when it is ready and one with the counters when it ends.
func (n network) serve(ctx context.Context, stdout io.Writer, disk echo.Appender, pause *echo.Pause, about string) error {
	defer undisturbed(1)()
	s, err := echo.Listen(echo.Config{ListenAddr: n.ListenAddr, ReplyBytes: n.ReplyBytes, BatchBytes: n.BatchBytes, Pause: pause}, disk)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "floor ready addr=%s floor_version=%d reply_bytes=%d %s\n", s.Addr(), echo.Version, n.ReplyBytes, about)
	err = s.Serve(ctx)
	st := s.Stats()
	waited := ""
	if pause != nil {
		waited = fmt.Sprintf(" pause_us_p50=%.2f", float64(pause.Median())/1e3)
	}
	fmt.Fprintf(stdout, "floor done requests=%d syncs=%d bytes=%d refused=%d%s\n", st.Requests, st.Syncs, st.Bytes, st.Refused, waited)
	return err
}

func (c *verifyCmd) Run(stdout io.Writer) error {
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	sum, err := echo.Verify(f, info.Size(), nil)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	fmt.Fprintf(stdout, "%s: %d blocks, sequence %d to %d, %d frames, %d bytes\n", c.File, sum.Blocks, sum.First, sum.Last,
		sum.Frames, sum.PayloadBytes)
	return nil
}
