package acrosstest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"ackline/broker/syncmethod"
	"ackline/profiles"
	"ackline/profiles/region"
	"ackline/tools/bench/launch"
	"ackline/tools/netlab/lab"
	"ackline/tools/netlab/netns"
)

// Near is a network of three regions whose round trips are 4, 8 and 10 ms: with the leader in b a write from a takes 8 ms and from c 12, with one in c
// they take 16 and 18, and one from c itself 8.
const Near = `between = [
  { regions = ["a", "b"], delay_ms = 2 },
  { regions = ["a", "c"], delay_ms = 5 },
  { regions = ["b", "c"], delay_ms = 4 },
]
[[regions]]
name = "a"
[[regions]]
name = "b"
[[regions]]
name = "c"
[[hosts]]
name = "n1"
region = "a"
[[hosts]]
name = "n2"
region = "b"
[[hosts]]
name = "n3"
region = "c"
`

// Plan is a launch of a workload on Near.
func Plan(t *testing.T, mode lab.Mode, w profiles.Workload) launch.Plan {
	t.Helper()
	return PlanOn(t, Near, mode, w)
}

// PlanOn is a launch of a workload on a network of three hosts.
func PlanOn(t *testing.T, network string, mode lab.Mode, w profiles.Workload) launch.Plan {
	t.Helper()
	file := filepath.Join(t.TempDir(), "near.toml")
	if err := os.WriteFile(file, []byte(network), 0o644); err != nil {
		t.Fatal(err)
	}
	top := profiles.Topology{Name: "near", Nodes: 3, Region: file, Network: string(mode)}
	s := &profiles.Suite{Name: "test", Launches: 1, DiscardMs: 10, WarmWindowMs: 50, WarmLimitMs: 500, CheckSliceMs: 10, Topology: top,
		Tuning:    profiles.Tuning{Name: "default", SyncMethod: "auto", IdleCPUs: profiles.Halt},
		Scenarios: []profiles.Scenario{{Name: "near-3", Cycles: 1, SliceMs: 150, Workload: w}}}
	if err := errors.Join(s.Validate(), top.Validate(), w.Validate()); err != nil {
		t.Fatal(err)
	}
	return launch.Plan{Suite: s, Scenario: s.Scenarios[0], Number: 1, Seed: 42, Dir: t.TempDir(), Out: t.TempDir(), Method: string(syncmethod.BufferedDsync),
		Programs: Programs(t)}
}

// Modes runs a test with relays, and where it is permitted, outside of short runs, with namespaces, which show the same in as much time again.
func Modes(t *testing.T, test func(t *testing.T, mode lab.Mode)) {
	modes := []lab.Mode{lab.Relay}
	if os.Getenv("ACKLINE_NIGHTLY") != "" || !testing.Short() {
		modes = append(modes, lab.Netns)
	}
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			if mode == lab.Netns {
				if err := netns.Permitted(region.DefaultCongestionControl); err != nil {
					t.Skip("needs CAP_NET_ADMIN: hosts are network namespaces (" + err.Error() + ")")
				}
			}
			test(t, mode)
		})
	}
}
