package geo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ackline/loadgen/cluster"
	"ackline/loadgen/hist"
	"ackline/loadgen/pace"
	"ackline/profiles"
	"ackline/tools/bench/across"
	"ackline/tools/bench/meter"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/sum"
	"ackline/tools/bench/target"
	"ackline/tools/bench/warm"
)

// order is a cycle: A B B A, so that a steady drift hits both sides alike.
var order = [4]side{record.System, record.Floor, record.Floor, record.System}

// placement is one that is being measured.
type placement struct {
	*trip
	where   string
	lead    int // number of the host
	nodes   target.Nodes
	loads   map[side]*crowd
	alive   map[side]interface{ Err() error }
	regions []record.Region
	sets    map[side]*hist.Set // of the cycles that count
	cycles  []record.Slice     // of this placement
	logs    map[side][]interval
}

// interval is one slice's histograms, for the .hlog.
type interval struct {
	start, end time.Time
	set        *hist.Set
}

// placement measures with the leader in one place. The network is measured before the first and after the last of them.
func (l *trip) placement(ctx context.Context, where string, first, last bool) error {
	p := &placement{trip: l, where: where, loads: map[side]*crowd{}, alive: map[side]interface{ Err() error }{record.System: l.Brokers},
		logs:  map[side][]interval{},
		sets:  map[side]*hist.Set{record.System: hist.NewSet(), record.Floor: hist.NewSet()},
		nodes: l.Nodes(where)}
	c, err := cluster.New(l.Brokers.Addrs(), p.nodes.Timeout)
	if err != nil {
		return err
	}
	p.tell("making the topic")
	if err := c.Through(l.Net.Near()).CreateTopic(ctx, where, 1, int16(len(l.Brokers.Nodes)), p.topicConfig()); err != nil {
		return err
	}
	defer func() {
		for _, c := range p.loads {
			c.close()
		}
	}()
	if stays, err := p.openSystem(ctx); err != nil || !stays {
		return err
	}
	if first {
		if err := p.calibrate(ctx, across.Before); err != nil {
			return err
		}
	}
	return p.besideFloor(ctx, last)
}

// topicConfig keeps the leader where it is put: otherwise the brokers would take it to its producers.
func (p *placement) topicConfig() map[string]string {
	if host, given := p.host(p.where); given {
		return map[string]string{"leader.region": p.Net.Place(host)}
	}
	return nil
}

// settled is how often the brokers may move a leader before it is where they want it.
const settled = 4

// openSystem puts the leader where it belongs, opens a producer in every region and warms the brokers up. Whether it stays there is told.
func (p *placement) openSystem(ctx context.Context) (stays bool, err error) {
	host, given := p.host(p.where)
	for attempt := range uint64(settled) {
		p.lead = host
		if given {
			err = p.nodes.Transfer(ctx, host)
		} else {
			p.lead, err = p.nodes.Leader(ctx)
		}
		if err != nil {
			return false, err
		}
		p.loads[record.System], err = toBrokers(ctx, p.clients(p.lead), p.Scenario.Workload, session.Place{Brokers: p.Brokers.Addrs(), Topic: p.where}, p.Sub(1+3000*attempt))
		if err != nil {
			return false, err
		}
		if !given {
			if stays, err = p.letThemChoose(ctx, attempt); err != nil {
				return false, err
			}
		}
		if given || stays {
			if err := p.warmUp(ctx, record.System); err != nil {
				return false, err
			}
			lead, err := p.nodes.Leader(ctx)
			if err != nil || lead == p.lead {
				return true, err
			}
		}
		p.loads[record.System].close()
		delete(p.loads, record.System)
	}
	p.Invalid("leader %s: the brokers moved it while the load was put on, %d times", p.where, settled)
	return false, nil
}

// letThemChoose puts load on until the brokers have moved the leader, or have had time to and left it.
func (p *placement) letThemChoose(ctx context.Context, attempt uint64) (stays bool, err error) {
	p.tell("letting the brokers choose")
	limit := profiles.GeoChoice(p.Longest)
	for began, n := time.Now(), uint64(0); time.Since(began) < limit; n++ {
		if _, _, err := p.loads[record.System].slice(ctx, session.Stretch{Length: loaded, Seed: p.Sub(4000 + 3000*attempt + n)}); err != nil {
			return false, p.explain(record.System, err)
		}
		if lead, err := p.nodes.Leader(ctx); err != nil || lead != p.lead {
			return false, err
		}
	}
	return true, nil
}

// besideFloor starts a floor that is led from the same host, lets the two take turns and reads everything back.
func (p *placement) besideFloor(ctx context.Context, last bool) (err error) {
	p.tell("starting the floor")
	dir := filepath.Join(p.Work, "floor-"+p.where)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	seats, err := p.Net.Seats()
	if err != nil {
		return err
	}
	w := &p.Scenario.Workload
	floor, err := p.Programs.StartQuorumOn(ctx, target.FloorConfig{Dir: dir, RingBytes: w.RingBytes, SyncMethod: p.Method,
		ReplyBytes: p.loads[record.System].replyBytes(), Log: p.Path(p.where + "-floor.log")}, seats, p.lead)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, floor.Stop(target.StopTimeout)) }()
	if p.loads[record.Floor], err = toFloor(ctx, p.clients(p.lead), *w, floor.Addr, p.where, p.Sub(2)); err != nil {
		return err
	}
	p.alive[record.Floor] = floor
	p.meter = meter.Meter{Device: p.Device, PIDs: map[side][]int{record.System: p.Brokers.PIDs(p.lead), record.Floor: floor.PIDs()}}
	if err := p.warmUp(ctx, record.Floor); err != nil {
		return err
	}
	measure, sumUp := p.turns, p.sumUp
	if w.Ladder() {
		measure, sumUp = p.climb, p.sumUpLadder
	}
	if err := measure(ctx); err != nil {
		return err
	}
	if last {
		if err := p.calibrate(ctx, across.After); err != nil {
			return err
		}
	}
	lead, err := p.nodes.Leader(ctx)
	if err != nil {
		return err
	}
	if lead != p.lead {
		p.Invalid("leader %s: it was on %s in the beginning and on %s in the end", p.where, p.Net.Called(p.lead), p.Net.Called(lead))
	}
	sumUp()
	for s := range p.logs {
		if err := p.writeLog(s); err != nil {
			return err
		}
	}
	return p.check(ctx)
}

// warmUp runs a side until its medians stand still.
func (p *placement) warmUp(ctx context.Context, s side) error {
	p.tell("warming up the %s", s)
	window, limit := p.Suite.GeoWarmWindow(p.Scenario, p.Longest), time.Duration(p.Suite.WarmLimitMs)*time.Millisecond
	before, err := proc.ReadCPU("/proc")
	if err != nil {
		return err
	}
	n := uint64(0)
	reason, err := warm.Up(ctx, window, limit, func(ctx context.Context, w time.Duration) (float64, error) {
		n++
		all, _, err := p.loads[s].slice(ctx, session.Stretch{Length: w, Seed: p.Sub(1000 + n)})
		if err != nil {
			return 0, err
		}
		return all.P50us(), nil
	})
	after, readErr := proc.ReadCPU("/proc")
	if reason != "" && readErr == nil && after.Sub(before).StolenFraction() > record.StolenWorthTelling {
		p.InvalidByHost("leader %s: the %s %s", p.where, s, reason)
	} else if reason != "" {
		p.Invalid("leader %s: the %s %s", p.where, s, reason)
	}
	if err == nil && s == record.System {
		err = p.Brokers.Checkpoint(ctx)
	}
	return p.explain(s, err)
}

// loaded is how long load is put on at a time while the network's round trips are measured.
const loaded = 500 * time.Millisecond

// calibrate measures the network's round trips with the load on.
func (p *placement) calibrate(ctx context.Context, when string) error {
	p.tell("the network's round trips under load, %s", when)
	n := uint64(0)
	err := p.Calibrate(ctx, when, func(ctx context.Context) error {
		n++
		_, _, err := p.loads[record.System].slice(ctx, session.Stretch{Length: loaded, Seed: p.Sub(1999 + n)})
		return p.explain(record.System, err)
	})
	if err != nil {
		return err
	}
	return p.explain(record.System, p.Brokers.Checkpoint(ctx))
}

// explain adds to an error what the process of that side said if it has ended.
func (p *placement) explain(s side, err error) error {
	if err != nil {
		return errors.Join(err, p.alive[s].Err())
	}
	return nil
}

// turns lets the sides take turns.
func (p *placement) turns(ctx context.Context) error {
	for i, c := range p.loads[record.System].clients {
		p.regions = append(p.regions, record.Region{Placement: p.where, Leader: p.Net.Called(p.lead), Client: c.name,
			TheoryUs: float64(p.loads[record.System].clients[i].theory.Nanoseconds()) / 1e3, System: hist.NewLatency(), Floor: hist.NewLatency()})
	}
	length, discard := p.Suite.GeoSlice(p.Scenario, p.Longest)
	return sum.Cycles(p.Scenario.Cycles, func(cycle int, again bool) (host bool, err error) {
		first, counts := len(p.cycles), false
		var alls []session.Sample
		var eachs [][]session.Sample
		for i, who := range order {
			n := cycle*len(order) + i
			p.tell("slice %d of %d%s: %s", n+1, max(p.Scenario.Cycles, cycle+1)*len(order), sum.Repeated(again), who)
			// Neighbours share their arrivals: A B, then B A.
			all, each, err := p.turn(ctx, who, session.Stretch{Length: length, Discard: discard, Seed: p.Sub(uint64(n / 2))})
			if err != nil {
				return false, p.explain(who, err)
			}
			alls, eachs = append(alls, all), append(eachs, each)
		}
		if counts, host = sum.Spoil(p.cycles[first:]); !counts {
			return host, nil
		}
		for i, who := range order {
			p.sets[who].Merge(alls[i].Hist)
			for r := range p.regions {
				of := map[side]*hist.Hist{record.System: p.regions[r].System, record.Floor: p.regions[r].Floor}
				of[who].Merge(eachs[i][r].Hist.Response)
			}
		}
		return false, nil
	})
}

// turn runs one slice between two readings of all counters. It ends when its side owes the disk nothing.
func (p *placement) turn(ctx context.Context, s side, what session.Stretch) (all session.Sample, each []session.Sample, err error) {
	before, err := p.meter.Take(s)
	if err != nil {
		return all, nil, err
	}
	if all, each, err = p.loads[s].slice(ctx, what); err != nil {
		return all, nil, err
	}
	end := time.Now()
	p.logs[s] = append(p.logs[s], interval{start: end.Add(-all.Counted), end: end, set: all.Hist})
	if s == record.System {
		if err := p.Brokers.Checkpoint(ctx); err != nil {
			return all, nil, err
		}
	}
	all.Drain = time.Duration(pace.Now() - all.EndedNS)
	after, err := p.meter.Take(s)
	if err != nil {
		return all, nil, err
	}
	sl := session.Judge(len(p.slices)+len(p.cycles), s, p.Began, all, before, after, p.meter.Device != "")
	sl.Of = p.where
	p.cycles = append(p.cycles, sl)
	p.lag[s].Merge(all.Hist.Lag)
	return all, each, nil
}

// sumUp fills the record from the placement's slices.
func (p *placement) sumUp() {
	for _, pair := range sum.Pairs(p.cycles, p.sets, hist.NewLatency(), p.Scenario.Workload.GatedPairs) {
		if pair.Unit == "us" { // arrivals are by a schedule: the rate is its
			pair.Name = record.PlacedPair(p.where, pair.Name)
			p.Rec.Pairs = append(p.Rec.Pairs, pair)
		}
	}
	p.Rec.Regions = append(p.Rec.Regions, p.regions...)
	p.Figure(record.Host, "mean_theory_us_"+p.where, "us", float64(p.loads[record.System].mean.Nanoseconds())/1e3)
	good := 0
	for _, sl := range p.cycles {
		if sl.Verdict == record.OK {
			good++
		}
	}
	if good == 0 && len(p.cycles) > 0 {
		bad, host := sum.FirstBad(p.cycles)
		tell := p.Invalid
		if host {
			tell = p.InvalidByHost
		}
		tell("leader %s: no cycle of slices is valid; slice %d: %s", p.where, bad.Number, bad.Reasons[0])
	}
	for s, set := range p.sets {
		if n := set.Response.Failed(); n > 0 {
			p.Invalid("leader %s: %d operations of the %s failed", p.where, n, s)
		}
		if n := set.OutOfRange(); n > 0 {
			p.Invalid("leader %s: %d latencies of the %s are outside of what a histogram holds", p.where, n, s)
		}
	}
	p.trip.slices = append(p.trip.slices, p.cycles...)
	p.cycles = nil
}

// writeLog writes a side's histograms as an HdrHistogram log with one interval per slice, as seen from the mean distance.
func (p *placement) writeLog(s side) error {
	f, err := os.Create(p.Path(p.where + "-" + string(s) + ".hlog"))
	if err != nil {
		return err
	}
	defer f.Close()
	log, err := hist.NewLog(f, p.Began, fmt.Sprintf("%s, leader %s, launch %d, %s, seed %d", p.Scenario.Name, p.where, p.Number, s, p.Seed))
	if err != nil {
		return err
	}
	for _, i := range p.logs[s] {
		if err := log.Interval(i.start, i.end, i.set); err != nil {
			return err
		}
	}
	return nil
}

// check reads everything back that the producers of this placement were promised.
func (p *placement) check(ctx context.Context) error {
	p.tell("reading the data back")
	found, err := p.loads[record.System].verify(ctx)
	if err != nil {
		return fmt.Errorf("data check: %w", err)
	}
	if !found.OK {
		p.Fail("leader %s: data check: %s", p.where, found.Detail)
	}
	if before := p.Rec.Check; before != nil {
		found = before.Plus(found)
	}
	p.Rec.Check = found
	return nil
}

func (p *placement) tell(format string, args ...any) {
	p.Step("leader "+p.where+": "+format, args...)
}
