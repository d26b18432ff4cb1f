package profiles

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Kinds of workload.
const (
	Produce  = "produce"        // requests of pre-encoded record batches, beside the bare durable echo
	Fetch    = "fetch"          // reads of records that were written before, beside a bare TCP echo
	Recovery = "recovery"       // kill -9 with a full WAL, restart from a cold cache, beside reading the ring once
	Sweep    = "sweep"          // produce at a ladder of rates, up to saturation, beside the bare durable echo at the same rates
	Spread   = "spread"         // produce to many partitions, beside the same load on a topic of one partition of the same brokers
	Failover = "failover"       // the node that leads is killed, stopped or paused, while probes write to what it led
	CatchUp  = "catch-up"       // a follower is killed, much is written without it, and it returns under load
	Curve    = "recovery-curve" // a recovery for each of several sizes of the WAL and numbers of groups
	Idle     = "idle"           // many partitions that nobody uses, and what they cost
)

// Arrivals of requests.
const (
	Closed   = "closed"   // the next one when the last was answered: measures capacity or a single writer
	Constant = "constant" // from a schedule, evenly spaced
	Poisson  = "poisson"  // from a schedule, as independent users arrive
)

// Where the leader of a geo workload's partition is.
const (
	Best      = "best"      // where producers in all regions are acknowledged soonest on average, by the distances
	Worst     = "worst"     // where latest
	Automatic = "automatic" // where the brokers take it, by round trips and by where producers say that they are
)

// Workload is the load on one broker. It is the same on the floor.
type Workload struct {
	Name              string  `toml:"-" json:"name"`
	Kind              string  `toml:"kind" json:"kind"`                               // produce, fetch, recovery, sweep, spread, failover, catch-up, idle, recovery-curve, geo, geo-sweep, region-loss, region-return, region-readers or line-rate
	Note              string  `toml:"note" json:"note"`                               // one line for people
	Arrivals          string  `toml:"arrivals" json:"arrivals"`                       // closed, constant or poisson
	RatePerSecond     float64 `toml:"rate_per_second" json:"rate_per_second"`         // of all connections; 0 with closed arrivals; sweep: of the lowest rung
	Connections       int     `toml:"connections" json:"connections"`                 // of all threads together
	Threads           int     `toml:"threads" json:"threads,omitempty"`               // of load; 0 = as many as the generator thinks right
	InFlight          int     `toml:"in_flight" json:"in_flight"`                     // requests outstanding on each connection at most
	Partitions        int     `toml:"partitions" json:"partitions"`                   // requests go round them; each has its own raft group
	RecordBytes       int     `toml:"record_bytes" json:"record_bytes"`               // value of a record; keys are empty
	RecordsPerRequest int     `toml:"records_per_request" json:"records_per_request"` // above 1 the figures are called batched
	TimeoutMs         int     `toml:"timeout_ms" json:"timeout_ms"`                   // after which an operation counts as failed
	RingBytes         int64   `toml:"ring_bytes" json:"ring_bytes"`                   // WAL ring and floor's ring: small enough to wrap twice
	RingLaps          int     `toml:"ring_laps" json:"ring_laps,omitempty"`           // above 0: RingBytes is the least, and the ring sized for so many laps (SizeRings)
	PreloadBytes      int64   `toml:"preload_bytes" json:"preload_bytes"`             // fetch, recovery: written before the clock starts; catch-up, region-return: without who is away
	FetchBytes        int     `toml:"fetch_bytes" json:"fetch_bytes"`                 // fetch: most bytes of records in an answer
	// EndToEnd adds, to a produce workload, a consumer in the same process that waits at the end of each partition.
	EndToEnd bool `toml:"end_to_end" json:"end_to_end,omitempty"`
	// RateFactor, RateLimitPerSecond and ObjectiveP99Us belong to a sweep and a geo-sweep: each rung's rate is so many times the one before,
	// none is above the limit, and the knee is the highest one at which the p99 is at most the objective.
	RateFactor         float64 `toml:"rate_factor" json:"rate_factor,omitempty"`
	RateLimitPerSecond float64 `toml:"rate_limit_per_second" json:"rate_limit_per_second,omitempty"`
	ObjectiveP99Us     int     `toml:"objective_p99_us" json:"objective_p99_us,omitempty"`
	// ProbeRatePerSecond and ProbeLimitMs belong to a recovery: single records at that rate, evenly spaced, before the kill and
	// from the first acknowledgement after it until the p99 is restored, for at most so long. 0: that is not measured. In a catch-up
	// they go on until the follower has all, in a failover and a region-loss all the time.
	ProbeRatePerSecond float64 `toml:"probe_rate_per_second" json:"probe_rate_per_second,omitempty"`
	ProbeLimitMs       int     `toml:"probe_limit_ms" json:"probe_limit_ms,omitempty"`
	// KillIncidents, PauseIncidents and StopIncidents belong to a failover: how often the node that leads is killed (kill -9), paused
	// for PauseMs (SIGSTOP, SIGCONT) and told to stop, with ProbeRatePerSecond records to one of its partitions.
	KillIncidents  int `toml:"kill_incidents" json:"kill_incidents,omitempty"`
	PauseIncidents int `toml:"pause_incidents" json:"pause_incidents,omitempty"`
	StopIncidents  int `toml:"stop_incidents" json:"stop_incidents,omitempty"`
	PauseMs        int `toml:"pause_ms" json:"pause_ms,omitempty"`
	// PartitionIncidents, OneWayIncidents and SlowDiskIncidents belong to a failover too: the node that leads goes on running for PauseMs,
	// cut off from the others both ways, in one direction (so many times in each), or with a disk that takes SlowWritesPerSecond, which a
	// region-loss may have as well.
	PartitionIncidents  int `toml:"partition_incidents" json:"partition_incidents,omitempty"`
	OneWayIncidents     int `toml:"one_way_incidents" json:"one_way_incidents,omitempty"`
	SlowDiskIncidents   int `toml:"slow_disk_incidents" json:"slow_disk_incidents,omitempty"`
	SlowWritesPerSecond int `toml:"slow_writes_per_second" json:"slow_writes_per_second,omitempty"`
	// LeaderRegionIncidents, OtherRegionIncidents and OneWayRegionIncidents belong to a region-loss: how often the region that leads is cut off
	// for PauseMs, one that follows, and the one that leads in one direction (so many times in each).
	LeaderRegionIncidents int `toml:"leader_region_incidents" json:"leader_region_incidents,omitempty"`
	OtherRegionIncidents  int `toml:"other_region_incidents" json:"other_region_incidents,omitempty"`
	OneWayRegionIncidents int `toml:"one_way_region_incidents" json:"one_way_region_incidents,omitempty"`
	// LibraryClient belongs to a region-loss: franz-go as people use it writes as many records beside the client that is set up for failovers.
	// In a failover it does in any case.
	LibraryClient bool `toml:"library_client" json:"library_client,omitempty"`
	// QuietMs is how long the probes of a failover, a region-loss and a catch-up run before anything happens, and how long an idle workload's partitions are given to
	// settle; RestMs is how long all is left alone after an incident, on average.
	QuietMs int `toml:"quiet_ms" json:"quiet_ms,omitempty"`
	RestMs  int `toml:"rest_ms" json:"rest_ms,omitempty"`
	// WatchMs belongs to an idle workload, how long the partitions are left alone under observation, and to region-readers, how long records count.
	WatchMs int `toml:"watch_ms" json:"watch_ms,omitempty"`
	// Points belong to a recovery-curve: a recovery for each, one after the other.
	Points []Point `toml:"points" json:"points,omitempty"`
	// Placements belong to a geo workload: where its partition is led, one after the other, each with a topic of its own. A geo-sweep has one.
	Placements []string `toml:"placements" json:"placements,omitempty"`
	// GatedPairs take part in a comparison's verdict: "p50", "p99", "rate", "e2e-p50", "e2e-p99".
	GatedPairs []string `toml:"gated_pairs" json:"gated_pairs"`
}

// Point is what the WAL holds when the broker is killed, once.
type Point struct {
	PreloadBytes int64 `toml:"preload_bytes" json:"preload_bytes"` // of records
	Partitions   int   `toml:"partitions" json:"partitions"`       // that they are written to
	RingBytes    int64 `toml:"ring_bytes" json:"ring_bytes"`       // so large that no checkpoint begins before the kill
}

// DefaultWorkload holds the values that a workload file need not name.
func DefaultWorkload() Workload {
	return Workload{Arrivals: Closed, Connections: 1, InFlight: 1, Partitions: 1, RecordBytes: 1024, RecordsPerRequest: 1,
		TimeoutMs: 10_000, RingBytes: 64 << 20}
}

func (w *Workload) setName(name string) { w.Name = name }

// Timeout is TimeoutMs.
func (w *Workload) Timeout() time.Duration { return time.Duration(w.TimeoutMs) * time.Millisecond }

// Watch is WatchMs.
func (w *Workload) Watch() time.Duration { return ms(w.WatchMs) }

// Quiet is QuietMs.
func (w *Workload) Quiet() time.Duration { return ms(w.QuietMs) }

// Rest is RestMs.
func (w *Workload) Rest() time.Duration { return ms(w.RestMs) }

// Pause is PauseMs.
func (w *Workload) Pause() time.Duration { return ms(w.PauseMs) }

// ProbeLimit is ProbeLimitMs.
func (w *Workload) ProbeLimit() time.Duration { return ms(w.ProbeLimitMs) }

// Batched says that a request carries more than one record.
func (w *Workload) Batched() bool { return w.RecordsPerRequest > 1 }

// BesideTheDisk says that the disk's own durable rate is measured, too: bytes that become durable, for as long as it takes, are what counts.
func (w *Workload) BesideTheDisk() bool { return w.Throughput() || w.Kind == CatchUp }

// Fill is the load that writes what a fetch workload then reads, and what a follower catches up with: the same records, in batches, as fast as it goes.
func (w Workload) Fill() Workload {
	w.Kind, w.Arrivals, w.RatePerSecond = Produce, Closed, 0
	w.Connections, w.InFlight = 4, 4
	w.RecordsPerRequest = max(1, min(16, 1<<20/w.RecordBytes))
	return w
}

// At is the recovery that one point of a curve is.
func (w Workload) At(p Point) Workload {
	w.Kind, w.Points = Recovery, nil
	w.PreloadBytes, w.Partitions, w.RingBytes = p.PreloadBytes, p.Partitions, p.RingBytes
	return w
}

// OneAtATime says that a single request is outstanding: what the floor can be told from its parts by.
func (w *Workload) OneAtATime() bool {
	return w.Kind == Produce && w.Arrivals == Closed && w.Connections == 1 && w.InFlight == 1
}

// Capacity says that as much is written as the system takes.
func (w *Workload) Capacity() bool {
	return w.Kind == Produce && w.Arrivals == Closed && !w.OneAtATime()
}

// Throughput says that the rate at which bytes become durable is what is measured: writes in batches, as many as the system
// takes. Its slices count from their first request until nothing is owed to the disk any more, and beside them the disk's
// own durable rate is measured.
func (w *Workload) Throughput() bool { return w.Capacity() && w.Batched() }

// Ladder says that there is a ladder of rates, up to saturation.
func (w *Workload) Ladder() bool { return oneOf(w.Kind, Sweep, GeoSweep) }

// Rungs are the rates of a sweep, the lowest first.
func (w *Workload) Rungs() []float64 {
	var out []float64
	for rate := w.RatePerSecond; rate <= w.RateLimitPerSecond && len(out) < mostRungs; rate *= w.RateFactor {
		out = append(out, math.Round(rate))
	}
	return out
}

const (
	// minRingBytes is the smallest ring that floor and broker both accept.
	minRingBytes = 8 << 20
	// mostIncidents bounds a failover of each sort, mostPartitions a topic.
	mostIncidents  = 1000
	mostPartitions = 20_000
	// mostRungs and leastRungs bound a sweep: it has to end, and a single rung has no knee.
	mostRungs, leastRungs = 40, 2
	// leastProbeMs is a few times as long as the stretch that a p99 is taken over.
	leastProbeMs = 3000
)

// Validate reports every value that cannot be right.
func (w *Workload) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(oneOf(w.Kind, Produce, Fetch, Recovery, Sweep, Spread, Failover, CatchUp, Idle, Curve) || w.AcrossRegions(), "kind = %q: want produce, fetch, recovery, sweep, spread, "+
		"failover, catch-up, idle, recovery-curve, geo, geo-sweep, region-loss, region-return, region-readers or line-rate", w.Kind)
	want(oneOf(w.Arrivals, Closed, Constant, Poisson), "arrivals = %q: want closed, constant or poisson", w.Arrivals)
	open := w.Arrivals == Constant || w.Arrivals == Poisson
	want(!open || w.RatePerSecond > 0, "rate_per_second = %v: %s arrivals need a rate above 0", w.RatePerSecond, w.Arrivals)
	want(open || w.RatePerSecond == 0, "rate_per_second = %v: closed arrivals have no rate", w.RatePerSecond)
	for _, n := range []struct {
		name       string
		value, max int
	}{
		{"connections", w.Connections, 4096}, {"in_flight", w.InFlight, 65536}, {"partitions", w.Partitions, mostPartitions},
		{"record_bytes", w.RecordBytes, 8 << 20}, {"records_per_request", w.RecordsPerRequest, 65536}, {"timeout_ms", w.TimeoutMs, 600_000},
	} {
		want(n.value >= 1 && n.value <= n.max, "%s = %d: want 1 to %d", n.name, n.value, n.max)
	}
	want(w.RecordBytes*w.RecordsPerRequest <= 1<<20, "record_bytes × records_per_request = %d: a request of more than 1 MiB is refused "+
		"by Kafka's defaults", w.RecordBytes*w.RecordsPerRequest)
	want(w.RingBytes >= minRingBytes && w.RingBytes%4096 == 0, "ring_bytes = %d: want at least %d and a multiple of 4096", w.RingBytes, minRingBytes)
	want(w.RingLaps == 0 || w.RingLaps >= 3 && w.Kind == Produce && w.OneAtATime(), "ring_laps = %d: want 0, or at least 3 in a produce workload "+
		"with one request outstanding", w.RingLaps)
	want(!oneOf(w.Kind, Fetch, Recovery, CatchUp, Return) || w.PreloadBytes > 0, "preload_bytes = %d: %s needs something written before", w.PreloadBytes, w.Kind)
	want(w.Kind != Fetch || w.FetchBytes > 0, "fetch_bytes = %d: want the most bytes in an answer", w.FetchBytes)
	want(!w.EndToEnd || w.Kind == Produce && !w.Batched(), "end_to_end: only a produce workload with one record in a request has a consumer")
	for _, p := range w.GatedPairs {
		want(oneOf(p, "p50", "p99", "rate") || w.EndToEnd && oneOf(p, "e2e-p50", "e2e-p99"), "gated_pairs: %q: want p50, p99 or rate, with "+
			"end_to_end also e2e-p50 or e2e-p99", p)
	}
	w.validateSweep(want)
	w.validateProbe(want)
	w.validateFailover(want)
	w.validateAcross(want)
	want((w.Kind == Curve) == (len(w.Points) > 0), "points: a recovery-curve wants one or more, any other has none: there are %d", len(w.Points))
	for i, p := range w.Points {
		one := w.At(p)
		err := one.Validate()
		want(err == nil && p.RingBytes > 2*p.PreloadBytes, "points, number %d: ring_bytes = %d for preload_bytes = %d: want more than twice as much, since a "+
			"checkpoint begins when half of the ring is in use; %v", i+1, p.RingBytes, p.PreloadBytes, err)
	}
	want(oneOf(w.Kind, Idle, Readers) == (w.WatchMs > 0) && w.WatchMs <= 600_000, "watch_ms = %d: an idle and a region-readers workload want 1 to 600000, any other has none", w.WatchMs)
	want(w.Kind != Spread || w.Partitions > 1 && open, "a spread workload wants more than one partition and arrivals from a schedule")
	return errors.Join(errs...)
}

func (w *Workload) validateSweep(want func(ok bool, format string, args ...any)) {
	if !w.Ladder() {
		want(w.RateFactor == 0 && w.RateLimitPerSecond == 0 && w.ObjectiveP99Us == 0,
			"rate_factor, rate_limit_per_second and objective_p99_us belong to a sweep, this is %s", w.Kind)
		return
	}
	want(w.Arrivals == Poisson, "arrivals = %q: a sweep's are poisson", w.Arrivals)
	want(len(w.GatedPairs) == 0, "gated_pairs: a sweep has none")
	want(w.ObjectiveP99Us > 0, "objective_p99_us = %d: want more than 0", w.ObjectiveP99Us)
	if !(w.RateFactor >= 1.1 && w.RateFactor <= 10) {
		want(false, "rate_factor = %v: want 1.1 to 10", w.RateFactor)
		return
	}
	n := len(w.Rungs())
	want(n >= leastRungs && n < mostRungs, "rate_limit_per_second = %v: from %v on by factors of %v that makes %d rungs, want %d to %d",
		w.RateLimitPerSecond, w.RatePerSecond, w.RateFactor, n, leastRungs, mostRungs-1)
}

func (w *Workload) validateProbe(want func(ok bool, format string, args ...any)) {
	want(!oneOf(w.Kind, CatchUp, Return, Readers) || w.ProbeRatePerSecond > 0, "probe_rate_per_second = %v: a %s is under load", w.ProbeRatePerSecond, w.Kind)
	if w.ProbeRatePerSecond == 0 && w.ProbeLimitMs == 0 {
		return
	}
	want(oneOf(w.Kind, Recovery, Curve, Failover, CatchUp, RegionLoss, Return, Readers), "probe_rate_per_second and probe_limit_ms belong to a recovery, a failover, a catch-up or a "+
		"region-loss, -return or -readers, this is %s", w.Kind)
	want(w.ProbeRatePerSecond >= 200 && w.ProbeRatePerSecond <= 10_000, "probe_rate_per_second = %v: want 200 (two samples beyond a "+
		"second's p99) to 10000", w.ProbeRatePerSecond)
	want(w.ProbeLimitMs >= leastProbeMs && w.ProbeLimitMs <= 120_000, "probe_limit_ms = %d: want %d to 120000", w.ProbeLimitMs, leastProbeMs)
}

func (w *Workload) validateFailover(want func(ok bool, format string, args ...any)) {
	for _, n := range []struct {
		name  string
		value int
	}{{"kill_incidents", w.KillIncidents}, {"pause_incidents", w.PauseIncidents}, {"stop_incidents", w.StopIncidents},
		{"partition_incidents", w.PartitionIncidents}, {"one_way_incidents", w.OneWayIncidents}} {
		want(n.value >= 0 && n.value <= mostIncidents && (n.value == 0 || w.Kind == Failover), "%s = %d: want 0 to %d, and 0 but in a failover", n.name, n.value, mostIncidents)
	}
	want(w.SlowDiskIncidents >= 0 && w.SlowDiskIncidents <= mostIncidents && (w.SlowDiskIncidents == 0 || oneOf(w.Kind, Failover, RegionLoss)),
		"slow_disk_incidents = %d: want 0 to %d, and 0 but in a failover and a region-loss", w.SlowDiskIncidents, mostIncidents)
	want((w.Lasting() > 0) == (w.PauseMs > 0) && w.PauseMs <= 60_000, "pause_ms = %d: want 1 to 60000 with pause_incidents and all others but kill_incidents "+
		"and stop_incidents, else 0", w.PauseMs)
	want((w.SlowDiskIncidents > 0) == (w.SlowWritesPerSecond > 0) && w.SlowWritesPerSecond <= 1000, "slow_writes_per_second = %d: want 1 to 1000 with "+
		"slow_disk_incidents, else 0", w.SlowWritesPerSecond)
	quiet := oneOf(w.Kind, Failover, CatchUp, Idle, RegionLoss, Return, Readers)
	want(quiet && w.QuietMs > 0 && w.QuietMs <= 60_000 || w.QuietMs == 0 && !quiet,
		"quiet_ms = %d: a failover, a catch-up, a region-loss, -return or -readers and an idle workload want 1 to 60000, any other has none", w.QuietMs)
	want(oneOf(w.Kind, Failover, RegionLoss) == (w.RestMs > 0) && w.RestMs <= 60_000, "rest_ms = %d: a failover and a region-loss want 1 to 60000, any other has none", w.RestMs)
	if w.Kind != Failover {
		return
	}
	want(w.Incidents() > 0, "a failover without an incident: one of kill_incidents, pause_incidents, stop_incidents, partition_incidents, one_way_incidents and slow_disk_incidents wants to be more than 0")
	want(w.ProbeRatePerSecond > 0, "probe_rate_per_second = %v: a failover is seen by its probes", w.ProbeRatePerSecond)
}

// Incidents is how many there are of all sorts.
func (w *Workload) Incidents() int { return w.KillIncidents + w.StopIncidents + w.Lasting() }

// Lasting is how many of them go on for PauseMs.
func (w *Workload) Lasting() int {
	return w.PauseIncidents + w.PartitionIncidents + 2*w.OneWayIncidents + w.SlowDiskIncidents +
		w.LeaderRegionIncidents + w.OtherRegionIncidents + 2*w.OneWayRegionIncidents
}

// Cuts says that what lies between nodes is cut.
func (w *Workload) Cuts() bool { return w.PartitionIncidents+w.OneWayIncidents > 0 }

// InTurns says that two sides take turns in slices.
func (w *Workload) InTurns() bool {
	return !oneOf(w.Kind, Recovery, Curve, Failover, CatchUp, Idle, RegionLoss, Return, Readers)
}
