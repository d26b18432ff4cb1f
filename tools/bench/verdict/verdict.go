// Package verdict decides what a launch is worth, whatever it measures.
//
// Many things can go wrong with a launch, in any part of it, and what they mean differs: figures that mean nothing, a system that broke, or
// only a host that took CPU time away, after which it may be tried again at a quieter hour. So whoever notices says so here, as it happens,
// and the record is closed in one place.
package verdict

import (
	"context"
	"fmt"
	"math"

	"ackline/tools/bench/record"
)

// Book is a launch's record while it is being written. Used by one goroutine.
type Book struct {
	Rec    *record.Launch
	others int // reasons that a host which takes CPU time away does not explain
}

// Finish notes what the host took of this machine's CPUs, a fraction, and whether that is all that speaks against the launch.
func (b *Book) Finish(stolen float64) {
	b.Figure(record.Host, record.StolenFraction, "1", stolen)
	if b.Rec.Verdict == record.Invalid && b.others == 0 {
		b.Rec.HostOnly = true
		b.Rec.Reasons = append(b.Rec.Reasons, fmt.Sprintf("nothing but the host speaks against this launch: it took %.1f%% of this machine's CPU time meanwhile", 100*stolen))
	}
	if b.Rec.Verdict != record.OK {
		b.Rec.Pairs = nil // figures stay for diagnosis, comparisons do not
	}
}

// Fail notes that the launch has no figures.
func (b *Book) Fail(format string, args ...any) {
	b.others++
	b.Rec.Verdict = record.Failed
	b.Rec.Reasons = append(b.Rec.Reasons, fmt.Sprintf(format, args...))
}

// Invalid notes that the launch's figures mean nothing.
func (b *Book) Invalid(format string, args ...any) {
	b.others++
	b.InvalidByHost(format, args...)
}

// InvalidByHost is Invalid for a reason that a host brings about which takes CPU time away.
func (b *Book) InvalidByHost(format string, args ...any) {
	if b.Rec.Verdict == record.OK {
		b.Rec.Verdict = record.Invalid
	}
	b.Rec.Reasons = append(b.Rec.Reasons, fmt.Sprintf(format, args...))
}

// Figure records a number of the launch; one that could not be computed is an invalid launch, not a figure.
func (b *Book) Figure(s record.Side, name, unit string, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		b.Invalid("%s of the %s could not be computed: there was nothing to compute it from", name, s)
		return
	}
	b.Rec.Figures = append(b.Rec.Figures, record.Figure{Name: name, Unit: unit, Side: s, Value: v})
}

// Checker can read back what it wrote.
type Checker interface {
	Verify(ctx context.Context) (*record.DataCheck, error)
}

// Check notes whether everything that was acknowledged to c is there, beside what has been read back before. The error says that it could not be read.
func (b *Book) Check(ctx context.Context, c Checker) error {
	found, err := c.Verify(ctx)
	if err != nil {
		return fmt.Errorf("data check: %w", err)
	}
	if !found.OK {
		b.Fail("data check: %s", found.Detail)
	}
	if before := b.Rec.Check; before != nil {
		found = before.Plus(found)
	}
	b.Rec.Check = found
	return nil
}
