package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"ackline/tools/netlab/lab"
)

type runCmd struct {
	network
	Host    []string `placeholder:"HOST" help:"Run the command on these hosts only; on a single one it has the terminal. Default: on every host."`
	Fault   []string `placeholder:"STEP" sep:"none" help:"Something that happens a time after the start, as in '10s isolate tokyo' (repeatable): cut A B (one way), part A B (both), isolate REGION, worsen A B delay=50ms jitter=5ms loss=1% limit=100mbit (one way; any of these), heal A B, heal."`
	Port    []int    `placeholder:"PORT" help:"Without a command: print where each host finds this port of each other."`
	Command []string `arg:"" optional:"" passthrough:"" help:"What to run, after --. In it, {host} is the host's name, {id} its number from 1, {region} and {zone} where it is, {addr} the address to listen on, {NAME:PORT} where this host finds a port of host NAME, {peers:PORT} that of all others, as ID@HOST:PORT with commas."`
}

// grace is how long programs may take to end when they are told to.
const grace = 3 * time.Second

// Run runs a command on hosts, or keeps the network.
func (c *runCmd) Run(ctx context.Context, s *streams) (err error) {
	command := c.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	l, err := c.open(s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	plan, err := parsePlan(l, c.Fault)
	if err != nil {
		return err
	}
	hosts := c.Host
	if len(hosts) == 0 {
		hosts = l.Topology().HostNames()
	}
	if len(command) == 0 {
		defer plan.start(ctx, l, s.err)()
		return keep(ctx, s, l, hosts, c.Port)
	}
	args := map[string][]string{}
	for _, host := range hosts {
		if args[host], err = fill(l, host, command); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, len(hosts))
	lines := &sync.Mutex{}
	var group sync.WaitGroup
	for i, host := range hosts {
		cmd := program(ctx, args[host])
		if len(hosts) == 1 && len(c.Host) == 1 {
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, s.out, s.err
			cmd.SysProcAttr.Setpgid = false // it stays in the terminal's foreground
		} else {
			cmd.Stdout, cmd.Stderr = &prefixed{host: host, to: s.out, mu: lines}, &prefixed{host: host, to: s.err, mu: lines}
		}
		if err := l.Start(host, cmd); err != nil {
			stop()
			group.Wait()
			return fmt.Errorf("host %s: %w", host, err)
		}
		group.Go(func() {
			defer end(cmd)
			if err := cmd.Wait(); err != nil && ctx.Err() == nil {
				errs[i] = fmt.Errorf("host %s: %s: %w", host, args[host][0], err)
			}
		})
	}
	defer plan.start(ctx, l, s.err)()
	group.Wait()
	return errors.Join(errs...)
}

// end kills what a program has left behind in its process group.
func end(cmd *exec.Cmd) {
	if cmd.SysProcAttr.Setpgid {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // there is nothing, as a rule
	}
}

// program is a command that gets SIGTERM when ctx ends, with everything that it started, and SIGKILL when that does not help.
func program(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // netlab may be killed, too
	cmd.Cancel = func() error {
		if cmd.SysProcAttr.Setpgid {
			return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		}
		return cmd.Process.Signal(syscall.SIGTERM)
	}
	cmd.WaitDelay = grace
	return cmd
}

// keep prints where everybody is and returns when ctx ends.
func keep(ctx context.Context, s *streams, l *lab.Lab, hosts []string, ports []int) error {
	fmt.Fprintf(s.out, "%s, mode %s\n", l.Topology().Name, l.Mode())
	for _, host := range hosts {
		addr, err := l.Host(host)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "%s listens on %s\n", host, addr)
		for _, to := range l.Topology().HostNames() {
			for _, port := range ports {
				if to == host {
					continue
				}
				at, err := l.Addr(host, to, port)
				if err != nil {
					return err
				}
				fmt.Fprintf(s.out, "%s finds port %d of %s at %s\n", host, port, to, at)
			}
		}
	}
	fmt.Fprintln(s.out, "running; ^C ends it")
	<-ctx.Done()
	return nil
}

var placeholder = regexp.MustCompile(`\{([a-z][a-z0-9-]*)(?::([0-9]+))?\}`)

// fill replaces the placeholders of a command for one host.
func fill(l *lab.Lab, host string, command []string) ([]string, error) {
	i := l.Topology().Index(host)
	addr, err := l.Host(host)
	if err != nil {
		return nil, err
	}
	h := l.Topology().Hosts[i]
	plain := map[string]string{"host": host, "id": strconv.Itoa(i + 1), "addr": addr, "region": h.Region, "zone": h.Zone}
	var errs []error
	var out []string
	for _, arg := range command {
		out = append(out, placeholder.ReplaceAllStringFunc(arg, func(found string) string {
			m := placeholder.FindStringSubmatch(found)
			text, err := plain[m[1]], error(nil)
			_, known := plain[m[1]]
			switch {
			case m[2] != "":
				text, err = reach(l, host, m[1], m[2])
			case !known:
				err = fmt.Errorf("%s: want {host}, {id}, {addr}, {region}, {zone}, {NAME:PORT} or {peers:PORT}", found)
			}
			errs = append(errs, err)
			return text
		}))
	}
	return out, errors.Join(errs...)
}

// reach is where a host finds a port of another, or of all others.
func reach(l *lab.Lab, host, name, port string) (string, error) {
	p, err := strconv.Atoi(port)
	if err != nil {
		return "", err
	}
	if name != "peers" {
		return l.Addr(host, name, p)
	}
	var all []string
	for i, to := range l.Topology().HostNames() {
		if to == host {
			continue
		}
		at, err := l.Addr(host, to, p)
		if err != nil {
			return "", err
		}
		all = append(all, fmt.Sprintf("%d@%s", i+1, at))
	}
	return strings.Join(all, ","), nil
}

// prefixed writes whole lines, each behind its host's name. What is left without an end is written with the next.
type prefixed struct {
	host string
	to   io.Writer
	mu   *sync.Mutex // of all that write to the terminal
	rest []byte
}

// Write never fails for what it keeps.
func (p *prefixed) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	end := bytes.LastIndexByte(p.rest, '\n') + 1
	if end == 0 {
		return len(b), nil
	}
	var out []byte
	for line := range bytes.Lines(p.rest[:end]) {
		out = append(append(append(out, p.host...), ": "...), line...)
	}
	p.rest = slices.Clone(p.rest[end:])
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.to.Write(out)
	return len(b), err
}
