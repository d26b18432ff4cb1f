// Command broker is ackline's reference broker: Kafka's protocol in front, a group-commit write-ahead log under raft
// behind.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"ackline/broker/node"
	"ackline/broker/node/config"
	"ackline/tools/version"
)

func main() {
	ownProcess = true
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

type cli struct {
	Version kong.VersionFlag `help:"Print the commit this was built from and exit."`
	Start   startCmd         `cmd:"" help:"Run a single-node broker until it is told to stop (SIGINT or SIGTERM)."`
	Cluster clusterCmd       `cmd:"" help:"Run one node of a cluster until it is told to stop."`
	Admin   adminCmd         `cmd:"" help:"Ask a running cluster how it is, and change who leads and which nodes it has."`
}

type startCmd struct{ nodeFlags }

// nodeFlags are those of every command that runs a node.
type nodeFlags struct {
	Config           string `help:"TOML file with any of the settings; flags given beside it win." placeholder:"FILE.toml"`
	DataDir          string `help:"Directory for everything the broker keeps; made if it is not there." placeholder:"DIR"`
	ListenAddr       string `help:"Where Kafka clients connect, host:port; port 0 takes a free one (default 127.0.0.1:9092)." placeholder:"ADDR"`
	AdvertiseAddr    string `help:"What clients are told to connect to, if it is not --listen-addr." placeholder:"ADDR"`
	HTTPAddr         string `name:"http-addr" help:"Where /metrics, /healthz, /readyz and what \"broker admin\" asks are served; \"none\" for nowhere (default 127.0.0.1:9644)." placeholder:"ADDR"`
	NodeID           int32  `help:"Kafka's broker id (default 1)." placeholder:"N"`
	SyncMethod       string `help:"How a write becomes durable; \"auto\" tries all once and keeps the fastest (default auto)." placeholder:"NAME"`
	RingBytes        int64  `help:"Size of the write-ahead log's ring, fixed when the directory is made (default 1 GiB)." placeholder:"BYTES"`
	AutoCreateTopics bool   `help:"Create a topic when a client asks for its metadata."`
	Pprof            bool   `help:"Serve /debug/pprof on --http-addr."`
	Verbose          bool   `short:"v" help:"Log what probing and recovery did."`
}

const description = `ackline's reference broker.

Example:
  broker start --data-dir /var/lib/ackline --listen-addr 127.0.0.1:9092
  broker cluster --node-id 1 --listen-addr 10.0.0.1:9092 --raft-addr 10.0.0.1:5001 \
         --peers 2@10.0.0.2:5001,3@10.0.0.3:5001 --data-dir /var/lib/ackline
  kcat -P -b 127.0.0.1:9092 -t events    (with --auto-create-topics)`

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	var c cli
	exit := -1
	parser, err := kong.New(&c, kong.Name("broker"), kong.Description(description), kong.Writers(out, errOut),
		kong.Vars{"version": version.String()}, kong.Exit(func(code int) { exit = code }), kong.UsageOnError())
	if err != nil {
		panic(err)
	}
	parsed, err := parser.Parse(args)
	if exit >= 0 { // --help and --version have answered
		return exit
	}
	if err != nil {
		fmt.Fprintf(errOut, "broker: %v\nTry \"broker --help\" or \"broker start --help\".\n", err)
		return 2
	}
	switch parsed.Command() {
	case "start":
		return serve(ctx, c.Start.config, c.Start.Verbose, out, errOut)
	case "cluster":
		return serve(ctx, c.Cluster.config, c.Cluster.Verbose, out, errOut)
	}
	if strings.HasPrefix(parsed.Command(), "admin ") {
		return runAdmin(ctx, parsed.Command(), &c.Admin, out, errOut)
	}
	panic("broker: command " + parsed.Command() + " is parsed and not handled")
}

// settings are the file's under the flags'.
func (s *nodeFlags) settings() (config.Config, error) {
	cfg := config.Default()
	if s.Config != "" {
		var err error
		if cfg, err = config.Load(s.Config); err != nil {
			return cfg, err
		}
	}
	override(&cfg.Node.DataDir, s.DataDir)
	override(&cfg.Node.ListenAddr, s.ListenAddr)
	override(&cfg.Node.AdvertiseAddr, s.AdvertiseAddr)
	override(&cfg.Node.HTTPAddr, s.HTTPAddr)
	override(&cfg.Node.ID, s.NodeID)
	override(&cfg.WAL.SyncMethod, s.SyncMethod)
	override(&cfg.WAL.RingBytes, s.RingBytes)
	override(&cfg.Topics.AutoCreate, s.AutoCreateTopics)
	override(&cfg.Node.Pprof, s.Pprof)
	if cfg.Node.HTTPAddr == "none" {
		cfg.Node.HTTPAddr = ""
	}
	return cfg, nil
}

func (s *startCmd) config() (config.Config, error) {
	cfg, err := s.settings()
	if err == nil && len(cfg.Nodes) > 0 {
		err = fmt.Errorf("%s lists the nodes of a cluster: run \"broker cluster\" with it", s.Config)
	}
	if err == nil {
		err = cfg.Validate()
	}
	return cfg, err
}

// override sets a setting that a flag names.
func override[T comparable](setting *T, flag T) {
	var zero T
	if flag != zero {
		*setting = flag
	}
}

// stopTimeout is how long clients are waited for at the end.
const stopTimeout = 10 * time.Second

// serve runs a node.
func serve(ctx context.Context, config func() (config.Config, error), verbose bool, out, errOut io.Writer) int {
	cfg, err := config()
	if err != nil {
		fmt.Fprintf(errOut, "broker: %v\n", err)
		return 2
	}
	setTimerSlack(timerSlack(cfg), errOut)
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: level}))
	setGC(cfg.Limits.GCPercent)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	n, err := node.Open(cfg, node.Options{Log: log, Progress: progress(errOut)})
	if err != nil {
		fmt.Fprintf(errOut, "broker: %v\n", err)
		return 1
	}
	announced := announce(ctx, out, cfg, n)
	select {
	case <-n.Ended():
		stop()
		<-announced
		return 1 // logged; nothing may be flushed any more
	case <-ctx.Done():
	}
	<-announced
	stop() // a second signal ends the process at once
	closing, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := n.Close(closing); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		fmt.Fprintf(errOut, "broker: %v\n", err)
		return 1
	}
	return 0
}

// announce prints the one line of a single node, which is ready when it listens. One of several says that it listens, and that it
// is ready once it and the others know one another. The channel is closed when nothing will be printed any more: soon after ctx ends.
func announce(ctx context.Context, out io.Writer, cfg config.Config, n *node.Node) <-chan struct{} {
	done := make(chan struct{})
	if n.RaftAddr() == "" {
		fmt.Fprintln(out, started("ready", cfg, n))
		close(done)
		return done
	}
	fmt.Fprintln(out, started("listens", cfg, n))
	go func() {
		defer close(done)
		if n.AwaitReady(ctx) == nil {
			fmt.Fprintln(out, started("ready", cfg, n))
		}
	}()
	return done
}

// started is a line at start: what listens, where the data is, how it is made durable.
func started(state string, cfg config.Config, n *node.Node) string {
	line := "broker " + state + ": "
	if a := n.RaftAddr(); a != "" {
		line += fmt.Sprintf("node %d of %d raft %s ", cfg.Node.ID, n.Size(), a)
	}
	line += "kafka " + n.ListenAddr()
	if a := n.AdvertiseAddr(); a != n.ListenAddr() {
		line += " (advertised as " + a + ")"
	}
	if h := n.HTTPAddr(); h != "" {
		line += " http " + h
	}
	return line + " data " + strconv.Quote(cfg.Node.DataDir) + " sync " + string(n.SyncMethod()) +
		fmt.Sprintf(" recovered %d bytes in %s", n.Recovery.Bytes, n.Recovery.Duration.Round(time.Microsecond))
}

// progress shows on a terminal what takes long at start.
func progress(w io.Writer) func(string, int64, int64) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(what string, done, total int64) {
		fmt.Fprintf(w, "\r%s: %d %%", what, done*100/max(total, 1))
		if done == total {
			fmt.Fprintln(w)
		}
	}
}
