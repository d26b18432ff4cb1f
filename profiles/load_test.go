package profiles

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBuiltinSuitesLoadAndFit(t *testing.T) {
	limit := map[string]time.Duration{"quick": 10 * time.Minute, "full": 2 * time.Hour, "multi-dc": 75 * time.Minute}
	launches := map[string]int{"quick": 6, "full": 10, "multi-dc": 6}
	for _, name := range Names() {
		s, err := LoadSuite(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := s.Estimate(); got > limit[name] || s.Launches < launches[name] {
			t.Errorf("%s: about %v with %d launches, want at most %v with at least %d", name, got, s.Launches, limit[name], launches[name])
		}
		if s.Name != name || s.Topology.Name != "single" || s.Tuning.Name != "default" {
			t.Errorf("%s resolved to %v", name, s)
		}
		for _, sc := range s.Scenarios {
			// A published p99 needs 10,000 requests of each side in a launch.
			if w := sc.Workload; w.RatePerSecond > 0 && w.Kind != Sweep && slices.Contains(w.GatedPairs, "p99") {
				measured := float64(2*sc.Cycles*(sc.SliceMs-s.DiscardMs)) / 1000
				if w.Kind == Geo { // what is discarded comes on top
					measured = float64(2*sc.Cycles*sc.SliceMs) / 1000
				}
				if n := w.RatePerSecond * measured; n < 10_000 {
					t.Errorf("%s, %s: %.0f requests in a launch, a p99 takes 10,000", name, sc.Name, n)
				}
			}
		}
	}
	for _, want := range []string{"full", "multi-dc", "quick"} {
		if !slices.Contains(Names(), want) {
			t.Errorf("there is no suite %q", want)
		}
	}
}

// A rung lasts as long as a p99 takes at its rate, and never less than slice_ms.
func TestSweepLadder(t *testing.T) {
	s, err := LoadSuite("full")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.Scenarios, func(sc Scenario) bool { return sc.Workload.Kind == Sweep })
	sc := s.Scenarios[i]
	if s.LaunchesOf(sc) != 3 || s.LaunchesOf(s.Scenarios[0]) != 10 {
		t.Errorf("%d launches of the sweep and %d of others, want 3 and 10", s.LaunchesOf(sc), s.LaunchesOf(s.Scenarios[0]))
	}
	rungs := sc.Workload.Rungs()
	if rungs[0] != 4000 || rungs[1] != 6000 || rungs[len(rungs)-1] > sc.Workload.RateLimitPerSecond || rungs[len(rungs)-1]*1.5 < sc.Workload.RateLimitPerSecond {
		t.Errorf("rungs %v", rungs)
	}
	for _, rate := range rungs {
		got := s.RungLength(sc, rate)
		if n := rate * (got - ms(s.DiscardMs)).Seconds(); got < ms(sc.SliceMs) || n < RungRequests-1 || got > ms(sc.SliceMs) && n > RungRequests+1 {
			t.Errorf("at %v/s a slice of %v with %.0f requests, want %d of them and at least %d ms", rate, got, n, RungRequests, sc.SliceMs)
		}
	}
}

// Across regions a rung has as many requests behind what is discarded, which grows with the distance, and a launch is short.
func TestGeoSweepLadder(t *testing.T) {
	s, err := LoadSuite("multi-dc")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.Scenarios, func(sc Scenario) bool { return sc.Workload.Kind == GeoSweep })
	sc := s.Scenarios[i]
	if got := time.Duration(s.LaunchesOf(sc)) * s.EstimateScenario(sc); sc.Name != "multi-dc-3-sweep" || got > 3*time.Minute || !slices.Equal(sc.Workload.Placements, []string{Best}) {
		t.Errorf("%s takes about %v, led from %q", sc.Name, got, sc.Workload.Placements)
	}
	rungs := sc.Workload.Rungs()
	if rungs[0] != 500 || rungs[1] != 750 {
		t.Errorf("rungs %v", rungs)
	}
	const longest = 100 * time.Millisecond
	for _, rate := range rungs {
		got, discard := s.GeoRung(sc, rate, longest)
		if n := rate * (got - discard).Seconds(); discard != discardTrips*longest || got < ms(sc.SliceMs)+discard || n < RungRequests-1 || got > ms(sc.SliceMs)+discard && n > RungRequests+1 {
			t.Errorf("at %v/s a slice of %v with %.0f requests, want %d of them and at least %d ms", rate, got, n, RungRequests, sc.SliceMs)
		}
	}
}

func TestWhatAWorkloadMeasures(t *testing.T) {
	for name, want := range map[string][3]bool{ // one at a time, capacity, throughput
		"latency": {true, false, false}, "inflight": {false, true, false}, "throughput": {false, true, true},
		"steady": {}, "sweep": {}, "end-to-end": {}, "fetch": {}, "recovery": {},
	} {
		src, err := find(kindWorkload, name, "")
		if err != nil {
			t.Fatal(err)
		}
		w := DefaultWorkload()
		if err := load(src, &w); err != nil {
			t.Fatal(err)
		}
		if got := [3]bool{w.OneAtATime(), w.Capacity(), w.Throughput()}; got != want {
			t.Errorf("%s: one at a time, capacity, throughput are %v, want %v", name, got, want)
		}
	}
}

// Every workload is loaded even when no suite names it.
func TestBuiltinWorkloads(t *testing.T) {
	for _, name := range names(kindWorkload) {
		src, err := find(kindWorkload, name, "")
		if err != nil {
			t.Fatal(err)
		}
		w := DefaultWorkload()
		if err := load(src, &w); err != nil {
			t.Error(err)
		}
		if w.Batched() != strings.Contains(w.Note, "batched") {
			t.Errorf("%s: %d records in a request, and the note says %q", name, w.RecordsPerRequest, w.Note)
		}
	}
}

// write puts files into a directory and returns the first one's path.
func write(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, files[0])
}

const mine = `topology = "single"
tuning = "default"
launches = 6
warm_window_ms = 10
warm_limit_ms = 100
check_slice_ms = 10
[[scenarios]]
name = "own"
workload = "own.toml"
cycles = 1
slice_ms = 10
`

func TestOwnFiles(t *testing.T) {
	s, err := LoadSuite(write(t, "mine.toml", mine, "own.toml", "kind = \"produce\"\nrecord_bytes = 100\n"))
	if err != nil {
		t.Fatal(err)
	}
	if w := s.Scenarios[0].Workload; w.RecordBytes != 100 || w.Name != "own" || w.Connections != 1 || w.TimeoutMs != 10_000 || s.Name != "mine" {
		t.Errorf("loaded %+v as %q, want record_bytes 100 and the defaults", w, s.Name)
	}
}

func TestErrorsSayWhereAndWhatWouldBeRight(t *testing.T) {
	own := `kind = "produce"` + "\n"
	ladder := "kind = \"sweep\"\narrivals = \"poisson\"\nobjective_p99_us = 5\nrate_per_second = 100\n"
	for _, c := range []struct {
		suite, workload string
		want            []string
	}{
		{"launchs = 3\n" + mine, own, []string{"mine.toml:1: ", `"launchs"`, `did you mean "launches"?`}},
		{mine + "slice_msec = 3\n", own, []string{"mine.toml:12: ", `"scenarios.slice_msec"`, `"slice_ms"`}},
		{mine, own + "\nrecord_size = 3\n", []string{"own.toml:3: ", `"record_size"`, `"record_bytes"`, "a workload has:"}},
		{mine, own + "in_flight = \"many\"\n", []string{"own.toml:2:13: "}},
		{mine, own + "in_flight = \n", []string{"own.toml:2:"}},
		{mine, own + "rate_per_second = 5\n", []string{"own.toml", "closed arrivals have no rate"}},
		{mine, own + "arrivals = \"poisson\"\n", []string{"own.toml", "need a rate above 0"}},
		{mine, own + "connections = 0\n", []string{"own.toml", "connections = 0: want 1 to"}},
		{mine, own + "ring_bytes = 10_000_000\n", []string{"own.toml", "multiple of 4096"}},
		{mine, "kind = \"fetch\"\n", []string{"preload_bytes = 0", "fetch_bytes = 0"}},
		{mine, "kind = \"sing\"\n", []string{`kind = "sing"`, "produce, fetch, recovery, sweep, spread, failover, catch-up, idle, recovery-curve, geo, geo-sweep, region-loss, region-return, region-readers or line-rate"}},
		{mine, "kind = \"sweep\"\n", []string{`arrivals = "closed": a sweep's are poisson`, "objective_p99_us = 0", "rate_factor = 0"}},
		{mine, ladder + "rate_factor = 2\nrate_limit_per_second = 150\n", []string{"makes 1 rungs, want 2 to"}},
		{mine, ladder + "rate_factor = 1.1\nrate_limit_per_second = 100_000\n", []string{"makes 40 rungs"}},
		{mine, ladder + "rate_factor = 1.001\nrate_limit_per_second = 1000\n", []string{"rate_factor = 1.001"}},
		{mine, ladder + "rate_factor = 2\nrate_limit_per_second = 1000\ngated_pairs = [\"p50\"]\n", []string{"a sweep has none"}},
		{mine, own + "objective_p99_us = 5\n", []string{"belong to a sweep, this is produce"}},
		{mine, own + "end_to_end = true\nrecords_per_request = 2\n", []string{"one record in a request"}},
		{mine, own + "gated_pairs = [\"e2e-p50\"]\n", []string{"with end_to_end also"}},
		{mine, own + "probe_rate_per_second = 1000\nprobe_limit_ms = 9000\n", []string{"belong to a recovery, a failover, a catch-up or a region-loss, -return or -readers, this is produce"}},
		{mine, "kind = \"recovery\"\npreload_bytes = 1\nprobe_rate_per_second = 10\n", []string{"probe_rate_per_second = 10:", "probe_limit_ms = 0"}},
		{mine, "kind = \"failover\"\nquiet_ms = 5\nrest_ms = 5\nprobe_rate_per_second = 500\nprobe_limit_ms = 9000\nkill_incidents = 1\n", []string{`"own": nobody takes over from a single node`}},
		{mine, "kind = \"catch-up\"\npreload_bytes = 1\nquiet_ms = 5\nprobe_rate_per_second = 500\nprobe_limit_ms = 9000\n", []string{"nothing follows it"}},
		{mine, "kind = \"catch-up\"\n", []string{"probe_rate_per_second = 0: a catch-up is under load", "preload_bytes = 0", "quiet_ms = 0"}},
		{mine, "kind = \"failover\"\n", []string{"without an incident", "probe_rate_per_second = 0", "quiet_ms = 0", "rest_ms = 0"}},
		{mine, own + "kill_incidents = 1\npause_incidents = 2\n", []string{"kill_incidents = 1: want 0 to", "pause_ms = 0"}},
		{mine, own + "[[points]]\npreload_bytes = 1048576\npartitions = 1\nring_bytes = 16777216\n", []string{"points: a recovery-curve wants one or more, any other has none: there are 1"}},
		{mine, "kind = \"recovery-curve\"\n[[points]]\npreload_bytes = 67108864\npartitions = 1\nring_bytes = 67108864\n", []string{"points, number 1", "want more than twice as much"}},
		{mine, "kind = \"recovery-curve\"\n", []string{"points: a recovery-curve wants one or more"}},
		{mine, own + "partition_incidents = 1\none_way_incidents = 1\nslow_disk_incidents = 1\n", []string{"partition_incidents = 1: want 0 to", "one_way_incidents = 1", "slow_disk_incidents = 1: want 0 to", "pause_ms = 0", "slow_writes_per_second = 0"}},
		{mine, "kind = \"region-return\"\n", []string{"probe_rate_per_second = 0: a region-return is under load", "preload_bytes = 0", "quiet_ms = 0"}},
		{mine, strings.Replace(ladder, "sweep", "geo-sweep", 1), []string{"placements = []: a geo or a geo-sweep workload wants at least one", "rate_factor = 0"}},
		{mine, "kind = \"geo-sweep\"\nplacements = [\"best\"]\n", []string{`arrivals = "closed": a sweep's are poisson`, "objective_p99_us = 0", "a geo-sweep workload wants arrivals from a schedule"}},
		{mine, strings.Replace(ladder, "sweep", "geo-sweep", 1) + "rate_factor = 2\nrate_limit_per_second = 1000\nplacements = [\"best\", \"worst\"]\n", []string{
			`placements = ["best" "worst"]: a geo-sweep has one ladder, with the leader held in one place: want best or worst`}},
		{mine, strings.Replace(ladder, "sweep", "geo-sweep", 1) + "rate_factor = 2\nrate_limit_per_second = 1000\nplacements = [\"automatic\"]\n", []string{"want best or worst"}},
		{mine, strings.Replace(ladder, "sweep", "geo-sweep", 1) + "rate_factor = 2\nrate_limit_per_second = 1000\nplacements = [\"best\"]\n", []string{
			`"own": a workload across regions, and no other, runs on a topology with a region`}},
		{mine, own + "placements = [\"best\"]\n", []string{"any other has none"}},
		{mine, "kind = \"line-rate\"\n", []string{"more than one record in a request"}},
		{mine, "kind = \"region-loss\"\n", []string{"a region-loss without an incident", "probe_rate_per_second = 0", "quiet_ms = 0", "rest_ms = 0"}},
		{mine, own + "leader_region_incidents = 1\nother_region_incidents = 1\none_way_region_incidents = 1\n", []string{"leader_region_incidents = 1: want 0 to", "other_region_incidents = 1", "one_way_region_incidents = 1"}},
		{mine, "kind = \"region-loss\"\nquiet_ms = 5\nrest_ms = 5\npause_ms = 5\nprobe_rate_per_second = 500\nprobe_limit_ms = 9000\nother_region_incidents = 1\n", []string{`"own": a workload across regions, and no other, runs on a topology with a region`}},
		{mine, own + "library_client = true\n", []string{"library_client: belongs to a region-loss, this is produce"}},
		{mine, "kind = \"region-loss\"\nslow_disk_incidents = 1\n", []string{"pause_ms = 0", "slow_writes_per_second = 0"}},
		{mine, own + "quiet_ms = 1\nrest_ms = 1\nwatch_ms = 1\n", []string{"quiet_ms = 1", "rest_ms = 1", "watch_ms = 1"}},
		{mine, "kind = \"idle\"\n", []string{"watch_ms = 0", "quiet_ms = 0"}},
		{mine, "kind = \"spread\"\n", []string{"more than one partition"}},
		{mine + "topology = \"same-dc-3\"\n", "kind = \"recovery\"\npreload_bytes = 1\n", []string{"a recovery workload runs on one node, topology same-dc-3 has 3"}},
		{mine + "topology = \"same-dc-4\"\n", own, []string{`scenario "own"`, `no built-in topology "same-dc-4"`, "same-dc-3"}},
		{mine + "launches = 101\n", own, []string{"launches = 101"}},
		{mine + "library_slice_ms = 5\n", own + "connections = 2\n", []string{"where one request is outstanding"}},
		{mine, own + "gated_pairs = [\"p98\"]\n", []string{`"p98"`}},
		{mine, own + "record_bytes = 100_000\nrecords_per_request = 50\n", []string{"more than 1 MiB"}},
		{strings.Replace(mine, `"single"`, `"triple"`, 1), own, []string{`no built-in topology "triple"`, "single"}},
		{strings.Replace(mine, `"own"`, `"Own One"`, 1), own, []string{`scenario name "Own One"`}},
		{strings.Replace(mine, "launches = 6", "launches = 0", 1), own, []string{"launches = 0"}},
		{"budget_s = 1\n" + mine, own, []string{"budget_s = 1", "need about"}},
		{mine + "[[scenarios]]\nname = \"own\"\nworkload = \"latency\"\ncycles = 1\nslice_ms = 9\n", own, []string{"listed twice"}},
	} {
		_, err := LoadSuite(write(t, "mine.toml", c.suite, "own.toml", c.workload))
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v\nwant an error that contains %q", err, want)
			}
		}
	}
	if _, err := LoadSuite("quik"); err == nil || !strings.Contains(err.Error(), "full, multi-dc, quick") {
		t.Errorf("got %v, want the names that exist", err)
	}
	if _, err := LoadSuite("./nowhere.toml"); err == nil || !strings.Contains(err.Error(), "nowhere.toml") {
		t.Errorf("got %v, want the file's name", err)
	}
}

// A scenario runs on the suite's topology unless it names one, and more nodes take longer.
func TestTopologyOfAScenario(t *testing.T) {
	s, err := LoadSuite(write(t, "mine.toml", mine+"[[scenarios]]\nname = \"three\"\nworkload = \"own.toml\"\ntopology = \"same-dc-3\"\ncycles = 1\nslice_ms = 10\n",
		"own.toml", "kind = \"produce\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	one, three := s.Scenarios[0], s.Scenarios[1]
	if got := s.TopologyOf(one); got.Name != "single" || got.Nodes != 1 {
		t.Errorf("own runs on %+v", got)
	}
	if got := s.TopologyOf(three); got.Name != "same-dc-3" || got.Nodes != 3 || got.Host == "" {
		t.Errorf("three runs on %+v", got)
	}
	if a, b := s.EstimateScenario(one), s.EstimateScenario(three); b <= a {
		t.Errorf("one node takes %v, three %v", a, b)
	}
	for nodes, want := range map[int]bool{0: false, 1: true, 2: false, 3: true, 4: false, 9: true, 11: false} {
		if err := (&Topology{Nodes: nodes, Host: "127.0.0.1"}).Validate(); (err == nil) != want {
			t.Errorf("%d nodes: %v", nodes, err)
		}
	}
}

// A digest changes with a profile's content, wherever in the suite it is.
func TestDigest(t *testing.T) {
	load := func(suite, workload string) string {
		s, err := LoadSuite(write(t, "mine.toml", suite, "own.toml", workload))
		if err != nil {
			t.Fatal(err)
		}
		return s.Digest()
	}
	own := "kind = \"produce\"\n"
	base := load(mine, own)
	if base != load(mine+"# a comment\n", own+"connections = 1\n") {
		t.Error("the digest moved although everything resolved to the same")
	}
	for _, d := range []string{load(mine, own+"connections = 2\n"), load(strings.Replace(mine, "cycles = 1", "cycles = 2", 1), own)} {
		if d == base {
			t.Error("the digest did not move with the profile")
		}
	}
}

// A number's key says its unit; only counts, ratios and names have none.
func TestKeysCarryUnits(t *testing.T) {
	unitless := []string{"nodes", "launches", "cycles", "connections", "in_flight", "partitions", "max_procs", "gc_percent",
		"threads", "rate_per_second", "records_per_request", "ring_laps", "rate_factor", "kill_incidents", "pause_incidents", "stop_incidents", "partition_incidents", "one_way_incidents",
		"slow_disk_incidents", "leader_region_incidents", "other_region_incidents", "one_way_region_incidents", "slow_writes_per_second", "rate_limit_per_second",
		"probe_rate_per_second"}
	unit := regexp.MustCompile(`_(us|ms|s|bytes)$`)
	for _, v := range []any{Topology{}, Tuning{}, Workload{}, Suite{}, Scenario{}} {
		for i := range reflect.TypeOf(v).NumField() {
			f := reflect.TypeOf(v).Field(i)
			key := f.Tag.Get("toml")
			if k := f.Type.Kind(); key == "-" || (k != reflect.Int && k != reflect.Int64 && k != reflect.Float64) {
				continue
			}
			if !unit.MatchString(key) && !slices.Contains(unitless, key) {
				t.Errorf("%T: key %q has no unit", v, key)
			}
		}
	}
}

func TestWarmWindowOf(t *testing.T) {
	s := Suite{WarmWindowMs: 400}
	if own, suite := s.WarmWindowOf(Scenario{WarmWindowMs: 1000}), s.WarmWindowOf(Scenario{}); own != time.Second || suite != 400*time.Millisecond {
		t.Errorf("%v and %v, want the scenario's 1s and the suite's 400ms", own, suite)
	}
}
