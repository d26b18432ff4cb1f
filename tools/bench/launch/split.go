package launch

import (
	"context"
	"fmt"
	"time"

	"ackline/loadgen/run"
	"ackline/tools/bench/record"
	"ackline/tools/bench/session"
	"ackline/tools/bench/target"
)

// split asks where the time of single requests goes, in a slice of its own: the question and the answer make the frames longer.
func (c *contest) split(ctx context.Context, broker *target.Brokers) error {
	length := time.Duration(c.Scenario.StageSliceMs) * time.Millisecond
	if length == 0 {
		return nil
	}
	c.step("asking where the time goes")
	asking, err := session.OpenAgain(ctx, c.Scenario.Workload, c.place(broker), c.sub(5), run.DriverWire, true)
	if err != nil {
		return fmt.Errorf("asking for stages: %w", err)
	}
	defer asking.Close()
	smp, err := asking.Slice(ctx, session.Stretch{Length: length, Discard: length / 10, Seed: c.sub(4000)})
	if err != nil {
		return fmt.Errorf("asking for stages: %w", err)
	}
	if st := smp.Stages; !st.Usable || st.Slowest == nil {
		c.Rec.Notes = append(c.Rec.Notes, "where the time goes: "+st.Why)
	} else {
		for i, s := range st.Median.Stages {
			c.Rec.Split = append(c.Rec.Split, record.Split{Name: s.Stage, MedianUs: s.US, SlowestUs: st.Slowest.Stages[i].US})
		}
	}
	return c.check(ctx, asking)
}
