package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"ackline/loadgen/soak"
)

// checkCmd is loadgen check: the check of the data as a soak.
type checkCmd struct {
	Brokers []string `placeholder:"HOST:PORT,…" help:"Brokers to ask first."`
	Topic   string   `placeholder:"NAME,…" help:"Topic to make, write to and read back, or several, and delete when the soak is over unless it found a fault (a new name each time; the state file remembers it)."`
	Topics  int      `default:"1" placeholder:"N" help:"Topics that are made, of --partitions partitions each (${default})."`

	Existing    bool              `help:"With --topic: the topics are there already; use them, and do not delete them."`
	Keep        bool              `help:"Do not delete the topics."`
	Partitions  int32             `default:"1" help:"Number of partitions of each (${default})."`
	Replication int16             `default:"0" help:"Replication factor of a topic that is made; 0 leaves it to the cluster (${default})."`
	TopicConfig map[string]string `placeholder:"KEY=VALUE" help:"Topic configuration."`

	securityFlags `group:"What the brokers want to see"`

	For   time.Duration `required:"" placeholder:"DURATION" help:"How long to write, all starts with this state file together."`
	State string        `placeholder:"FILE" help:"Keep the state here, once a second, and go on from it when it is there. Without it a soak cannot be resumed."`
	Rate  float64       `default:"500" help:"Records per second, by a schedule that knows nothing of the answers (${default})."`
	Size  int           `default:"1024" help:"Bytes of each record's value (${default})."`

	Timeout time.Duration `default:"30s" help:"How long a record may stay unanswered before another producer takes over (${default})."`
	GiveUp  time.Duration `default:"10m" help:"How long nothing may be acknowledged, or nothing be readable, before the soak ends (${default})."`

	metricsFlags
}

// Help is shown by loadgen check --help.
func (*checkCmd) Help() string {
	return `Writes at a modest rate and reads everything back meanwhile. Each acknowledged record has to be there once, in order, at the offset
that it was acknowledged with, with the bytes that were sent. Findings, outages and reconnections are told when they happen, and how it
stands once a minute. Brokers may be restarted while it goes on, and so may this: ^C saves the state, and after a kill -9 the last save is
at most a second old. What was acknowledged since then is still read back and compared, but that it was acknowledged, and
where, is not known any more.

The topic may be one that exists and that others write to, whose records are let be; its retention has to be longer than this may be
away.

  loadgen check --brokers localhost:9092 --for 8h --state soak.state
                                                                       the same again goes on with it

Exit codes: 0 VALID, 1 error, 2 bad usage, 3 it ended before its time and nothing is wrong so far, 4 CHECK FAILED.`
}

func (c *checkCmd) soak() soak.Config {
	return soak.Config{Brokers: c.Brokers, Security: c.securityFlags.config(), Topic: c.Topic, Topics: c.Topics, Existing: c.Existing, Keep: c.Keep, Partitions: c.Partitions, Replication: c.Replication,
		TopicConfig: c.TopicConfig, RatePerSecond: c.Rate, ValueBytes: c.Size, For: c.For, State: c.State, Timeout: c.Timeout, GiveUp: c.GiveUp}
}

// exec soaks.
func (c *checkCmd) exec(ctx context.Context, e env) (code int, err error) {
	cfg := c.soak()
	if len(cfg.Brokers) == 0 {
		return exitUsage, errors.New("give --brokers host:port")
	}
	if c.Rate == 0 {
		return exitUsage, errors.New("rate 0: want more than 0")
	}
	if err := cfg.Validate(); err != nil {
		return exitUsage, err
	}
	load, stop, err := c.metricsFlags.open(e)
	if err != nil {
		return exitError, err
	}
	defer stop()
	now := func() string { return time.Now().Format(time.TimeOnly) }
	ev := soak.Events{
		Say:    func(text string) { fmt.Fprintf(e.errOut, "%s %s\n", now(), text) },
		Report: func(s soak.Status) { fmt.Fprintf(e.errOut, "%s %s\n", now(), soakLine(s)) },
	}
	if load != nil {
		ev.Watch = load.Check
	}
	out, err := soak.Run(ctx, cfg, ev)
	if out == nil {
		return exitError, err
	}
	if perr := printSoak(e.out, out, e.args); perr != nil {
		return exitError, errors.Join(err, perr)
	}
	switch {
	case out.Failed():
		code = exitFailed
	case !out.Complete:
		code = exitInvalid
	case err != nil:
		code = exitError // the data is intact, but cleaning up or saving was not possible
	}
	return code, err
}

// soakLine is a soak's minute.
func soakLine(s soak.Status) string {
	r := s.Check
	return fmt.Sprintf("%v of %v  %.0f/s  %d acknowledged, %d read back, %d on the way; %d lost, %d repeated, %d out of order, %d misplaced, %d changed; %d outages; %.0f MiB",
		s.Soaked.Round(time.Second), s.For, s.RatePerSecond, r.Acked, r.Read, s.Unread, r.Lost, r.Duplicated, r.Reordered, r.WrongOffset, r.WrongBytes,
		s.Outages.Count, float64(s.MemoryBytes)/(1<<20))
}

// printSoak writes the summary for people.
func printSoak(out io.Writer, o *soak.Outcome, args string) error {
	var b strings.Builder
	r := o.Check
	fmt.Fprintf(&b, "soaked for %v of %v, started %d times, %d producers\n", o.Soaked.Round(time.Second), o.For, o.Starts, o.Launches)
	fmt.Fprintf(&b, "check: %d records acknowledged, %d read back: %d lost, %d repeated, %d out of order, %d misplaced, %d changed; %d present of which no acknowledgement is known, %d of others\n",
		r.Acked, r.Read, r.Lost, r.Duplicated, r.Reordered, r.WrongOffset, r.WrongBytes, r.Unacked, r.Foreign)
	for _, e := range r.Examples {
		fmt.Fprintf(&b, "  %s\n", e)
	}
	if n := o.Outages; n.Count > 0 {
		fmt.Fprintf(&b, "outages: %d without an acknowledgement for a second or more, %.1f s in all, the longest %.1f s\n", n.Count, float64(n.TotalMS)/1e3, float64(n.LongestMS)/1e3)
	}
	if o.Unread > 0 {
		fmt.Fprintf(&b, "%d acknowledged records are not read back yet\n", o.Unread)
	}
	switch {
	case o.Failed():
		b.WriteString("\nCHECK FAILED\n")
	case o.Complete:
		b.WriteString("\nVALID\n")
	default:
		b.WriteString("\nINVALID: not finished, nothing wrong so far\n")
	}
	if o.Ended != "" {
		fmt.Fprintf(&b, "  it ended before its time: %s\n", o.Ended)
	}
	if !o.Complete && o.State != "" {
		fmt.Fprintf(&b, "  to go on from here: loadgen %s\n", args)
	} else if !o.Complete {
		b.WriteString("  it cannot be resumed, because it had no --state\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}
