// Command netlab is a network of regions on one machine: it checks a topology, runs programs on its hosts, and measures how well the
// distances are kept. Package lab has the reasoning.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"ackline/profiles/region"
	"ackline/tools/netlab/calibrate"
	"ackline/tools/netlab/lab"
	"ackline/tools/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

type cli struct {
	Check     checkCmd         `cmd:"" help:"Check a topology and print its hosts and round trips."`
	Run       runCmd           `cmd:"" help:"Run a command on each host of the network, or keep the network until ^C."`
	Calibrate calibrateCmd     `cmd:"" help:"Measure the network and compare it with its topology; exits with 1 if a pair is off."`
	Advise    adviseCmd        `cmd:"" help:"Say which host should lead, and which should hold replicas, by the topology's distances."`
	Version   kong.VersionFlag `help:"Print the commit and exit."`
}

type checkCmd struct {
	Topology string `arg:"" help:"A built-in topology (${topologies}) or a TOML file."`
	JSON     bool   `name:"json" help:"Print JSON."`
}

// network is what run and calibrate share.
type network struct {
	Topology string   `arg:"" help:"A built-in topology (${topologies}) or a TOML file."`
	Mode     lab.Mode `enum:"auto,netns,relay" default:"auto" help:"How it is emulated: netns gives each host a network namespace, in which TCP itself crosses the distance, and wants root; relay wants nothing, but programs must use the addresses that it gives; auto takes netns where it may (${default})."`
	Seed     uint64   `default:"1" help:"Decides about jitter and loss (${default})."`
}

type calibrateCmd struct {
	network
	PairTime       time.Duration `default:"1s" help:"How long the round trips of each pair are measured (${default})."`
	ThroughputTime time.Duration `default:"1s" help:"How long each direction of each pair sends; 0s leaves the throughput out (${default})."`
	JSON           bool          `name:"json" help:"Print JSON."`
}

const description = "A network of regions on one machine. A topology says where hosts stand and how far apart they are; the built-in ones have published " +
	"round trips.\n\nThree brokers in three zones:\n\n  netlab run zones-3 -- broker cluster --node-id {id} --listen-addr {addr}:9092 --raft-addr {addr}:5000 " +
	"--http-addr none --peers {peers:5000} --data-dir /tmp/node-{id}"

// errOff is a calibration that found a pair off; everything about it has been printed.
var errOff = errors.New("")

// run returns 0 when all went well, 1 when the work failed or a pair is off, and 2 when the command line cannot be right.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	exit := -1
	p := kong.Must(&c, kong.Name("netlab"), kong.Writers(stdout, stderr), kong.Exit(func(code int) { exit = code }),
		kong.Description(description), kong.Vars{"version": version.String(), "topologies": strings.Join(region.Names(), ", ")})
	k, err := p.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "netlab: %v (netlab --help explains)\n", err)
		return 2
	}
	k.BindTo(ctx, (*context.Context)(nil))
	k.Bind(&streams{out: stdout, err: stderr})
	if err := k.Run(); err != nil {
		if err != errOff {
			fmt.Fprintln(stderr, "netlab:", strings.TrimPrefix(err.Error(), "netlab: "))
		}
		return 1
	}
	return 0
}

// streams is where a command prints.
type streams struct{ out, err io.Writer }

func (s *streams) json(v any) error {
	e := json.NewEncoder(s.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// open starts the network, and says on stderr which kind it is if that was left to it.
func (n *network) open(s *streams) (*lab.Lab, error) {
	t, err := region.Load(n.Topology)
	if err != nil {
		return nil, err
	}
	l, err := lab.New(t, n.Mode, n.Seed)
	if err != nil {
		return nil, err
	}
	if why := l.Without(); why != nil {
		fmt.Fprintf(s.err, "netlab: relays, because network namespaces are not permitted: %s\n", strings.TrimPrefix(why.Error(), "netlab: "))
	}
	return l, nil
}

// row is one ordered pair of a topology, as check prints it.
type row struct {
	From           string  `json:"from"`
	To             string  `json:"to"`
	DelayMs        float64 `json:"delay_ms"`
	JitterMs       float64 `json:"jitter_ms"`
	Loss           float64 `json:"loss"`
	BytesPerSecond float64 `json:"bytes_per_second"`
}

// Run checks a topology.
func (c *checkCmd) Run(s *streams) error {
	t, err := region.Load(c.Topology)
	if err != nil {
		return err
	}
	rows := []row{}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s; %d hosts\n\none way, ms\n%-12s", t.Name, t.Note, len(t.Hosts), "from \\ to")
	for _, h := range t.Hosts {
		fmt.Fprintf(&b, "%12s", h.Name)
	}
	for i, from := range t.Hosts {
		fmt.Fprintf(&b, "\n%-12s", from.Name)
		for j, to := range t.Hosts {
			if i == j {
				fmt.Fprintf(&b, "%12s", "-")
				continue
			}
			p := t.Path(i, j)
			rows = append(rows, row{from.Name, to.Name, p.Delay.Seconds() * 1e3, p.Jitter.Seconds() * 1e3, p.Loss, p.BytesPerSecond})
			fmt.Fprintf(&b, "%12.3f", p.Delay.Seconds()*1e3)
		}
		fmt.Fprintf(&b, "   %s", strings.TrimSuffix(from.Region+" "+from.Zone, " "))
	}
	if c.JSON {
		return s.json(map[string]any{"topology": t, "paths": rows})
	}
	b.WriteString("\n\n")
	plain := true
	for _, r := range rows {
		if r.JitterMs > 0 || r.Loss > 0 || r.BytesPerSecond > 0 {
			plain = false
			fmt.Fprintf(&b, "%s to %s: jitter up to %v ms, loss %.3g%%, limit %.6g MB/s (0 = none)\n", r.From, r.To, r.JitterMs, 100*r.Loss,
				r.BytesPerSecond/1e6)
		}
	}
	if plain {
		b.WriteString("no jitter, no loss, no limits\n")
	}
	fmt.Fprintf(&b, "congestion control %s; with relays this machine's\n", t.Congestion())
	_, err = io.WriteString(s.out, b.String())
	return err
}

// progressEvery is how often something that takes long says where it is.
const progressEvery = 2 * time.Second

// Run calibrates a network.
func (c *calibrateCmd) Run(ctx context.Context, s *streams) (err error) {
	l, err := c.open(s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	said := time.Now()
	r, err := calibrate.Run(ctx, l, calibrate.Config{PairTime: c.PairTime, ThroughputTime: c.ThroughputTime,
		Progress: func(pair, of int, from, to string) {
			if time.Since(said) >= progressEvery {
				said = time.Now()
				fmt.Fprintf(s.err, "netlab: pair %d of %d, %s and %s\n", pair, of, from, to)
			}
		}})
	if err != nil {
		return err
	}
	if c.JSON {
		err = s.json(r)
	} else {
		err = r.Print(s.out)
	}
	if err == nil && r.Off() > 0 {
		return errOff
	}
	return err
}
