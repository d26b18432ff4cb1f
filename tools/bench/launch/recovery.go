package launch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"ackline/tools/bench/coldread"
	"ackline/tools/bench/disk"
	"ackline/tools/bench/outage"
	"ackline/tools/bench/probe"
	"ackline/tools/bench/proc"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/target"
	"ackline/tools/stats"
)

// preloadSlice is how often the amount written is looked at.
const preloadSlice = 100 * time.Millisecond

// recovery measures how long a killed broker is away, beside the least that any recovery must do: read what the WAL holds
// once. The broker is killed without warning after PreloadBytes were acknowledged, the page cache is emptied, and the
// clock runs from the start of the new process: until it says that it is ready, until the first write is acknowledged, until
// everything acknowledged before can be read, and, where the workload has a probe, until latencies are what they were (package
// probe says what that means).
func (l *launch) recovery(ctx context.Context) error {
	l.step("starting the broker")
	broker, err := l.startBroker(ctx, "broker.log")
	if err != nil {
		return err
	}
	defer func() { broker.Kill() }() // whichever runs at the end
	writer, err := session.OpenProduce(ctx, l.Scenario.Workload, session.Place{Brokers: []string{broker.Addr}, Topic: topic, Copies: 1, Keep: true}, l.sub(1))
	if err != nil {
		return err
	}
	defer writer.Close()
	rest, err := proc.Read("/proc", broker.PID())
	if err != nil {
		return errors.Join(err, broker.Err())
	}
	if err := l.preload(ctx, writer); err != nil {
		return errors.Join(err, broker.Err())
	}
	out := l.outage()
	if err := out.Before(ctx, broker.Addr); err != nil {
		return errors.Join(err, broker.Err())
	}
	written, entries := writer.Bytes(), writer.Acked()+out.Acked()
	broker.Kill()

	cold, times, err := l.comeBack(ctx, &broker, writer, out)
	if err != nil {
		return err
	}
	peak, err := proc.Peak("/proc", broker.PID())
	if err != nil {
		return errors.Join(err, broker.Err())
	}
	bytes := broker.RecoveredBytes
	if bytes < written {
		l.Invalid("recovery read %d bytes of the WAL, %d were acknowledged since the start: a checkpoint came between, so that less was recovered than meant; "+
			"a larger ring_bytes would keep it away", bytes, written)
	}
	if err := errors.Join(l.check(ctx, writer), l.check(ctx, out)); err != nil {
		return err
	}
	broker.Kill()
	reread, err := coldread.Ring(ctx, filepath.Join(l.work, "broker"), l.Scenario.Workload.RingBytes, bytes)
	if err != nil {
		return err
	}
	least := stats.LogMean([]float64{cold.read, reread})
	for _, t := range times {
		ms := float64(t.after.Nanoseconds()) / 1e6
		l.Rec.Pairs = append(l.Rec.Pairs, record.Pair{Name: t.until, Unit: "ms", System: ms, Floor: least, Ratio: ms / least, Excess: ms - least, Slices: 1,
			Gated: t.until == "first-ack"})
	}
	l.Rec.Requests = entries
	l.Figure(record.System, record.RecoveredBytes, "bytes", float64(bytes))
	l.Figure(record.System, record.RestBytes, "bytes", float64(rest.ResidentBytes))
	l.Figure(record.System, record.PeakBytes, "bytes", float64(peak))
	l.Figure(record.System, "replay_ms_cold", "ms", float64(cold.replay.Nanoseconds())/1e6)
	return l.warmReplay(ctx, &broker, recovered{entries: entries, later: writer.Acked() + out.Acked() - entries, bytes: bytes})
}

// outage is what probes of this launch see.
func (l *launch) outage() *outage.Outage {
	return outage.New(outage.Config{Topic: topic, Workload: l.Scenario.Workload, Launch: l.Number, Sub: l.sub, Step: l.step})
}

// moment is how long after the start of the new process something was so.
type moment struct {
	until string
	after time.Duration
}

// comeBack restarts the broker and notes the moments of its return.
func (l *launch) comeBack(ctx context.Context, broker **target.Broker, writer *session.Writer, out *outage.Outage) (coldStart, []moment, error) {
	before := out.Acked()
	cold, first, err := l.restart(ctx, broker, writer)
	if err != nil {
		return cold, nil, err
	}
	b := *broker
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	out.After(watching, b.Addr, b.Began())
	caughtUp, err := probe.Ends(ctx, b.Addr, topic, writer.Records()+before, l.Scenario.Workload.Timeout())
	if err != nil {
		cancel()
		_, _ = out.Wait() // it only ends the probe
		return cold, nil, errors.Join(err, b.Err())
	}
	times := []moment{{"open", cold.open}, {"first-ack", first}, {"caught-up", caughtUp.Sub(b.Began())}}
	seen, err := out.Wait()
	if err != nil {
		return cold, times, errors.Join(err, b.Err())
	}
	l.Rec.Figures, l.Rec.Timeline = append(l.Rec.Figures, seen.Figures()...), seen.Timeline
	if missed := out.Missed(seen); missed != "" {
		l.Rec.Notes = append(l.Rec.Notes, missed)
	} else if seen.Watched {
		times = append(times, moment{"p99-restored", seen.Restored.Sub(b.Began())})
	}
	return cold, times, nil
}

// recovered is what the WAL held when the broker came back, and what was written later.
type recovered struct {
	entries, later int64
	bytes          int64 // of entries
}

// in estimates how many entries a recovery of so many bytes read: all, unless a checkpoint freed some of them meanwhile.
func (r recovered) in(bytes int64) float64 {
	if bytes >= r.bytes {
		return float64(r.entries + r.later)
	}
	return float64(r.entries) / float64(r.bytes) * float64(bytes)
}

// coldStart is what a restart took.
type coldStart struct {
	read   float64       // ms, of reading what was recovered once, before
	open   time.Duration // until the broker said that it was ready
	replay time.Duration // of that, by the broker's own clock
}

// restart empties the page cache, reads the ring once, empties it again and starts the broker on the directory it was
// killed on. first is when the first write was acknowledged after that.
func (l *launch) restart(ctx context.Context, broker **target.Broker, writer *session.Writer) (c coldStart, first time.Duration, err error) {
	l.step("restarting from a cold cache")
	if err := l.cold(); err != nil {
		return c, 0, err
	}
	if c.read, err = coldread.Ring(ctx, filepath.Join(l.work, "broker"), l.Scenario.Workload.RingBytes, writer.Bytes()); err != nil {
		return c, 0, err
	}
	if err := l.cold(); err != nil {
		return c, 0, err
	}
	// On the old address, so that the session that knows what was acknowledged can read it back.
	b, err := l.startBrokerAt(ctx, (*broker).Addr, "broker-restarted.log")
	if err != nil {
		return c, 0, err
	}
	*broker, c.replay = b, b.RecoveredIn
	c.open = b.ReadyAt().Sub(b.Began())
	at, err := probe.FirstAck(ctx, b.Addr, topic, l.sub(9))
	if err != nil {
		return c, 0, errors.Join(fmt.Errorf("the first write after the restart: %w", err), b.Err())
	}
	return c, at.Sub(b.Began()), nil
}

// cold empties the page cache, or at least drops the broker's files from it.
func (l *launch) cold() error {
	if l.Cold != nil {
		return l.Cold(l.work)
	}
	if err := disk.DropCaches(); err != nil {
		if err := disk.Evict(l.work); err != nil {
			return err
		}
		l.Rec.Notes = append(l.Rec.Notes, "without root only the broker's own files were dropped from the page cache before the restart")
	}
	return nil
}

// warmReplay restarts the killed broker once more, with everything in the page cache, for the cost of replaying entries
// without the disk.
func (l *launch) warmReplay(ctx context.Context, broker **target.Broker, held recovered) error {
	l.step("restarting from a warm cache")
	for range 2 { // the first one warms the cache
		b, err := l.startBroker(ctx, "broker-warm.log")
		if err != nil {
			return err
		}
		b.Kill()
		*broker = b
	}
	b := *broker
	if entries := held.in(b.RecoveredBytes); entries >= 10_000 {
		l.Figure(record.System, "replay_ms_per_10000", "ms", float64(b.RecoveredIn.Nanoseconds())/1e6*10_000/entries)
	}
	return nil
}
