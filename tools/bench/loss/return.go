package loss

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ackline/loadgen/run"
	"ackline/tools/bench/across"
	"ackline/tools/bench/catchup"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/probe"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
)

// RunReturn runs one launch in which the nearest region that follows is cut off, much is written without it, and it returns under load.
func RunReturn(ctx context.Context, p launch.Plan) (record.Launch, error) {
	l := &trip{Trip: across.New(p)}
	return l.Run(ctx, l.measureReturn)
}

// nearPerSecond: a region that has caught up may lack what the probe writes in this part of a second, and while its word is on its way.
const nearPerSecond = 20

// fillSlice is how long it is written at a time, fillInFlight how many batches are outstanding on a connection: as many as fill a distance.
const (
	fillSlice    = 500 * time.Millisecond
	fillInFlight = 64
)

func (l *trip) measureReturn(ctx context.Context) (err error) {
	if err := l.open(ctx); err != nil {
		return err
	}
	w := l.Scenario.Workload
	fill := w.Fill()
	fill.InFlight = fillInFlight
	writer, err := session.OpenAgain(ctx, fill, session.Place{Brokers: l.Brokers.Addrs(), Topic: topic, Way: l.Net.From(l.Net.T.Hosts[l.seats.lead].Name)},
		l.Sub(1), run.DriverWire, false)
	if err != nil {
		return err
	}
	defer writer.Close()
	out := l.outage()
	users, err := out.Open(ctx, probe.Tuned, l.Brokers.Addrs())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, users.Close()) }()
	away := &returning{nodes: l.nodes}
	found, err := catchup.Run(ctx, catchup.Config{Nodes: away, Away: func(int) int { return l.seats.follow }, Probe: users, Quiet: w.Quiet(), Limit: w.ProbeLimit(),
		Write: func(ctx context.Context) (int64, error) { err := l.fill(ctx, writer); return writer.Bytes(), err },
		Near:  int64(w.ProbeRatePerSecond * (1./nearPerSecond + l.Longest.Seconds())), Step: l.Step})
	if err = errors.Join(err, away.err); err != nil {
		return err
	}
	l.Step("the network's round trips, after")
	if err := l.Calibrate(ctx, across.After, nil); err != nil {
		return err
	}
	if found.Moved {
		l.Invalid("somebody else led in the end: an election came between")
	}
	l.Rec.Requests, l.Rec.Timeline = writer.Acked()+out.Acked(), found.Timeline
	for _, f := range found.Figures() {
		if f.Name != "node_listens_ms" { // its processes ran all the time
			l.Figure(record.System, f.Name, f.Unit, f.Value)
		}
	}
	return errors.Join(l.check(ctx, writer), l.check(ctx, out))
}

// fill writes until the workload's PreloadBytes are acknowledged.
func (l *trip) fill(ctx context.Context, w *session.Writer) error {
	want := l.Scenario.Workload.PreloadBytes
	l.Step("writing %d MiB without the region", want>>20)
	for n := uint64(0); w.Bytes() < want; n++ {
		smp, err := w.Slice(ctx, session.Stretch{Length: fillSlice, Seed: l.Sub(100 + n)})
		if err != nil {
			return err
		}
		if smp.All == 0 {
			return fmt.Errorf("nothing was acknowledged for %v with %d of %d bytes written", fillSlice, w.Bytes(), want)
		}
	}
	return nil
}

// returning is the nodes as package catchup has them: a node that is killed is a region that is cut off, and one that is started is there again.
type returning struct {
	*nodes
	err error // of the cut
}

// Kill cuts node i's region off.
func (r *returning) Kill(i int) { _, r.err = r.Harm(record.OtherRegion, i) }

// Start heals the network.
func (r *returning) Start(context.Context, int) error { return errors.Join(r.err, r.net.Lab.HealAll()) }

// Leader is who leads now: nobody is made to.
func (r *returning) Leader(ctx context.Context) (int, error) { return r.Nodes.Leader(ctx) }
