package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ackline/loadgen/place"
	"ackline/loadgen/result"
	"ackline/loadgen/secure"
)

// turns is the order in which the system (false) and the floor (true) get the load: whatever drifts during the run comes to both alike.
var turns = [...]bool{false, true, true, false}

// settleIn is how much of a turn's beginning is discarded, unless the run's own warm-up is.
const settleIn = 200 * time.Millisecond

// Beside is Run with a floor beside the system: both get the load in turns, half of the window each time, and the system's result has
// the floor's figures and the ratios. The floor always gets the wire driver's frames.
func Beside(ctx context.Context, cfg Config, floor string, spec Spec, ev Events) (_ *result.Result, err error) {
	bare := cfg
	bare.Floor, bare.Brokers, bare.Security, bare.Existing, bare.Keep = floor, nil, secure.Config{}, false, false
	bare.Driver, bare.EndToEnd, bare.Consumers, bare.Topics, bare.Client.PartitionBy = DriverWire, false, 0, 0, ""
	bare.Client.Resend, bare.Client.Idempotence = false, ""
	if bare.Client.Stages = cfg.Client.Stages; cfg.Workload == Fetch {
		return nil, errors.New("a floor beside a fetch: it keeps nothing that could be read")
	}
	if err := errors.Join(cfg.Validate(), spec.Validate()); err != nil {
		return nil, err
	}
	sys, err := Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	bare.Topic = place.Parse(sys.Config().Topic)[0] // so that both get frames of one length
	ground, err := Open(ctx, bare)
	if err != nil {
		return nil, fmt.Errorf("the floor beside it: %w", err)
	}
	defer func() { err = errors.Join(err, ground.Close()) }()
	if ev.Opened != nil {
		ev.Opened(sys)
	}
	var system, beneath []*result.Result
	for i, onFloor := range turns {
		s, list := sys, &system
		if onFloor {
			s, list = ground, &beneath
		}
		part, err := s.turn(ctx, spec, i)
		if err != nil {
			return nil, err
		}
		*list = append(*list, part)
		if ctx.Err() != nil {
			break
		}
	}
	r := result.Chain(system, spec.Percentile, sys.checkAtEnd(ctx, ev))
	if len(beneath) > 0 {
		r.Against(floor, result.Chain(beneath, spec.Percentile, nil))
	}
	return r, nil
}

// turn is one slice of several: the first of each side warms up as the run is to, the others discard their beginning.
func (s *Session) turn(ctx context.Context, spec Spec, i int) (*result.Result, error) {
	whole := spec.Percentile
	spec.For, spec.Count, spec.Percentile = spec.For/2, spec.Count/2, 0
	spec.Arrivals.Seed += uint64(i)
	if i >= 2 {
		spec.WarmUp, spec.Discard = 0, settleIn
	}
	began := time.Now()
	slice, err := s.Slice(ctx, spec)
	if err != nil {
		return nil, err
	}
	if slice.Counts.AllAcked == 0 {
		if secure.Refused(slice.cause) {
			return nil, fmt.Errorf("topic %q: %w", s.topic.Name, slice.cause)
		}
		if slice.Interrupted {
			return nil, errors.New("interrupted before anything was acknowledged")
		}
	}
	slice.Tail.Percentile = whole
	r := s.result(slice, spec, began)
	r.Conclude(slice.Evidence())
	return r, nil
}
