package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ackline/profiles"
	"ackline/tools/bench/record"
)

// curve is a recovery for each of the workload's points, each on a directory of its own and with everything that a recovery measures
// and checks: its read of the live WAL, which is the floor, is made in the same launch. The directory is removed before the next one is
// made, so that the disk needs room for the largest only.
func (l *launch) curve(ctx context.Context) error {
	for i, p := range l.Scenario.Workload.Points {
		name := fmt.Sprintf("%d MiB in %d groups", p.PreloadBytes>>20, p.Partitions)
		if err := l.point(ctx, i, p, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// point is one of them.
func (l *launch) point(ctx context.Context, i int, p profiles.Point, name string) (err error) {
	one := *l
	one.Rec = &record.Launch{Number: l.Number, Verdict: record.OK}
	one.Scenario.Workload, one.Scenario.Name = l.Scenario.Workload.At(p), fmt.Sprintf("%s-%d", l.Scenario.Name, i+1)
	one.Seed, one.work = l.sub(uint64(4000+i)), filepath.Join(l.work, fmt.Sprint(i+1))
	one.Progress = func(step string) { l.step("%s: %s", name, step) }
	if err := os.Mkdir(one.work, 0o755); err != nil {
		return err
	}
	err = errors.Join(one.recovery(ctx), os.RemoveAll(one.work))
	if found := one.Rec.Check; found != nil && l.Rec.Check != nil {
		l.Rec.Check = l.Rec.Check.Plus(found)
	} else if found != nil {
		l.Rec.Check = found
	}
	l.Rec.Requests += one.Rec.Requests
	l.Rec.Notes = append(l.Rec.Notes, one.Rec.Notes...)
	if one.Rec.Verdict == record.Failed {
		l.Fail("%s: %s", name, strings.Join(one.Rec.Reasons, "; "))
	} else if one.Rec.Verdict != record.OK {
		l.Invalid("%s: %s", name, strings.Join(one.Rec.Reasons, "; "))
	}
	if err != nil {
		return err
	}
	l.Rec.Points = append(l.Rec.Points, record.PointOf(one.Rec, p.PreloadBytes, p.Partitions))
	if ack, ok := one.Rec.Pair("first-ack"); ok {
		ack.Name, ack.Gated = fmt.Sprintf("ack-%dM-x%d", p.PreloadBytes>>20, p.Partitions), false
		l.Rec.Pairs = append(l.Rec.Pairs, ack)
	}
	return nil
}
