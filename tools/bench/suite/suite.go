// Package suite runs every scenario of a suite as often as it has launches and writes down what came out.
//
// A run takes minutes to half an hour, on a machine whose speed drifts. So rounds come before scenarios (launch 1 of
// everything, then launch 2): an hour in which the disk was slow falls on all scenarios alike. What has been measured is on
// disk after every launch, so that an interrupted run can be looked at; and whatever happens, no process and no gigabyte is
// left behind.
package suite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/profiles"
	blocks "ackline/tools/bench/disk"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
	"ackline/tools/floor/echo"
	"ackline/tools/hostinfo/fingerprint"
	"ackline/tools/version"
	"ackline/walbench/raw"
)

// Config says what to run and where.
type Config struct {
	Suite    *profiles.Suite
	Place    raw.Place // the directory on the disk that is measured
	Dir      string    // the same as the user gave it, for the record
	Out      string    // out/<time>/ is made in it
	Seed     uint64
	Programs target.Programs
	Started  time.Time
	Notes    []string       // what else is to be known about the run
	Progress func(Progress) // called when anything begins; may be nil
	// Launch runs one launch; nil means the package that knows its workload.
	Launch func(context.Context, launch.Plan) (record.Launch, error)
	// Elsewhere is what is measured when nothing is to be started; nil: all is, with Programs, in Place.
	Elsewhere *Elsewhere
	// Disk measures the disk alone; nil means to look for the best way to do that, where a scenario needs it.
	Disk launch.Disk

	taken     *record.Results // of a run that is gone on with
	takenFrom string
}

// Progress says how far a run is.
type Progress struct {
	Done, Total    int // launches
	Scenario, Step string
	Left           time.Duration // an estimate
}

// The names in the out directory that point to the newest run.
const (
	Latest       = "latest"
	LatestRecord = "record.json"
)

// Run runs the suite. It returns the results as far as they go, also with an error, and the directory that they are in.
func Run(ctx context.Context, c Config) (*record.Results, string, error) {
	if c.Launch == nil {
		c.Launch = one
	}
	out, results := filepath.Join(c.Out, c.Started.UTC().Format("2006-01-02T15-04-05Z")), c.results
	if c.taken != nil {
		out, results = c.takenFrom, c.resume
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, "", err
	}
	work, remove, err := c.workspace()
	if err != nil {
		return nil, out, err
	}
	r, err := results()
	if err == nil {
		err = c.all(ctx, r, work, out)
	}
	err = errors.Join(err, remove())
	r.Ended = time.Now().UTC().Truncate(time.Second)
	r.Interrupted = ctx.Err() != nil
	return r, out, errors.Join(err, record.Write(filepath.Join(out, record.ResultsName), r), point(c.Out, out))
}

// workspace is a folder on the disk that is measured, if that is one of this machine.
func (c *Config) workspace() (work string, remove func() error, err error) {
	if c.Elsewhere != nil {
		return "", func() error { return nil }, nil
	}
	return raw.Workspace(vfs.OS(), c.Place.Dir, c.needs())
}

// all runs every launch, with the disk at hand.
func (c *Config) all(ctx context.Context, r *record.Results, work, out string) error {
	if c.Elsewhere != nil {
		return c.rounds(ctx, r, work, out)
	}
	closeDisk, err := c.findDisk(ctx, r, work, seqConfig())
	if err != nil {
		return err
	}
	return errors.Join(c.rounds(ctx, r, work, out), closeDisk())
}

// needs is how much the largest launch puts on the disk, with room for segments and two rings.
func (c *Config) needs() int64 {
	var most int64
	for _, sc := range c.Suite.Scenarios {
		most = max(most, int64(c.Suite.TopologyOf(sc).Nodes)*2*sc.Workload.RingBytes+3*sc.Workload.PreloadBytes)
		for _, p := range sc.Workload.Points { // one ring, since their floor has none
			most = max(most, p.RingBytes+3*p.PreloadBytes)
		}
	}
	return most + spareBytes
}

// spareBytes is what minutes of load leave in segments.
const spareBytes = 4 << 30

// results fills in all that is known before anything has run.
func (c *Config) results() (*record.Results, error) {
	r := &record.Results{Format: record.Format, Suite: c.Suite.Name, Commit: version.Commit(), GoVersion: runtime.Version(),
		FloorVersion: echo.Version, Started: c.Started.UTC().Truncate(time.Second), Seed: c.Seed, ProfileDigest: c.Suite.Digest(), Host: c.Place.Host,
		Dir: c.Dir, FreeBytes: c.Place.FreeBytes, Notes: c.Notes}
	if err := proc.Prefer(); err != nil {
		r.Notes = append(r.Notes, noPrecedence(err))
	}
	var err error
	if c.Elsewhere == nil {
		c.tell(Progress{Total: c.total(), Step: "writing back what is dirty", Left: c.Suite.Estimate()})
		blocks.WriteBack(device(c.Place))
		c.tell(Progress{Total: c.total(), Step: "choosing the sync method", Left: c.Suite.Estimate()})
		err = c.chooseSync(r)
	}
	for _, sc := range c.Suite.Scenarios {
		r.Scenarios = append(r.Scenarios, describe(c.Suite, sc))
	}
	if c.Elsewhere != nil {
		c.unseen(r)
	}
	return r, err
}

// chooseSync settles the sync method, and with it how fast a single writer can be at most, which sizes rings.
func (c *Config) chooseSync(r *record.Results) error {
	r.SyncMethod = c.Suite.Tuning.SyncMethod
	if r.SyncMethod != "auto" {
		_, err := syncmethod.Parse(r.SyncMethod)
		return err
	}
	// Back to back: the cadence of a single writer, whose gap is one round trip over loopback.
	best, table, err := syncmethod.Probe(vfs.OS(), c.Place.Dir, probeGap)
	if err != nil {
		return fmt.Errorf("choose a sync method: %w", err)
	}
	r.SyncMethod = string(best)
	for _, row := range table {
		r.Notes = append(r.Notes, "sync method "+row.String())
		if row.Method == best {
			c.Suite.SizeRings(row.P50)
		}
	}
	return nil
}

// probeGap is about the round trip between two syncs of a single writer over loopback.
const probeGap = 20 * time.Microsecond

// describe writes a scenario down as it is in effect.
func describe(s *profiles.Suite, sc profiles.Scenario) record.Scenario {
	w := sc.Workload
	out := record.Scenario{Name: sc.Name, Workload: w.Name, Topology: s.TopologyOf(sc).Name, Tuning: s.Tuning.Name, Note: w.Note,
		Configuration: map[string]string{
			"arrivals": w.Arrivals, "connections": strconv.Itoa(w.Connections), "in_flight_per_connection": strconv.Itoa(w.InFlight),
			"partitions": strconv.Itoa(w.Partitions), "record_bytes": strconv.Itoa(w.RecordBytes),
			"records_per_request": strconv.Itoa(w.RecordsPerRequest), "ring_bytes": strconv.FormatInt(w.RingBytes, 10),
			"timeout_ms": strconv.Itoa(w.TimeoutMs),
		}}
	set := func(key string, value int64) {
		if value != 0 {
			out.Configuration[key] = strconv.FormatInt(value, 10)
		}
	}
	set("preload_bytes", w.PreloadBytes)
	set("threads", int64(w.Threads))
	set("fetch_bytes", int64(w.FetchBytes))
	set("slice_ms", int64(sc.SliceMs))
	set("cycles", int64(sc.Cycles))
	set("broker_window_us", int64(s.Tuning.WindowUs))
	set("broker_gc_percent", int64(s.Tuning.GCPercent))
	set("broker_max_procs", int64(s.Tuning.MaxProcs))
	set("broker_timer_slack_us", int64(s.Tuning.TimerSlackUs))
	set("library_slice_ms", int64(sc.LibrarySliceMs))
	set("stage_slice_ms", int64(sc.StageSliceMs))
	set("probe_limit_ms", int64(w.ProbeLimitMs))
	outages(&w, out.Configuration, set)
	set("pause_ms", int64(w.PauseMs))
	set("watch_ms", int64(w.WatchMs))
	set("quiet_ms", int64(w.QuietMs))
	set("rest_ms", int64(w.RestMs))
	set("nodes", int64(s.TopologyOf(sc).Nodes))
	set(record.ObjectiveKey, int64(w.ObjectiveP99Us))
	for _, f := range []struct {
		key   string
		value float64
	}{{"rate_per_second", w.RatePerSecond}, {"rate_factor", w.RateFactor}, {"rate_limit_per_second", w.RateLimitPerSecond},
		{"probe_rate_per_second", w.ProbeRatePerSecond}} {
		if f.value > 0 {
			out.Configuration[f.key] = strconv.FormatFloat(f.value, 'f', -1, 64)
		}
	}
	if w.EndToEnd {
		out.Configuration["end_to_end"] = "true"
	}
	switch w.Kind {
	case profiles.Produce, profiles.Sweep:
		out.Operation, out.FloorIs = "Produce", "durable echo"
		if n := s.TopologyOf(sc).Nodes; n > 1 {
			out.FloorIs = fmt.Sprintf("durable quorum echo of %d nodes", n)
		}
	case profiles.Spread:
		out.Operation, out.FloorIs = "Produce", record.OnePartition
	case profiles.Failover:
		out.Operation = "Failover"
	case profiles.CatchUp:
		out.Operation, out.FloorIs = "CatchUp", "the disk's durable sequential writes"
	case profiles.Idle:
		out.Operation = "Idle"
	case profiles.Fetch:
		out.Operation, out.FloorIs = "Fetch", "TCP echo"
	case profiles.Recovery, profiles.Curve:
		out.Operation, out.FloorIs = "Recovery", "one read of what the WAL held"
	default:
		describeAcross(&out, s.TopologyOf(sc), &w)
	}
	return out
}

// outages adds what a workload does to brokers to its configuration.
func outages(w *profiles.Workload, configuration map[string]string, set func(key string, value int64)) {
	set("kill_incidents", int64(w.KillIncidents))
	set("pause_incidents", int64(w.PauseIncidents))
	set("stop_incidents", int64(w.StopIncidents))
	set("partition_incidents", int64(w.PartitionIncidents))
	set("one_way_incidents", int64(w.OneWayIncidents))
	set("slow_disk_incidents", int64(w.SlowDiskIncidents))
	set("leader_region_incidents", int64(w.LeaderRegionIncidents))
	set("other_region_incidents", int64(w.OtherRegionIncidents))
	set("one_way_region_incidents", int64(w.OneWayRegionIncidents))
	set("slow_writes_per_second", int64(w.SlowWritesPerSecond))
	if w.LibraryClient {
		configuration["library_client"] = strconv.FormatBool(true)
	}
	if w.Kind == profiles.Curve { // each point has its own
		delete(configuration, "ring_bytes")
		delete(configuration, "partitions")
	}
	for i, p := range w.Points {
		configuration[fmt.Sprintf("point_%d_of_bytes_groups_ring_bytes", i+1)] = fmt.Sprintf("%d/%d/%d", p.PreloadBytes, p.Partitions, p.RingBytes)
	}
}

func (c *Config) total() (n int) {
	for _, sc := range c.Suite.Scenarios {
		n += c.Suite.LaunchesOf(sc)
	}
	return n
}

// roundCount is how many rounds there are: a scenario with fewer launches than others is in the first ones only.
func (c *Config) roundCount() (n int) {
	for _, sc := range c.Suite.Scenarios {
		n = max(n, c.Suite.LaunchesOf(sc))
	}
	return n
}

func (c *Config) tell(p Progress) {
	if c.Progress != nil {
		c.Progress(p)
	}
}

// rounds runs every launch.
func (c *Config) rounds(ctx context.Context, r *record.Results, work, out string) error {
	left := newEstimate(c.Suite)
	done, _ := c.Done()
	for _, l := range r.Launches {
		left.has(l.Scenario)
	}
	for round := range c.roundCount() {
		for i, sc := range c.Suite.Scenarios {
			if round >= c.Suite.LaunchesOf(sc) || c.has(sc.Name, round+1) {
				continue
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			began := time.Now()
			plan := launch.Plan{Suite: c.Suite, Scenario: sc, Number: round + 1,
				Seed: launch.Mix(c.Seed + uint64(round)<<32 + uint64(i)), Dir: work, Out: out, Method: r.SyncMethod, Disk: c.Disk,
				Programs: c.Programs, Progress: func(step string) {
					c.tell(Progress{Done: done, Total: c.total(), Scenario: fmt.Sprintf("%s, launch %d of %d", sc.Name, round+1, c.Suite.LaunchesOf(sc)),
						Step: step, Left: left.remaining(time.Since(began))})
				}}
			if c.Elsewhere != nil {
				plan.There = &c.Elsewhere.There
			} else {
				plan.Device = device(c.Place)
				blocks.WriteBack(plan.Device) // what the last one left
			}
			l, err := c.Launch(ctx, plan)
			if err != nil {
				if l.Verdict == record.Failed && ctx.Err() == nil {
					r.Launches = append(r.Launches, l)
				}
				return err
			}
			left.took(sc.Name, time.Since(began))
			done++
			r.Launches = append(r.Launches, l)
			if err := record.Write(filepath.Join(out, fmt.Sprintf("launch-%02d-%s.json", l.Number, l.Scenario)), l); err != nil {
				return err
			}
			if err := record.Write(filepath.Join(out, record.ResultsName), r); err != nil {
				return err
			}
		}
	}
	return nil
}

// device is the disk's name in /proc/diskstats, "" when the place has none.
func device(p raw.Place) string {
	d, _ := fingerprint.FindDisk(os.DirFS("/"), p.Mount)
	return d.Name
}

// point makes out/latest and out/record.json name this run.
func point(top, out string) error {
	base := filepath.Base(out)
	return errors.Join(link(base, filepath.Join(top, Latest)), link(filepath.Join(base, record.ResultsName), filepath.Join(top, LatestRecord)))
}

// link replaces a symbolic link.
func link(to, name string) error {
	tmp := name + ".tmp" + strconv.Itoa(os.Getpid())
	if err := os.Symlink(to, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}

// estimate tells how long the rest takes: what the suite's arithmetic says for launches that have not run, and what was
// seen for scenarios that have.
type estimate struct {
	each map[string]time.Duration // expected of one launch, by scenario
	left map[string]int           // launches not yet run
}

func newEstimate(s *profiles.Suite) *estimate {
	e := &estimate{each: map[string]time.Duration{}, left: map[string]int{}}
	for _, sc := range s.Scenarios {
		e.each[sc.Name], e.left[sc.Name] = s.EstimateScenario(sc), s.LaunchesOf(sc)
	}
	return e
}

// has notes that a launch was run before.
func (e *estimate) has(name string) { e.left[name]-- }

// took notes how long a launch took; later ones are expected to take as long as the last.
func (e *estimate) took(name string, d time.Duration) {
	e.each[name] = d
	e.left[name]--
}

// remaining is what is left when the current launch has run for spent.
func (e *estimate) remaining(spent time.Duration) time.Duration {
	var total time.Duration
	for _, name := range slices.Sorted(maps.Keys(e.left)) {
		total += time.Duration(e.left[name]) * e.each[name]
	}
	return max(total-spent, 0)
}
