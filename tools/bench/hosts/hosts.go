// Package hosts says which machines are there to be measured, for `bench --hosts`.
//
// On one machine broker, floor and client share the CPUs and the disk, and nobody runs a broker like that. On several, bench would
// have to log in and start things, which every site does in its own way. So the other machines are prepared by who knows them, as
// for any service, and a file names what is there: brokers, a floor beside them, and a word about the machines. Bench brings load and
// judgement. What it cannot see from where it is (disks, processes, who else uses them) it does not assume: the record says that it
// is unknown, and scenarios that would need it are refused.
package hosts

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ackline/loadgen/cluster"
	"ackline/loadgen/secure"
	"ackline/profiles/strict"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/record"
)

// Config is hosts.toml.
type Config struct {
	// Note says what the machines are, for people: results of different notes are not compared.
	Note string `toml:"note"`
	// Brokers are the Kafka addresses of all nodes of one cluster, as they advertise them.
	Brokers []string `toml:"brokers"`
	// Replication is how many copies each partition gets; 0: one on every node.
	Replication int `toml:"replication"`
	// HTTP are the addresses of ackline's own brokers' HTTP, in the order of Brokers: they are asked to write what they owe the disk before
	// the other side's turn, and what they have counted. None: neither.
	HTTP     []string      `toml:"http"`
	Floor    Floor         `toml:"floor"`
	Security secure.Config `toml:"security"`
}

// Floor is what stands for the limit. The zero value is none.
type Floor struct {
	// Addr is where `floor serve` listens, on one node, or as the leader of several.
	Addr string `toml:"addr"`
	// Nodes is how many there are, that one included; 0: one.
	Nodes int `toml:"nodes"`
	// Echo is where `floor echo` listens: what reads are compared with, and what says how far the machines are apart. "": none.
	Echo string `toml:"echo"`
}

// Load reads and checks a file. Paths in it are relative to where it lies.
func Load(file string) (*Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c := &Config{}
	if err := strict.Decode(file, "hosts file", text, c); err != nil {
		return nil, err
	}
	for _, path := range []*string{&c.Security.CAFile, &c.Security.CertFile, &c.Security.KeyFile, &c.Security.PasswordFile} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(filepath.Dir(file), *path)
		}
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// Copies is how many nodes have each partition.
func (c *Config) Copies() int { return cmp.Or(c.Replication, len(c.Brokers)) }

// Validate reports every value that cannot be right. It connects to nothing.
func (c *Config) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(strings.TrimSpace(c.Note) != "", "note is empty: say what the machines are (type, disk, network, who else uses them), because figures of "+
		"machines that nobody can name can be compared with nothing")
	want(len(c.Brokers) > 0, `no brokers: want the Kafka addresses of all nodes, such as brokers = ["10.0.0.1:9092"]`)
	address := func(key, addr string) {
		if err := cluster.CheckAddress(addr); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	for _, list := range []struct {
		key   string
		addrs []string
	}{{"brokers", c.Brokers}, {"http", c.HTTP}} {
		for i, addr := range list.addrs {
			address(list.key, addr)
			want(!slices.Contains(list.addrs[:i], addr), "%s: %s is listed twice", list.key, addr)
		}
	}
	want(len(c.HTTP) == 0 || len(c.HTTP) == len(c.Brokers), "http: %d addresses of %d brokers: want one of each, in the same order, or none", len(c.HTTP), len(c.Brokers))
	want(c.Replication >= 0 && c.Replication <= len(c.Brokers), "replication = %d: want 1 to %d, the number of brokers, or 0 for that", c.Replication, len(c.Brokers))
	f := c.Floor
	if f.Addr != "" {
		address("floor.addr", f.Addr)
	}
	if f.Echo != "" {
		address("floor.echo", f.Echo)
	}
	want(f.Nodes >= 0 && (f.Nodes == 0 || f.Addr != ""), "floor.nodes = %d: want how many nodes the floor at floor.addr has", f.Nodes)
	want(f.Addr == "" || max(1, f.Nodes) == c.Copies(), "floor.nodes = %d is no limit for %d copies of each partition: start as many nodes of the floor "+
		"(floor serve --followers), or leave floor.addr away", max(1, f.Nodes), c.Copies())
	if err := c.Security.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("[security], whose keys are loadgen's flags with _ for -: %w", err))
	}
	return errors.Join(errs...)
}

// There is the cluster for a launch.
func (c *Config) There() launch.There {
	return launch.There{Brokers: c.Brokers, Security: c.Security, Copies: c.Copies(), HTTP: c.HTTP, Floor: c.Floor.Addr, Echo: c.Floor.Echo}
}

// About is what the record says of it. leftOut is what of the suite is not run.
func (c *Config) About(leftOut []record.LeftOut) record.Remote {
	r := record.Remote{Hosts: len(c.Brokers), Note: c.Note, LeftOut: leftOut, Unknown: []string{
		"what the disks wrote, and whether somebody else wrote to them (no device counters)",
		"whether the machines were otherwise idle",
		"the brokers' version, settings and sync method, and so whether what they acknowledge is on a disk",
		"memory and system calls of all processes there",
	}}
	if len(c.HTTP) == 0 {
		r.Unknown = append(r.Unknown, "the brokers' CPU time",
			"what the brokers still owed their disks when a slice ended: rates do not pay for it, and the floor's turn may have shared the disk with it")
	}
	if c.Floor.Addr != "" {
		r.Floor = fmt.Sprintf("durable echo of %s, so the hosts file says", nodes(max(1, c.Floor.Nodes)))
		r.Unknown = append(r.Unknown, "the floor's version and sync method, whether it uses the brokers' disks, and whether it is as fast as its parts, raw sync and TCP echo: "+
			"a slow floor flatters every ratio")
	}
	return r
}

func nodes(n int) string {
	if n == 1 {
		return "one node"
	}
	return fmt.Sprintf("%d nodes", n)
}

// String says what will be measured, for people.
func (c *Config) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "hosts        %s: %s; %s of each partition\n", nodes(len(c.Brokers)), strings.Join(c.Brokers, ", "), copies(c.Copies()))
	floor := "no floor: nothing says how far from the limit the figures are"
	if c.Floor.Addr != "" {
		floor = fmt.Sprintf("%s, %s", c.Floor.Addr, nodes(max(1, c.Floor.Nodes)))
	}
	if c.Floor.Echo != "" {
		floor += "; TCP echo " + c.Floor.Echo
	}
	fmt.Fprintf(&b, "floor        %s\n", floor)
	if s := c.Security.String(); s != "" {
		fmt.Fprintf(&b, "security     %s\n", s)
	}
	fmt.Fprintf(&b, "machines     %s\n", c.Note)
	return b.String()
}

func copies(n int) string {
	if n == 1 {
		return "one copy"
	}
	return fmt.Sprintf("%d copies", n)
}
