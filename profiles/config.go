package profiles

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"ackline/profiles/region"
)

// Topology says which broker processes run and where.
type Topology struct {
	Name  string `toml:"-" json:"name"`      // the file's name
	Nodes int    `toml:"nodes" json:"nodes"` // brokers, each a process; 1, or an odd number of them
	Host  string `toml:"host" json:"host"`   // address that broker and floor listen on, without a port; not with Region
	// Region is an emulated network (profiles/region), of which each node is a host.
	Region string `toml:"region" json:"region,omitempty"`
	// Network is how that is emulated: netns, relay, or auto, which takes netns where that is permitted.
	Network string `toml:"network" json:"network,omitempty"`
}

// How a network is emulated: each host a network namespace, which wants privileges; relays, which want none; namespaces where they are
// permitted, else relays.
const (
	Netns = "netns"
	Relay = "relay"
	Auto  = "auto"
)

func (t *Topology) setName(name string) { t.Name = name }

// mostNodes bounds a topology: all of its processes share one machine.
const mostNodes = 9

// Validate reports the first value that cannot be run.
func (t *Topology) Validate() error {
	switch {
	case t.Nodes < 1 || t.Nodes > mostNodes || t.Nodes%2 == 0:
		return fmt.Errorf("nodes = %d: want 1, or 3 to %d and odd, because an even number bears no more failures than one less", t.Nodes, mostNodes)
	case t.Region != "":
		return t.validateNetwork()
	case t.Network != "":
		return fmt.Errorf("network = %q: only a topology with a region is emulated", t.Network)
	case t.Host == "":
		return errors.New(`host is empty: want the address to listen on, such as "127.0.0.1"`)
	}
	return nil
}

func (t *Topology) validateNetwork() error {
	r, err := region.Load(t.Region)
	switch {
	case err != nil:
		return fmt.Errorf("region: %w", err)
	case t.Host != "":
		return fmt.Errorf("host = %q: the hosts of region %s have addresses of their own", t.Host, t.Region)
	case !oneOf(t.Network, Netns, Relay, Auto):
		return fmt.Errorf("network = %q: want %s, %s or %s", t.Network, Netns, Relay, Auto)
	case t.Nodes != len(r.Hosts):
		return fmt.Errorf("nodes = %d: region %s has %d hosts, and each is a node", t.Nodes, t.Region, len(r.Hosts))
	}
	return nil
}

// Tuning is what the broker is told that a workload does not decide. Zero leaves the broker's own default.
type Tuning struct {
	Name       string `toml:"-" json:"name"`
	SyncMethod string `toml:"sync_method" json:"sync_method"` // how a WAL block becomes durable; "auto" probes once for the whole run
	WindowUs   int    `toml:"window_us" json:"window_us"`     // how long the WAL's syncer waits for company; 0 = not at all
	GCPercent  int    `toml:"gc_percent" json:"gc_percent"`   // GOGC of the broker process; 0 = Go's default
	MaxProcs   int    `toml:"max_procs" json:"max_procs"`     // GOMAXPROCS of the broker process; 0 = Go's default
	// TimerSlackUs is how much later than asked for the kernel may wake the broker's threads; 0 = the broker's default, -1 = as the kernel does.
	TimerSlackUs int `toml:"timer_slack_us" json:"timer_slack_us,omitempty"`
	// IdleCPUs is what CPUs do that have nothing to do, for the whole run and both sides: Halt, or Poll where that is permitted.
	IdleCPUs string `toml:"idle_cpus" json:"idle_cpus"`
}

// What idle CPUs do. Halt is what the machine does by itself; Poll costs power, and a sleeper wakes sooner.
const (
	Halt = "halt"
	Poll = "poll"
)

func (t *Tuning) setName(name string) { t.Name = name }

// Validate reports the first value that cannot be right. Names of sync methods are known to the broker, not here.
func (t *Tuning) Validate() error {
	switch {
	case t.SyncMethod == "":
		return errors.New(`sync_method is empty: want "auto" or the name of a method (floor serve --help lists them)`)
	case t.IdleCPUs != Halt && t.IdleCPUs != Poll:
		return fmt.Errorf("idle_cpus = %q: want %q, as the machine has it, or %q, where that is permitted", t.IdleCPUs, Halt, Poll)
	case t.WindowUs < 0 || t.WindowUs > 1_000_000:
		return fmt.Errorf("window_us = %d: want 0 to 1000000", t.WindowUs)
	case t.GCPercent < 0:
		return fmt.Errorf("gc_percent = %d: want 0 (default) or more", t.GCPercent)
	case t.MaxProcs < 0:
		return fmt.Errorf("max_procs = %d: want 0 (default) or more", t.MaxProcs)
	case t.TimerSlackUs < -1 || t.TimerSlackUs > 5_000:
		return fmt.Errorf("timer_slack_us = %d: want 0 (default), -1 (the kernel's) or up to 5000", t.TimerSlackUs)
	}
	return nil
}

// Suite is what `make bench` runs: scenarios and how long each takes.
type Suite struct {
	Name         string     `toml:"-" json:"name"`
	Note         string     `toml:"note" json:"note"`                     // one line for people
	TopologyName string     `toml:"topology" json:"-"`                    // of scenarios that name none
	TuningName   string     `toml:"tuning" json:"-"`                      // of all scenarios
	Launches     int        `toml:"launches" json:"launches"`             // fresh processes per scenario: the replicates
	BudgetS      int        `toml:"budget_s" json:"budget_s"`             // the whole suite must be expected to fit; checked before it starts
	DiscardMs    int        `toml:"discard_ms" json:"discard_ms"`         // of each slice's beginning
	WarmWindowMs int        `toml:"warm_window_ms" json:"warm_window_ms"` // five of these must agree before a launch is measured
	WarmLimitMs  int        `toml:"warm_limit_ms" json:"warm_limit_ms"`   // after which the launch is INVALID
	CheckSliceMs int        `toml:"check_slice_ms" json:"check_slice_ms"` // of raw sync, TCP echo and floor each, where the floor answers for itself
	Scenarios    []Scenario `toml:"scenarios" json:"scenarios"`           // in the order they run
	Topology     Topology   `toml:"-" json:"topology"`                    // resolved
	Tuning       Tuning     `toml:"-" json:"tuning"`                      // resolved
}

// Scenario is one workload for a time.
type Scenario struct {
	Name         string `toml:"name" json:"name"`         // in results: a word
	WorkloadName string `toml:"workload" json:"-"`        // a built-in one, or a file's path
	TopologyName string `toml:"topology" json:"-"`        // instead of the suite's; "" = the suite's
	Launches     int    `toml:"launches" json:"launches"` // instead of the suite's; 0 = the suite's. Fewer than six have no interval
	Cycles       int    `toml:"cycles" json:"cycles"`     // A B B A so many times per launch; a sweep has none
	SliceMs      int    `toml:"slice_ms" json:"slice_ms"` // one slice, the discarded part included; sweep: at least, longer at low rates
	// WarmWindowMs stands for the suite's where a load has a rhythm that a shorter window would take for change, such as
	// checkpoints at saturation; 0 = the suite's.
	WarmWindowMs int      `toml:"warm_window_ms" json:"warm_window_ms,omitzero"`
	Workload     Workload `toml:"-" json:"workload"` // resolved
	// Topology is resolved where the scenario has one of its own, else zero: see Suite.TopologyOf.
	Topology Topology `toml:"-" json:"topology,omitzero"`
	// LibrarySliceMs is the length of the slices in which franz-go and the pre-encoded frames take turns, to see what a client
	// library costs. Only where one request is outstanding; 0 = not measured.
	LibrarySliceMs int `toml:"library_slice_ms" json:"library_slice_ms"`
	// StageSliceMs is the length of a slice in which each request asks the broker where its time goes. Only where one request is
	// outstanding; 0 = not measured.
	StageSliceMs int `toml:"stage_slice_ms" json:"stage_slice_ms,omitzero"`
}

// LaunchesOf is how often a scenario is launched.
func (s *Suite) LaunchesOf(sc Scenario) int {
	if sc.Launches > 0 {
		return sc.Launches
	}
	return s.Launches
}

// WarmWindowOf is how long a window is whose median must agree with others' before a scenario is measured.
func (s *Suite) WarmWindowOf(sc Scenario) time.Duration {
	return time.Duration(cmp.Or(sc.WarmWindowMs, s.WarmWindowMs)) * time.Millisecond
}

// TopologyOf is what a scenario runs on.
func (s *Suite) TopologyOf(sc Scenario) Topology {
	if sc.Topology.Nodes > 0 {
		return sc.Topology
	}
	return s.Topology
}

var word = regexp.MustCompile(`^[a-z][a-z0-9.-]*$`)

// Validate reports every value that cannot be right.
func (s *Suite) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(s.Launches >= 1 && s.Launches <= 100, "launches = %d: want 1 to 100 (6 for an interval, 10 for a good one)", s.Launches)
	want(s.DiscardMs >= 0, "discard_ms = %d: want 0 or more", s.DiscardMs)
	want(s.WarmWindowMs > 0, "warm_window_ms = %d: want more than 0", s.WarmWindowMs)
	want(s.WarmLimitMs >= 5*s.WarmWindowMs, "warm_limit_ms = %d: want at least five windows of %d ms", s.WarmLimitMs, s.WarmWindowMs)
	want(s.CheckSliceMs > 0, "check_slice_ms = %d: want more than 0", s.CheckSliceMs)
	want(len(s.Scenarios) > 0, "no [[scenarios]]")
	var seen []string
	for _, sc := range s.Scenarios {
		want(word.MatchString(sc.Name), "scenario name %q: want a lower-case word of letters, digits, dots and dashes", sc.Name)
		want(!slices.Contains(seen, sc.Name), "scenario %q is listed twice", sc.Name)
		seen = append(seen, sc.Name)
		want(sc.Launches >= 0 && sc.Launches <= 100, "scenario %q: launches = %d: want 0 (the suite's) to 100", sc.Name, sc.Launches)
		want(sc.WarmWindowMs >= 0 && s.WarmLimitMs >= 5*sc.WarmWindowMs, "scenario %q: warm_window_ms = %d: want 0 (the suite's) to a fifth of "+
			"warm_limit_ms", sc.Name, sc.WarmWindowMs)
		want(sc.LibrarySliceMs >= 0 && (sc.LibrarySliceMs == 0 || sc.Workload.OneAtATime()), "scenario %q: library_slice_ms = %d: want 0, or more "+
			"where one request is outstanding", sc.Name, sc.LibrarySliceMs)
		want(sc.StageSliceMs >= 0 && (sc.StageSliceMs == 0 || sc.Workload.OneAtATime()), "scenario %q: stage_slice_ms = %d: want 0, or more "+
			"where one request is outstanding", sc.Name, sc.StageSliceMs)
		nodes := s.TopologyOf(sc).Nodes
		want(nodes == 1 || oneOf(sc.Workload.Kind, Produce, Spread, Failover, CatchUp, Idle) || sc.Workload.AcrossRegions(), "scenario %q: a %s workload runs on one node, topology %s has %d",
			sc.Name, sc.Workload.Kind, s.TopologyOf(sc).Name, nodes)
		want(!oneOf(sc.Workload.Kind, Failover, CatchUp) || nodes > 1, "scenario %q: nobody takes over from a single node, and nothing follows it: name a "+
			"topology of at least three", sc.Name)
		want(sc.Workload.AcrossRegions() == (s.TopologyOf(sc).Region != ""), "scenario %q: a workload across regions, and no other, runs on a topology with a region", sc.Name)
		if !sc.Workload.InTurns() {
			continue
		}
		want(sc.Workload.Ladder() || sc.Cycles >= 1, "scenario %q: cycles = %d: want 1 or more", sc.Name, sc.Cycles)
		want(sc.SliceMs > s.DiscardMs, "scenario %q: slice_ms = %d: want more than discard_ms = %d", sc.Name, sc.SliceMs, s.DiscardMs)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if need := s.Estimate(); s.BudgetS > 0 && need > time.Duration(s.BudgetS)*time.Second {
		return fmt.Errorf("budget_s = %d, but the scenarios need about %v: fewer launches, cycles or shorter slices would fit",
			s.BudgetS, need.Round(time.Second))
	}
	return nil
}

// String names the suite with what it resolved to.
func (s *Suite) String() string {
	var sc []string
	for _, x := range s.Scenarios {
		sc = append(sc, x.Name)
	}
	return fmt.Sprintf("%s: %s × %s × [%s], %d launches each", s.Name, s.Topology.Name, s.Tuning.Name, strings.Join(sc, " "), s.Launches)
}

func oneOf(s string, all ...string) bool { return slices.Contains(all, s) }
